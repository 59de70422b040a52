//! A session's state on its way from one node to another: what the store has of it, as the store of the other is to have it.

use gatemq_broker::session::{Came, Cut, Way};
use gatemq_store::{
    Append, Content, Delivery, Entry, Message, Op, Owner, PageLimit, Record, Seq, SessionId, Store, StoreError,
    StoredSession, Subscription, wait,
};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::durable::{EPOCH, comes, with_past};

const PAGE: PageLimit = PageLimit { entries_max: 4096, bytes_max: 4 << 20 };

/// See the module. Written by postcard, so what is appended to it needs another protocol.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    level: u8,
    expiry_s: u32,
    away_since_ms: u64,
    /// What the broker wants to know again.
    kept: Vec<u8>,
    pub(super) last_seq: u64,
    subscriptions: Vec<(String, u8, u32)>,
    received: Vec<u16>,
    /// What came lately.
    pub(super) came: Vec<Came>,
    entries: Vec<Of>,
}

#[derive(Serialize, Deserialize)]
enum Of {
    Message {
        seq: u64,
        first: u8,
        identifier: u32,
        topic: String,
        properties: Vec<u8>,
        payload: Vec<u8>,
        expires_ms: u64,
    },
    Released {
        seq: u64,
        order: u64,
    },
}

impl State {
    /// Reads it, with entries up to `last_seq`, all of which the store has. Blocks.
    ///
    /// # Errors
    /// The store cannot be read, or has no such session.
    pub(super) fn read(
        store: &dyn Store,
        session: SessionId,
        Cut { last_seq, came, past }: Cut,
    ) -> Result<Option<State>, StoreError> {
        let Some(stored) = wait(|answer| store.session(session, answer))? else { return Ok(None) };
        let StoredSession { record, subscriptions, incoming, .. } = stored;
        let (mut entries, mut from, mut more) = (Vec::new(), Seq(0), true);
        while more {
            let page = wait(|answer| store.page(session, from, PAGE, answer))?;
            more = page.more;
            from = page.entries.last().map_or(from, |last| Seq(last.seq.0 + 1));
            entries.extend(page.entries.into_iter().filter(|entry| entry.seq.0 <= last_seq).map(of));
        }
        Ok(Some(State {
            level: record.level,
            expiry_s: record.expiry_s,
            away_since_ms: record.away_since_ms,
            kept: with_past(&record.state, last_seq, &past).into(),
            last_seq,
            subscriptions: subscriptions.into_iter().map(|s| (s.filter.into(), s.options, s.identifier)).collect(),
            received: incoming,
            came,
            entries,
        }))
    }

    /// What puts it into the store of a node, as a session with that number.
    pub(super) fn ops(&self, session: SessionId, owner: Owner, node: Way) -> Vec<Op> {
        let record = Record {
            owner,
            epoch: EPOCH,
            node: 1,
            version: 0,
            level: self.level,
            expiry_s: self.expiry_s,
            away_since_ms: self.away_since_ms.max(1),
            will: None,
            state: comes(&self.kept, node, clock::now_ms()),
        };
        let mut ops = vec![Op::PutSession { session, record }];
        ops.extend(self.subscriptions.iter().map(|(filter, options, identifier)| Op::PutSubscription {
            session,
            epoch: EPOCH,
            subscription: Subscription { filter: filter.as_str().into(), options: *options, identifier: *identifier },
        }));
        let received = self.received.iter();
        ops.extend(received.map(|packet_id| Op::PutIncoming { session, epoch: EPOCH, packet_id: *packet_id }));
        for entry in &self.entries {
            ops.extend(entry.op(session));
        }
        ops
    }
}

fn of(entry: Entry) -> Of {
    let seq = entry.seq.0;
    match entry.content {
        Content::Message(delivery, message) => Of::Message {
            seq,
            first: delivery.first,
            identifier: delivery.identifiers.first().copied().unwrap_or(0),
            topic: message.topic().to_owned(),
            properties: message.properties().to_vec(),
            payload: message.payload().to_vec(),
            expires_ms: message.expires_ms(),
        },
        Content::Released(order) => Of::Released { seq, order },
    }
}

impl Of {
    fn op(&self, session: SessionId) -> Option<Op> {
        Some(match self {
            Of::Message { seq, first, identifier, topic, properties, payload, expires_ms } => {
                let message = Message::new(topic, properties, payload, *expires_ms)?.into();
                let identifiers = if *identifier == 0 { Box::default() } else { Box::new([*identifier]) as Box<[u32]> };
                // By which shared subscription it came is the business of the node where it did.
                let delivery = Delivery { first: *first, identifiers, group: 0 };
                Op::Append(Append { session, epoch: EPOCH, seq: Seq(*seq), message, delivery, limit: None })
            }
            Of::Released { seq, order } => Op::Release { session, epoch: EPOCH, seq: Seq(*seq), order: *order },
        })
    }
}
