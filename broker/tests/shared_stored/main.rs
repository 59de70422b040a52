//! A shared subscription with members in the store, under a random script with crashes, against what its members must have
//! got.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gatemq_broker::changes::{Changes, RetainedChanges};
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
use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, Protocol, ReasonCode};
use proptest::prelude::*;
use store::Store;

/// 0 would be that a client is there.
const NOW_MS: u64 = 1;
const MEMBERS: usize = 3;
const FILTER: &str = "$share/g/t/+";
const WINDOW: u16 = 2;
/// Nothing is awaited before the broker sends it again.
const SILENT: u8 = 0;
const LIMITS: SessionLimits = SessionLimits {
    inflight_max: WINDOW,
    receive_max: 100,
    packet_bytes_max: 0,
    queue_messages_max: 1000,
    queue_bytes_max: 1 << 20,
    topic_alias_max: 0,
};

#[derive(Clone, Debug)]
enum Step {
    /// A new connection, which takes over; it is to outlive its connection or not.
    Connect {
        who: usize,
        persistent: bool,
        clean_start: bool,
    },
    /// The connection is lost.
    Lose(usize),
    Subscribe(usize, u8),
    Unsubscribe(usize),
    Publish(u8),
    Read(usize),
    /// Acknowledges the first of what it has.
    Acknowledge(usize),
    /// The next batch of a worker is stored.
    Commit(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..MEMBERS;
    prop_oneof![
        4 => (who.clone(), prop::bool::weighted(0.7), prop::bool::weighted(0.15))
            .prop_map(|(who, persistent, clean_start)| Step::Connect { who, persistent, clean_start }),
        2 => who.clone().prop_map(Step::Lose),
        4 => (who.clone(), 0u8..3).prop_map(|(who, qos)| Step::Subscribe(who, qos)),
        1 => who.clone().prop_map(Step::Unsubscribe),
        10 => (1u8..3).prop_map(Step::Publish),
        4 => who.clone().prop_map(Step::Read),
        5 => who.prop_map(Step::Acknowledge),
        6 => (0usize..2).prop_map(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

fn identity(tenants: &Tenants, client_id: &str) -> Identity {
    let key = Arc::new(SessionKey::new(tenants.get_or_create("t").unwrap(), "user", client_id).unwrap());
    let groups = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
    let grants =
        GrantTable::new(1).compile(&[Grant { constraints: groups, ..Grant::allow(Actions::ALL, "#") }]).unwrap();
    let (values, no_match, limits) = (Values::default(), NoMatch::Deny, Limits::default());
    Identity::new(Parts { key: &key, grants: &grants, values, no_match, limits: &limits }, &Hasher::default()).unwrap()
}

/// A process.
struct Node {
    sessions: Sessions,
    tenants: Tenants,
    outs: [Out; 2],
    publisher: (Identity, Attached),
}

impl Node {
    fn start(store: &mut Store) -> Node {
        let (sessions, tenants) = (Sessions::default(), Tenants::new(1));
        let retained = RetainedChanges::default();
        let mut outs = [(); 2].map(|()| {
            let mut out = Out::new(TopicCache::new(4, 16));
            out.spare.changes = Changes::kept(retained.clone(), sessions.numbers());
            out
        });
        store.restart(&tenants, &sessions, LIMITS, &mut outs[0].spare);
        let publisher = identity(&tenants, "p");
        let home = Home { worker: 0, connection: 99 };
        let from = Attached::alone(publisher.key().clone(), Protocol::V5, LIMITS, home);
        Node { sessions, tenants, outs, publisher: (publisher, from) }
    }
}

/// What a client knows.
#[derive(Default)]
struct Client {
    connection: Option<Attached>,
    /// Its session is there, perhaps away.
    lives: bool,
    persistent: bool,
    /// Its session is in the store: it began as a persistent one.
    stored: bool,
    subscribed: bool,
    /// Packet identifier, kind of acknowledgement that is awaited, message; in order. Of QoS 2 it is kept from one
    /// connection to the next.
    in_flight: Vec<(u16, u8, u16)>,
    /// What it was ever sent in this session: message, and packet identifier. A crash may give it a QoS 1 message once more,
    /// under another.
    sent: BTreeSet<(u16, u16)>,
}

#[derive(Default)]
struct World {
    store: Store,
    node: Option<Node>,
    clients: [Client; MEMBERS],
    last: u16,
    /// Published while a member was in the store, and the batch with it is not known to be stored: not acknowledged.
    unacknowledged: [Vec<(usize, u16)>; 2],
    submitted: [usize; 2],
    committed: [usize; 2],
    /// Acknowledged to its publisher, and nobody has it yet.
    due: BTreeSet<u16>,
    /// How often each was got at QoS 1, and by whom at QoS 2.
    got: BTreeMap<u16, usize>,
    got_once: HashMap<u16, usize>,
    /// Published at QoS 2; and those of them that a crash found on their way: in a session they were perhaps sent, and go to
    /// nobody when it ends.
    exactly_once: BTreeSet<u16>,
    perhaps_sent: BTreeSet<u16>,
    /// The last batch of each worker with the end of a session.
    last_end: [usize; 2],
    /// May come to somebody again.
    again: BTreeSet<u16>,
}

impl World {
    fn new() -> World {
        let mut world = World::default();
        world.node = Some(Node::start(&mut world.store));
        world
    }

    fn node(&mut self) -> &mut Node {
        self.node.as_mut().unwrap()
    }

    /// What a turn of the worker has changed is submitted. `answers`: a client waits for it.
    fn turn(&mut self, worker: usize, answers: bool) {
        let out = &mut self.node.as_mut().unwrap().outs[worker];
        let empty = out.spare.changes.is_empty();
        self.store.submit(worker, out);
        self.submitted[worker] += usize::from(!empty);
        while answers && !self.store.is_idle(worker) {
            self.commit(worker);
        }
    }

    fn commit(&mut self, worker: usize) {
        if self.store.is_idle(worker) {
            return;
        }
        self.store.commit(worker, &mut self.node.as_mut().unwrap().outs[worker]);
        self.committed[worker] += 1;
        let committed = self.committed[worker];
        let stored: Vec<u16> =
            self.unacknowledged[worker].extract_if(.., |(n, _)| *n <= committed).map(|x| x.1).collect();
        self.due.extend(stored.into_iter().filter(|n| !self.got.contains_key(n)));
        self.turn(worker, false);
    }

    fn connect(&mut self, who: usize, persistent: bool, clean_start: bool) {
        self.read(who);
        // The session before is not waited for when it ends, and changed on another worker.
        let worker = (who + usize::from(clean_start)) % 2;
        let node = self.node.as_mut().unwrap();
        let member = identity(&node.tenants, &format!("c{who}"));
        let (home, expiry_s) = (Home { worker: 0, connection: who as u32 }, if persistent { 100 } else { 0 });
        let (key, protocol) = (member.key(), Protocol::V5);
        let opening = Opening { key, protocol, limits: LIMITS, home, clean_start, expiry_s, will: None };
        let opened = node.sessions.open(opening, NOW_MS, &mut node.outs[worker].spare);
        let client = &mut self.clients[who];
        assert_eq!(opened.resumed, client.lives && client.persistent && !clean_start);
        if !opened.resumed && client.lives {
            self.ended(who, worker);
        }
        let node = self.node.as_mut().unwrap();
        if opened.resumed {
            let changes = &mut node.outs[who % 2].spare.changes;
            assert_eq!(router::recheck(&member, &opened.session, changes).revoked, []);
            router::begin(&opened.session, NOW_MS, &mut node.outs[who % 2].spare);
            // The broker sends again what was not acknowledged; of QoS 2 the client knows that it had it.
            let in_flight = &mut self.clients[who].in_flight;
            in_flight.retain(|(_, awaited, _)| *awaited != kind::PUBACK);
            in_flight.iter_mut().for_each(|of| of.1 = SILENT);
        }
        let client = &mut self.clients[who];
        client.stored = if opened.resumed { client.stored } else { persistent };
        (client.lives, client.persistent, client.connection) = (true, persistent, Some(opened.session));
        self.turn(worker, true);
    }

    /// Its session has ended, on that worker.
    fn ended(&mut self, who: usize, worker: usize) {
        let client = std::mem::take(&mut self.clients[who]);
        if client.stored {
            self.due.retain(|n| !self.perhaps_sent.contains(n));
        }
        self.last_end[worker] = self.submitted[worker] + 1;
        for (_, awaited, n) in client.in_flight {
            if awaited == kind::PUBACK {
                self.again.insert(n);
            }
        }
        self.nobody_left();
    }

    /// Without members in the store what waits is as safe as those that are left.
    fn nobody_left(&mut self) {
        if !self.clients.iter().any(|client| client.subscribed && client.stored) {
            self.due.clear();
            self.unacknowledged.iter_mut().for_each(Vec::clear);
        }
    }

    fn lose(&mut self, who: usize) {
        self.read(who);
        let Some(connection) = self.clients[who].connection.take() else { return };
        let node = self.node();
        let left = node.sessions.leave(&connection, Leave::default(), NOW_MS, &mut node.outs[who % 2].spare);
        assert_eq!(left.ended, !self.clients[who].persistent);
        self.turn(who % 2, false);
        if left.ended {
            self.ended(who, who % 2);
        }
    }

    fn subscribe(&mut self, who: usize, qos: u8) {
        let Some(connection) = self.clients[who].connection.clone() else { return };
        let node = self.node();
        let member = identity(&node.tenants, &format!("c{who}"));
        let options = SubscribeOptions::read(qos, Protocol::V5).unwrap();
        let action = SubscribeAction { filter: Filter::trusted(FILTER), qos: options.qos() };
        let Decision::Permit(permit) = member.may_subscribe(action) else { panic!("allowed") };
        let subscribed = router::subscribe(&permit, &connection, options, NOW_MS, &mut node.outs[who % 2]);
        assert_eq!(subscribed.code.0, qos);
        self.clients[who].subscribed = true;
        self.turn(who % 2, true);
    }

    fn unsubscribe(&mut self, who: usize) {
        let Some(connection) = self.clients[who].connection.clone() else { return };
        let node = self.node();
        let member = identity(&node.tenants, &format!("c{who}"));
        let Decision::Permit(permit) = member.may_unsubscribe(Filter::trusted(FILTER)) else { panic!() };
        router::unsubscribe(&permit, &connection, &mut node.outs[who % 2].spare.changes);
        self.turn(who % 2, true);
        self.read(who);
        self.clients[who].subscribed = false;
        self.nobody_left();
    }

    fn publish(&mut self, qos: u8) {
        self.last += 1;
        let (n, worker) = (self.last, usize::from(self.last % 2));
        let mut frame = Vec::new();
        let at = write::publish(&mut frame, Protocol::V5, 0x30 | qos << 1, "t/x", &[], &n.to_be_bytes());
        frame[at + 1] = 1;
        let message = Publish::read(&frame, 2, Protocol::V5, &PacketLimits::default()).unwrap();
        let node = self.node.as_mut().unwrap();
        let action = PublishAction::new(&message, message.topic);
        let (identity, from) = &node.publisher;
        let Decision::Permit(permit) = identity.may_publish(&mut Verdicts::new(0), action, NOW_MS) else { panic!() };
        let routed = router::publish(&permit, from, &message, NOW_MS, &mut node.outs[worker]);
        let members = self.clients.iter().filter(|client| client.subscribed).count();
        assert_eq!((routed.delivered, routed.dropped), (u32::from(members > 0), 0));
        let is_kept = node.outs[worker].spare.changes.are_relied_on();
        self.turn(worker, false);
        if qos == 2 {
            self.exactly_once.insert(n);
        }
        if is_kept {
            self.unacknowledged[worker].push((self.submitted[worker], n));
        }
    }

    fn read(&mut self, who: usize) {
        loop {
            let Some(connection) = self.clients[who].connection.clone() else { return };
            let taken = connection.take(NOW_MS, &mut self.node().outs[who % 2].spare);
            self.turn(who % 2, false);
            let Some(bytes) = taken else { return };
            let mut rest = &bytes[..];
            while let [first, len, more @ ..] = rest {
                let (body, next) = more.split_at(usize::from(*len));
                self.handle(who, *first, body);
                rest = next;
            }
        }
    }

    fn handle(&mut self, who: usize, first: u8, body: &[u8]) {
        let in_flight = &mut self.clients[who].in_flight;
        if first == 0x62 {
            let packet_id = u16::from_be_bytes([body[0], body[1]]);
            // One that the client had released: it answers, and the broker forgets it.
            if !in_flight.iter().any(|(id, awaited, _)| *id == packet_id && *awaited != kind::PUBACK) {
                in_flight.push((packet_id, kind::PUBCOMP, 0));
            }
            in_flight.iter_mut().filter(|of| of.0 == packet_id).for_each(|of| of.1 = kind::PUBCOMP);
            return;
        }
        let (qos, n) = (first >> 1 & 3, u16::from_be_bytes(body[body.len() - 2..].try_into().unwrap()));
        if qos == 0 {
            *self.got.entry(n).or_default() += 1;
            self.due.remove(&n);
            return;
        }
        let packet_id = u16::from_be_bytes([body[5], body[6]]);
        let is_new = self.clients[who].sent.insert((n, packet_id));
        assert!(is_new || first & 8 != 0, "{n} is sent again to {who}, without DUP");
        let in_flight = &mut self.clients[who].in_flight;
        let known = |of: &&mut (u16, u8, u16)| of.0 == packet_id && of.1 == SILENT;
        if let Some(of) = in_flight.iter_mut().find(known).filter(|_| qos == 2) {
            assert_eq!(of.2, n, "sent again to {who}");
            of.1 = kind::PUBREC;
            return;
        }
        assert!(!self.got_once.contains_key(&n), "{n} came at QoS 2 to {:?} and comes to {who}", self.got_once.get(&n));
        let count = self.got.entry(n).or_default();
        *count += 1;
        assert!(*count == 1 || self.again.contains(&n) || first & 8 != 0, "{n} comes again, to {who}");
        if qos == 2 {
            self.got_once.insert(n, who);
        }
        self.due.remove(&n);
        in_flight.push((packet_id, if qos == 1 { kind::PUBACK } else { kind::PUBREC }, n));
    }

    fn acknowledge(&mut self, who: usize) {
        self.read(who);
        let client = &mut self.clients[who];
        let Some(connection) = client.connection.clone() else { return };
        let Some(at) = client.in_flight.iter().position(|of| of.1 != SILENT) else { return };
        let (packet_id, awaited, _) = client.in_flight[at];
        match awaited {
            kind::PUBREC => client.in_flight[at].1 = kind::PUBCOMP,
            _ => drop(client.in_flight.remove(at)),
        }
        let ack = Ack { kind: awaited, packet_id, reason: ReasonCode::SUCCESS };
        connection.settle(&[ack], NOW_MS, &mut Vec::new(), &mut self.node().outs[who % 2].spare);
        // A packet identifier is not used again before that is stored.
        self.turn(who % 2, awaited != kind::PUBACK);
        self.read(who);
    }

    fn crash(&mut self) {
        for who in 0..MEMBERS {
            // What its client had been sent before.
            self.read(who);
        }
        self.again.extend(self.got.keys());
        self.perhaps_sent.extend(self.due.intersection(&self.exactly_once));
        // A session that the store still has ends now, and one that it never had took along what the store had let go of.
        if (0..2).any(|worker| self.last_end[worker] > self.committed[worker]) {
            self.due.retain(|n| !self.perhaps_sent.contains(n));
        }
        self.unacknowledged = Default::default();
        self.committed = self.submitted;
        self.last_end = [0; 2];
        self.node = None;
        for who in 0..MEMBERS {
            self.clients[who].connection = None;
            if self.clients[who].lives && !self.clients[who].persistent {
                self.ended(who, who % 2);
            }
        }
        self.node = Some(Node::start(&mut self.store));
        // Those that were to end with their connection, before the first client comes.
        let node = self.node();
        assert_eq!(node.sessions.sweep(NOW_MS, 100, &mut node.outs[0].spare).wills.len(), 0);
        self.turn(0, true);
    }

    /// Those who are there get all that is not with somebody who is away; then everybody comes back, and everything arrives.
    fn finish(&mut self) {
        let settle = |world: &mut World| {
            for _ in 0..400 {
                for who in 0..MEMBERS {
                    world.commit(who % 2);
                    world.acknowledge(who);
                }
            }
        };
        settle(self);
        if self.clients.iter().any(|client| client.subscribed && client.connection.is_some()) {
            assert_eq!(self.store.waiting(), 0, "waits, and somebody could have it");
        }
        for who in 0..MEMBERS {
            if self.clients[who].lives && self.clients[who].connection.is_none() {
                self.connect(who, true, false);
            }
        }
        settle(self);
        assert_eq!((&self.due, self.store.waiting()), (&BTreeSet::new(), 0), "lost");
        let in_store = self.clients.iter().any(|client| client.subscribed && client.stored);
        assert!(in_store || self.store.groups() == 0, "a queue is left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Guards promise 5 for shared subscriptions (4.8.2): whatever was acknowledged while a member was in the store gets to
    /// a member, also after a crash at any time; what was sent at QoS 2 goes to nobody else and not twice; what was not
    /// sent waits for nobody who is away while another has room.
    #[test]
    fn what_is_stored_gets_to_one_member(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Connect { who, persistent, clean_start } => world.connect(who, persistent, clean_start),
                Step::Lose(who) => world.lose(who),
                Step::Subscribe(who, qos) => world.subscribe(who, qos),
                Step::Unsubscribe(who) => world.unsubscribe(who),
                Step::Publish(qos) => world.publish(qos),
                Step::Read(who) => world.read(who),
                Step::Acknowledge(who) => world.acknowledge(who),
                Step::Commit(worker) => world.commit(worker),
                Step::Crash => world.crash(),
            }
        }
        world.finish();
    }
}
