//! A persistent session under a random script of connects, losses, acknowledgements and messages, against a model of what
//! its client must have got.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::session::Ack;
use gatemq_broker::sessions::{Leave, Opening};
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, SessionKey, SessionLimits, Sessions,
    SubscribeAction, Tenants, TopicCache, Values, Verdicts, router,
};
use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_mqtt::{PacketLimits, Publish, kind, write};
use gatemq_types::{Actions, Grant, Limits, NoMatch, Protocol, QoS, ReasonCode};
use proptest::prelude::*;

const EXPIRY_S: u32 = 100;

#[derive(Clone, Debug)]
enum Step {
    /// A new connection: of another version, with another window, perhaps with Clean Start. The old one, if there is one,
    /// is taken over; what it had not read is lost.
    Connect {
        clean_start: bool,
        five: bool,
        inflight_max: u16,
    },
    /// The connection is lost with everything on its way.
    Lose,
    Publish(u8),
    /// The client reads what there is and handles so many packets.
    Read(usize),
    /// Its acknowledgements arrive.
    Acknowledge,
    /// Seconds pass.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (prop::bool::weighted(0.1), any::<bool>(), 1u16..5)
            .prop_map(|(clean_start, five, inflight_max)| Step::Connect { clean_start, five, inflight_max }),
        1 => Just(Step::Lose),
        8 => (0u8..3).prop_map(Step::Publish),
        5 => (0usize..6).prop_map(Step::Read),
        4 => Just(Step::Acknowledge),
        1 => (0u64..60).prop_map(Step::Wait),
    ]
}

fn identity(client_id: &str, tenants: &Tenants) -> Identity {
    let tenant = tenants.get_or_create("t").unwrap();
    let key = Arc::new(SessionKey::new(tenant, "user", client_id).unwrap());
    let grants = GrantTable::new(1).compile(&[Grant::allow(Actions::ALL, "#")]).unwrap();
    let limits = Limits::default();
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    Identity::new(Parts { key: &key, grants: &grants, values, no_match, limits: &limits }, &Hasher::default()).unwrap()
}

/// The client as the standard wants it, and what it must have got.
#[derive(Default)]
struct Client {
    /// Identifiers of QoS 2 messages that it has and that are not released yet.
    received: HashSet<u16>,
    got: Vec<(u8, u16)>,
    /// Numbers of messages whose acknowledgement has reached the broker.
    settled: HashSet<u16>,
    /// What is due at QoS 1 and 2.
    due: Vec<u16>,
}

struct World {
    tenants: Tenants,
    sessions: Sessions,
    identity: Identity,
    publisher: Identity,
    from: Attached,
    out: Out,
    now_ms: u64,
    connection: Option<Attached>,
    /// Packets that reached the client and that it did not handle yet.
    inbox: VecDeque<(u8, Vec<u8>)>,
    /// Acknowledgements on their way, with the message that each settles.
    acks: Vec<(Ack, Option<u16>)>,
    client: Client,
    /// Number of the last message.
    last: u16,
    /// Whether a session is there, and when it expires.
    expires_ms: Option<u64>,
}

impl World {
    fn new() -> Self {
        let tenants = Tenants::new(1);
        let (identity, publisher) = (identity("c", &tenants), identity("p", &tenants));
        let home = Home { worker: 0, connection: 0 };
        let from = Attached::alone(publisher.key().clone(), Protocol::V5, SessionLimits::default(), home);
        World {
            tenants,
            sessions: Sessions::default(),
            identity,
            publisher,
            from,
            out: Out::new(TopicCache::new(4, 16)),
            now_ms: 0,
            connection: None,
            inbox: VecDeque::new(),
            acks: Vec::new(),
            client: Client::default(),
            last: 0,
            expires_ms: None,
        }
    }

    fn lose(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let left = self.sessions.leave(&connection, Leave::default(), self.now_ms, &mut Default::default());
        assert!(left.stays && left.wills.is_empty());
        self.expires_ms = Some(self.now_ms + u64::from(EXPIRY_S) * 1000);
        self.forget_connection();
    }

    fn forget_connection(&mut self) {
        self.inbox.clear();
        self.acks.clear();
    }

    fn connect(&mut self, clean_start: bool, five: bool, inflight_max: u16) {
        let key = self.identity.key().clone();
        let protocol = if five { Protocol::V5 } else { Protocol::V311 };
        let limits = SessionLimits { inflight_max, ..SessionLimits::default() };
        let home = Home { worker: 0, connection: 1 };
        let opening = Opening { key: &key, protocol, limits, home, clean_start, expiry_s: EXPIRY_S, will: None };
        let opened = self.sessions.open(opening, self.now_ms, &mut Default::default());
        let expired = self.expires_ms.is_none_or(|at| at <= self.now_ms);
        assert_eq!(opened.resumed, !clean_start && (self.connection.is_some() || !expired));
        assert_eq!(opened.taken_over.is_some(), self.connection.is_some());
        if let Some(old) = self.connection.replace(opened.session) {
            assert!(old.is_closed() && old.take(self.now_ms, &mut self.out.spare).is_none());
            assert!(!self.sessions.leave(&old, Leave::default(), self.now_ms, &mut Default::default()).stays);
        }
        self.forget_connection();
        let connection = self.connection.as_ref().unwrap();
        if opened.resumed {
            assert_eq!(router::recheck(&self.identity, connection, &mut Default::default()).revoked, []);
            router::begin(connection, self.now_ms, &mut self.out.spare);
            return;
        }
        self.client = Client::default();
        let action = SubscribeAction { filter: Filter::trusted("t/#"), qos: QoS::ExactlyOnce };
        let Decision::Permit(permit) = self.identity.may_subscribe(action) else { panic!("allowed") };
        let options = SubscribeOptions::read(2, Protocol::V5).unwrap();
        let subscribed = router::subscribe(&permit, connection, options, self.now_ms, &mut self.out);
        assert_eq!(subscribed.code.0, 2);
    }

    fn publish(&mut self, qos: u8) {
        self.last += 1;
        let mut frame = Vec::new();
        let at = write::publish(&mut frame, Protocol::V5, 0x30 | qos << 1, "t/x", &[], &self.last.to_be_bytes());
        if qos > 0 {
            frame[at + 1] = 1;
        }
        let message = Publish::read(&frame, 2, Protocol::V5, &PacketLimits::default()).unwrap();
        let action = PublishAction::new(&message, message.topic);
        let Decision::Permit(permit) = self.publisher.may_publish(&mut Verdicts::new(0), action, 0) else { panic!() };
        let routed = router::publish(&permit, &self.from, &message, self.now_ms, &mut self.out);
        if qos > 0 && self.sessions.len() == 1 {
            assert_eq!((routed.delivered, routed.dropped), (1, 0));
            self.client.due.push(self.last);
        }
    }

    fn read(&mut self, count: usize) {
        let Some(connection) = &self.connection else { return };
        while let Some(bytes) = connection.take(self.now_ms, &mut self.out.spare) {
            let mut rest = &bytes[..];
            while let [first, len, more @ ..] = rest {
                let (body, next) = more.split_at(usize::from(*len));
                self.inbox.push_back((*first, body.to_vec()));
                rest = next;
            }
        }
        for _ in 0..count {
            let Some((first, body)) = self.inbox.pop_front() else { return };
            self.handle(first, &body);
        }
    }

    /// One packet as a client handles it.
    fn handle(&mut self, first: u8, body: &[u8]) {
        let mut answer = |kind, packet_id, settles| {
            self.acks.push((Ack { kind, packet_id, reason: ReasonCode::SUCCESS }, settles));
        };
        if first == 0x62 {
            let packet_id = u16::from_be_bytes([body[0], body[1]]);
            self.client.received.remove(&packet_id);
            return answer(kind::PUBCOMP, packet_id, None);
        }
        let n = u16::from_be_bytes(body[body.len() - 2..].try_into().unwrap());
        let qos = first >> 1 & 3;
        let packet_id = if qos == 0 { 0 } else { u16::from_be_bytes([body[5], body[6]]) };
        let repeated = self.client.got.iter().any(|(_, got)| *got == n);
        assert!(!repeated || first & 8 != 0, "{n} comes again without DUP");
        assert!(!self.client.settled.contains(&n), "{n} was acknowledged");
        match qos {
            0 => {}
            1 => answer(kind::PUBACK, packet_id, Some(n)),
            _ => {
                answer(kind::PUBREC, packet_id, Some(n));
                if !self.client.received.insert(packet_id) {
                    return;
                }
                assert!(!repeated, "{n} twice at QoS 2");
            }
        }
        if !repeated {
            self.client.got.push((qos, n));
        }
    }

    fn acknowledge(&mut self) {
        let Some(connection) = &self.connection else { return };
        let acks: Vec<Ack> = self.acks.iter().map(|(ack, _)| *ack).collect();
        let mut reply = Vec::new();
        let unknown = connection.settle(&acks, self.now_ms, &mut reply, &mut self.out.spare);
        assert_eq!(unknown, 0, "{acks:?}");
        self.client.settled.extend(self.acks.drain(..).filter_map(|(_, settles)| settles));
        for release in reply.chunks(4) {
            assert_eq!(release[..2], [0x62, 2]);
            self.inbox.push_back((0x62, release[2..].to_vec()));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
        let swept = self.sessions.sweep(self.now_ms, 10, &mut Default::default());
        let expired = self.connection.is_none() && self.expires_ms.is_some_and(|at| at <= self.now_ms);
        assert_eq!(swept.expired.len(), usize::from(expired));
        if expired {
            self.expires_ms = None;
            self.client = Client::default();
        }
    }

    /// Everything arrives at last.
    fn finish(&mut self) {
        self.connect(false, true, 3);
        loop {
            self.read(usize::MAX);
            self.acknowledge();
            let connection = self.connection.as_ref().unwrap();
            if self.inbox.is_empty() && self.acks.is_empty() && !connection.has_more() {
                break;
            }
        }
        let got: Vec<u16> = self.client.got.iter().filter(|(qos, _)| *qos > 0).map(|(_, n)| *n).collect();
        assert_eq!(got, self.client.due, "all of QoS 1 and 2, each once, in order");
        assert!(self.client.got.is_sorted_by_key(|(_, n)| *n), "QoS 0 among them in order too");
        assert_eq!(self.connection.as_ref().unwrap().waiting(), 0);
        assert!(self.client.received.is_empty() && self.tenants.get("t").is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Guards sections 7 and 4.4 to 4.6 of the standard: whatever is lost on the way, a client of a persistent session gets
    /// every message of QoS 1 and 2 in order, none of QoS 2 twice, nothing again that it acknowledged, and all of it however
    /// its version and its Receive Maximum change.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Connect { clean_start, five, inflight_max } => world.connect(clean_start, five, inflight_max),
                Step::Lose => world.lose(),
                Step::Publish(qos) => world.publish(qos),
                Step::Read(count) => world.read(count),
                Step::Acknowledge => world.acknowledge(),
                Step::Wait(seconds) => world.wait(seconds),
            }
        }
        world.finish();
    }
}

/// Guards takeover against deliveries of other workers: while one publishes without a pause, the session moves between
/// connections of different versions and is away in between; every message arrives, in order, in its connection's version.
#[test]
fn nothing_is_lost_between_workers() {
    const COUNT: u16 = 20_000;
    let mut world = World::new();
    world.connect(false, true, 100);
    let (from, publisher) = (world.from.clone(), identity("p", &world.tenants));
    let mut got: Vec<u16> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut out = Out::new(TopicCache::new(4, 16));
            for n in 1..=COUNT {
                let mut frame = Vec::new();
                let at = write::publish(&mut frame, Protocol::V5, 0x32, "t/x", &[], &n.to_be_bytes());
                frame[at + 1] = 1;
                let message = Publish::read(&frame, 2, Protocol::V5, &PacketLimits::default()).unwrap();
                let action = PublishAction::new(&message, message.topic);
                let Decision::Permit(permit) = publisher.may_publish(&mut Verdicts::new(0), action, 0) else {
                    panic!()
                };
                // A full queue drops: wait for the reader.
                while router::publish(&permit, &from, &message, 0, &mut out).delivered == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut turn = 0u32;
        while got.last() != Some(&COUNT) {
            turn += 1;
            if turn.is_multiple_of(7) {
                world.lose();
            }
            if turn.is_multiple_of(3) || world.connection.is_none() {
                world.connect(false, turn.is_multiple_of(2), 100);
            }
            let connection = world.connection.as_ref().unwrap();
            let five = connection.protocol() == Protocol::V5;
            let mut acks = Vec::new();
            while let Some(bytes) = connection.take(0, &mut world.out.spare) {
                let mut rest = &bytes[..];
                while let [_, len, more @ ..] = rest {
                    let (body, next) = more.split_at(usize::from(*len));
                    assert_eq!(body.len(), 2 + 3 + 2 + usize::from(five) + 2);
                    let n = u16::from_be_bytes([body[body.len() - 2], body[body.len() - 1]]);
                    if got.last().is_none_or(|last| n > *last) {
                        got.push(n);
                    }
                    let packet_id = u16::from_be_bytes([body[5], body[6]]);
                    acks.push(Ack { kind: kind::PUBACK, packet_id, reason: ReasonCode::SUCCESS });
                    rest = next;
                }
            }
            connection.settle(&acks, 0, &mut Vec::new(), &mut world.out.spare);
        }
    });
    assert!(got.iter().copied().eq(1..=COUNT), "{} of {COUNT}", got.len());
}
