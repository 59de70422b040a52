//! Stores and operations for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use gatemq_store::{
    Append, Batch, Content, Delivery, Embedded, Entry, Epoch, Message, Op, OpResult, Options, Owner, PageLimit, Record,
    Seq, SessionId, Store, StoreError, StoredSession, wait,
};

pub(crate) const EVERYTHING: PageLimit = PageLimit { entries_max: usize::MAX, bytes_max: u64::MAX };

/// A directory in memory where there is one: what is tested there is not the disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn options(directory: &Path) -> Options {
    Options::new(directory)
}

pub(crate) fn open(directory: &Path) -> Embedded {
    Embedded::open(&options(directory)).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn record(n: u64) -> Record {
    let owner = Owner { tenant: "t".into(), user: "u".into(), client_id: format!("c{n}").into() };
    Record {
        owner,
        epoch: Epoch(1),
        node: 1,
        version: 0,
        level: 5,
        expiry_s: 60,
        away_since_ms: 0,
        will: None,
        state: [].into(),
    }
}

pub(crate) fn put_session(n: u64) -> Op {
    Op::PutSession { session: SessionId(n), record: record(n) }
}

pub(crate) fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
    Arc::new(Message::new(topic, &[], payload, u64::MAX).unwrap())
}

pub(crate) fn append(session: u64, seq: u64, message: &Arc<Message>) -> Op {
    let delivery = Delivery { first: 0x32, identifiers: [].into(), group: 0 };
    let (session, seq) = (SessionId(session), Seq(seq));
    Op::Append(Append { session, epoch: Epoch(1), seq, message: message.clone(), delivery, limit: None })
}

pub(crate) fn commit(store: &dyn Store, ops: impl IntoIterator<Item = Op>) -> Result<Vec<OpResult>, StoreError> {
    wait(|answer| store.commit(Batch::of(ops), answer))
}

/// What must succeed as a whole.
pub(crate) fn done(store: &dyn Store, ops: impl IntoIterator<Item = Op>) {
    for result in commit(store, ops).unwrap() {
        result.unwrap();
    }
}

pub(crate) fn entries(store: &dyn Store, session: u64) -> Vec<Entry> {
    wait(|answer| store.page(SessionId(session), Seq(0), EVERYTHING, answer)).unwrap().entries
}

/// The message of an entry that was not released.
pub(crate) fn message_of(entry: &Entry) -> &Arc<Message> {
    match &entry.content {
        Content::Message(_, message) => message,
        Content::Released(_) => panic!("released: {entry:?}"),
    }
}

pub(crate) fn seqs(store: &dyn Store, session: u64) -> Vec<u64> {
    entries(store, session).iter().map(|entry| entry.seq.0).collect()
}

pub(crate) fn sessions(store: &dyn Store) -> BTreeMap<u64, StoredSession> {
    let mut found = BTreeMap::new();
    let scanned = store.scan_sessions(&mut |session| found.insert(session.session.0, session).is_none());
    scanned.unwrap();
    found
}
