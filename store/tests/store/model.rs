//! Any operations, in any order, opened again at any point: the store says what a naive model says.

use std::sync::Arc;

use gatemq_store::{
    Append, Delivery, Embedded, Epoch, Limit, Memory, Message, Op, Options, Retained, Seq, SessionId, Store,
    Subscription, SyncMode, Will,
};
use proptest::prelude::*;

use crate::naive::Naive;
use crate::support::{commit, record, scratch};

/// What a batch does; numbers are made to fit when it is applied.
#[derive(Clone, Debug)]
enum Step {
    NewSession,
    /// The same message for the sessions of these bits.
    FanOut {
        sessions: u8,
        seq: u64,
        payload: u8,
        limit: Option<u32>,
        epoch: u64,
    },
    AckOne(u8, u64, u64),
    AckUpTo(u8, u64, u64),
    Record(u8, u64, u64),
    Delete(u8, u64),
    Claim(u8, u64),
    Subscribe(u8, u8, u64),
    Unsubscribe(u8, u8),
    Release(u8, u64, u64),
    Received(u8, u16),
    Released(u8, u16),
    Retain(u8, u8),
    Clear(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let epoch = || prop_oneof![20 => Just(1u64), 1 => Just(0), 1 => Just(2)];
    prop_oneof![
        2 => Just(Step::NewSession),
        10 => (any::<u8>(), 1u64..30, any::<u8>(), prop::option::weighted(0.2, 0u32..5), epoch()).prop_map(
            |(sessions, seq, payload, limit, epoch)| Step::FanOut { sessions, seq, payload, limit, epoch }),
        5 => (0u8..4, 1u64..30, epoch()).prop_map(|(s, seq, e)| Step::AckOne(s, seq, e)),
        2 => (0u8..4, 0u64..30, epoch()).prop_map(|(s, seq, e)| Step::AckUpTo(s, seq, e)),
        2 => (0u8..4, 0u64..3, 0u64..4).prop_map(|(s, e, v)| Step::Record(s, e, v)),
        1 => (0u8..4, epoch()).prop_map(|(s, e)| Step::Delete(s, e)),
        1 => (0u8..4, 0u64..3).prop_map(|(s, e)| Step::Claim(s, e)),
        3 => (0u8..4, 0u8..4, epoch()).prop_map(|(s, f, e)| Step::Subscribe(s, f, e)),
        1 => (0u8..4, 0u8..4).prop_map(|(s, f)| Step::Unsubscribe(s, f)),
        5 => (0u8..4, 1u64..30, epoch()).prop_map(|(s, seq, e)| Step::Release(s, seq, e)),
        2 => (0u8..4, 1u16..4).prop_map(|(s, p)| Step::Received(s, p)),
        1 => (0u8..4, 1u16..4).prop_map(|(s, p)| Step::Released(s, p)),
        2 => (0u8..4, any::<u8>()).prop_map(|(t, p)| Step::Retain(t, p)),
        1 => (0u8..4).prop_map(Step::Clear),
    ]
}

/// Short, long, and longer than a key may be.
fn text(n: u8) -> Box<str> {
    match n {
        0 => "a/b".into(),
        1 => "x".repeat(201).into(),
        2 => "x".repeat(65_535).into(),
        n => format!("t/{n}").into(),
    }
}

fn payload(n: u8) -> Arc<Message> {
    let bytes = vec![n; usize::from(n) * 2];
    Arc::new(Message::new(&text(n % 4), &[38, 0, 0, 0, 0], &bytes, u64::from(n)).unwrap())
}

fn ops(step: &Step, ids: &mut Vec<u64>, naive: &mut Naive) -> Vec<Op> {
    let at = |n: u8| SessionId(ids.get(usize::from(n) % ids.len().max(1)).copied().unwrap_or(999));
    let e = Epoch;
    match *step {
        Step::NewSession => {
            let id = naive.next();
            ids.push(id);
            vec![Op::PutSession { session: SessionId(id), record: record(id) }]
        }
        Step::FanOut { sessions, seq, payload: n, limit, epoch } => {
            let message = payload(n);
            let limit = limit.map(|n| Limit { messages_max: n, bytes_max: u64::from(n) * 100 });
            let delivery =
                Delivery { first: 0x32 | n & 1, identifiers: (0..u32::from(n % 3)).collect(), group: u64::from(n % 2) };
            let to = (0..8).filter(|bit| sessions >> bit & 1 == 1).map(at);
            to.map(|session| {
                let (message, delivery) = (message.clone(), delivery.clone());
                Op::Append(Append { session, epoch: e(epoch), seq: Seq(seq), message, delivery, limit })
            })
            .collect()
        }
        Step::AckOne(s, seq, epoch) => vec![Op::AckOne { session: at(s), epoch: e(epoch), seq: Seq(seq) }],
        Step::AckUpTo(s, seq, epoch) => vec![Op::AckUpTo { session: at(s), epoch: e(epoch), seq: Seq(seq) }],
        Step::Record(s, epoch, version) => {
            let message = Message::new("w", &[], b"gone", 7).unwrap();
            let will = Some(Will { message, first: 0x31, delay_s: 9, asked: true });
            // Of one that was never made there is no record to change.
            let known = ids.get(usize::from(s) % ids.len().max(1));
            let record = gatemq_store::Record { epoch: e(epoch), version, will, state: [1, 2].into(), ..record(1) };
            known.map(|id| Op::PutSession { session: SessionId(*id), record }).into_iter().collect()
        }
        Step::Delete(s, epoch) => {
            let session = at(s);
            // Whether it ends or not: a number is not used again.
            ids.retain(|id| *id != session.0);
            vec![Op::DeleteSession { session, epoch: e(epoch) }]
        }
        Step::Claim(s, epoch) => vec![Op::Claim { session: at(s), expected: e(epoch), node: 4 }],
        Step::Subscribe(s, f, epoch) => {
            let subscription = Subscription { filter: text(f), options: f, identifier: epoch as u32 };
            vec![Op::PutSubscription { session: at(s), epoch: e(epoch), subscription }]
        }
        Step::Unsubscribe(s, f) => vec![Op::DeleteSubscription { session: at(s), epoch: e(1), filter: text(f) }],
        Step::Release(s, seq, epoch) => {
            vec![Op::Release { session: at(s), epoch: e(epoch), seq: Seq(seq), order: seq + 7 }]
        }
        Step::Received(s, packet_id) => vec![Op::PutIncoming { session: at(s), epoch: e(1), packet_id }],
        Step::Released(s, packet_id) => vec![Op::DeleteIncoming { session: at(s), epoch: e(1), packet_id }],
        Step::Retain(t, n) => {
            let message = Message::new(&text(t), &[], &[n], u64::MAX).unwrap();
            let (withheld, tags) = (n % 2 == 0, vec![format!("tag {n}"); usize::from(n % 3)].into());
            let (qos, user, client_id, leaf_sha256) = (n % 3, "u".into(), text(t), Some([n; 32]));
            let retained = Retained { message, qos, withheld, user, client_id, tags, leaf_sha256 };
            vec![Op::PutRetained { tenant: text(n % 4), retained }]
        }
        Step::Clear(t) => vec![Op::DeleteRetained { tenant: text(t), topic: text(t) }],
    }
}

fn batches() -> impl Strategy<Value = Vec<(Vec<Step>, u8)>> {
    prop::collection::vec((prop::collection::vec(step(), 1..8), 0u8..12), 1..40)
}

/// Gives a store that holds the same.
type Reopen<'a> = &'a dyn Fn(Box<dyn Store>) -> Box<dyn Store>;

/// Applies batches to both.
fn run(mut store: Box<dyn Store>, batches: Vec<(Vec<Step>, u8)>, reopen: Option<Reopen<'_>>) {
    let (mut naive, mut ids) = (Naive::default(), Vec::new());
    for (steps, then) in batches {
        let ops: Vec<Op> = steps.iter().flat_map(|step| ops(step, &mut ids, &mut naive)).collect();
        let wanted: Vec<_> = ops.iter().map(|op| naive.apply(op)).collect();
        assert_eq!(commit(&*store, ops.clone()).unwrap(), wanted, "{ops:?}");
        match (then, reopen) {
            (0, Some(reopen)) => {
                store = reopen(store);
                naive.reopened(&*store);
                naive.compare(&*store);
            }
            (0..3, _) => naive.compare(&*store),
            _ => {}
        }
    }
    naive.compare(&*store);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Guards the trait's semantics in memory.
    #[test]
    fn in_memory(batches in batches()) {
        run(Box::new(Memory::new()), batches, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Guards the trait's semantics on disk, through journals and tables, and that what is opened again is what was closed.
    #[test]
    fn on_disk(batches in batches()) {
        let directory = scratch();
        // Small, so that tables are written.
        let options = Options { sync: SyncMode::Never, memtable_bytes: 4 << 10, ..Options::new(directory.path()) };
        let open = || Box::new(Embedded::open(&options).unwrap_or_else(|error| panic!("{error}")));
        let reopen = |store: Box<dyn Store>| -> Box<dyn Store> {
            store.close().unwrap();
            drop(store);
            open()
        };
        run(open(), batches, Some(&reopen));
    }
}
