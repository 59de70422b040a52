//! A shared subscription under a random script, against a model of what its members must have got.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gatemq_broker::identity::Parts;
use gatemq_broker::session::{Ack, Spare};
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

const MEMBERS: usize = 4;
const FILTER: &str = "$share/g/t/+";

#[derive(Clone, Debug)]
enum Step {
    /// A new connection, which takes over; it is to outlive its connection or not.
    Connect {
        who: usize,
        five: bool,
        persistent: bool,
        window: u16,
        clean_start: bool,
    },
    /// The connection is lost with what was not read.
    Lose(usize),
    /// The client reads, and its session ends.
    End(usize),
    Subscribe(usize, u8),
    Unsubscribe(usize),
    Publish(u8),
    Read(usize),
    /// Acknowledges the first of what it has.
    Acknowledge(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..MEMBERS;
    prop_oneof![
        3 => (who.clone(), any::<bool>(), any::<bool>(), 1u16..4, prop::bool::weighted(0.2)).prop_map(
            |(who, five, persistent, window, clean_start)| Step::Connect { who, five, persistent, window, clean_start }
        ),
        1 => who.clone().prop_map(Step::Lose),
        1 => who.clone().prop_map(Step::End),
        3 => (who.clone(), 0u8..3).prop_map(|(who, qos)| Step::Subscribe(who, qos)),
        1 => who.clone().prop_map(Step::Unsubscribe),
        10 => (0u8..3).prop_map(Step::Publish),
        4 => who.clone().prop_map(Step::Read),
        5 => (who, 1usize..4).prop_map(|(who, count)| Step::Acknowledge(who, count)),
    ]
}

fn identity(client_id: &str, tenants: &Tenants) -> Identity {
    let tenant = tenants.get_or_create("t").unwrap();
    let key = Arc::new(SessionKey::new(tenant, "user", client_id).unwrap());
    let groups = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
    let grant = Grant { constraints: groups, ..Grant::allow(Actions::ALL, "#") };
    let grants = GrantTable::new(1).compile(&[grant]).unwrap();
    let limits = Limits::default();
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    Identity::new(Parts { key: &key, grants: &grants, values, no_match, limits: &limits }, &Hasher::default()).unwrap()
}

/// One client: what the broker has of it, and what the client has.
struct Member {
    identity: Identity,
    connection: Option<Attached>,
    /// Its session is there, perhaps away.
    lives: bool,
    persistent: bool,
    subscribed: bool,
    window: usize,
    /// Something on its way to it was not read, and did perhaps not come again yet.
    unread: bool,
    /// Packet identifier, kind of acknowledgement that is awaited, message; in order.
    in_flight: Vec<(u16, u8, u16)>,
}

struct World {
    sessions: Sessions,
    publisher: Identity,
    from: Attached,
    out: Out,
    members: Vec<Member>,
    last: u16,
    /// Of QoS 1 and 2: what somebody still has to get.
    due: BTreeSet<u16>,
    /// Who got a message and whether it was at QoS 2; gone when its session ended with it.
    holder: HashMap<u16, usize>,
    got: HashSet<u16>,
    /// May come again: its session ended before it was acknowledged at QoS 1.
    moved: HashSet<u16>,
    /// The group by which they came is gone.
    orphans: HashSet<u16>,
}

impl World {
    fn new() -> Self {
        let tenants = Tenants::new(1);
        let publisher = identity("p", &tenants);
        let home = Home { worker: 0, connection: 99 };
        let from = Attached::alone(publisher.key().clone(), Protocol::V5, SessionLimits::default(), home);
        let member = |n: usize| Member {
            identity: identity(&format!("c{n}"), &tenants),
            connection: None,
            lives: false,
            persistent: false,
            subscribed: false,
            window: 0,
            unread: false,
            in_flight: Vec::new(),
        };
        World {
            sessions: Sessions::default(),
            publisher,
            from,
            out: Out::new(TopicCache::new(4, 16)),
            members: (0..MEMBERS).map(member).collect(),
            last: 0,
            due: BTreeSet::new(),
            holder: HashMap::new(),
            got: HashSet::new(),
            moved: HashSet::new(),
            orphans: HashSet::new(),
        }
    }

    fn connect(&mut self, who: usize, five: bool, persistent: bool, window: u16, clean_start: bool) {
        // What was on its way to the old connection is read: it was sent.
        self.read(who);
        let member = &mut self.members[who];
        let (clean_start, persistent) = (clean_start && !member.unread, persistent || member.unread);
        let resumes = member.lives && member.persistent && !clean_start;
        if member.lives && !resumes {
            self.model_end(who);
        }
        let member = &mut self.members[who];
        let key = member.identity.key().clone();
        let protocol = if five { Protocol::V5 } else { Protocol::V311 };
        let limits = SessionLimits { inflight_max: window, ..SessionLimits::default() };
        let home = Home { worker: 0, connection: who as u32 };
        let expiry_s = if persistent { 100 } else { 0 };
        let opening = Opening { key: &key, protocol, limits, home, clean_start, expiry_s, will: None };
        let opened = self.sessions.open(opening, 0, &mut Default::default());
        assert_eq!(opened.resumed, resumes);
        self.tell(&opened.armed);
        let member = &mut self.members[who];
        (member.lives, member.persistent, member.window) = (true, persistent, window.into());
        let connection = member.connection.insert(opened.session);
        if resumes {
            assert_eq!(router::recheck(&member.identity, connection, &mut Default::default()).revoked, []);
            router::begin(connection, 0, &mut self.out.spare);
        }
    }

    /// Connections that are named have something to write.
    fn tell(&self, armed: &[Home]) {
        for home in armed {
            let connection = self.members[home.connection as usize].connection.as_ref().unwrap();
            assert!(connection.has_more(), "armed");
        }
    }

    fn lose(&mut self, who: usize) {
        let unread = self.members[who].persistent;
        self.read_as(who, unread);
        let Some(connection) = self.members[who].connection.take() else { return };
        self.members[who].unread |= unread;
        if !self.members[who].persistent {
            self.model_end(who);
        }
        let left = self.sessions.leave(&connection, Leave::default(), 0, &mut Default::default());
        self.tell(&left.armed);
    }

    fn end(&mut self, who: usize) {
        if self.members[who].unread {
            return;
        }
        self.read(who);
        let Some(connection) = self.members[who].connection.take() else { return };
        self.model_end(who);
        let left =
            self.sessions.leave(&connection, Leave { end: true, ..Leave::default() }, 0, &mut Default::default());
        assert!(left.ended);
        self.tell(&left.armed);
    }

    fn model_end(&mut self, who: usize) {
        let member = &mut self.members[who];
        (member.lives, member.subscribed, member.unread) = (false, false, false);
        for (_, awaited, n) in std::mem::take(&mut member.in_flight) {
            self.holder.remove(&n);
            if awaited == kind::PUBACK && !self.orphans.contains(&n) {
                self.moved.insert(n);
                self.due.insert(n);
            }
        }
        self.nobody_left();
    }

    /// Without members there is no group, and what waited in it is gone.
    fn nobody_left(&mut self) {
        if self.members.iter().all(|member| !member.subscribed) {
            let due = std::mem::take(&mut self.due);
            // What is in flight unread stays with its session.
            self.moved.extend(due);
            self.orphans.extend(self.holder.keys());
        }
    }

    fn subscribe(&mut self, who: usize, qos: u8) {
        let member = &mut self.members[who];
        let Some(connection) = &member.connection else { return };
        let options = SubscribeOptions::read(qos, Protocol::V5).unwrap();
        let action = SubscribeAction { filter: Filter::trusted(FILTER), qos: options.qos() };
        let Decision::Permit(permit) = member.identity.may_subscribe(action) else { panic!("allowed") };
        assert_eq!(router::subscribe(&permit, connection, options, 0, &mut self.out).code.0, qos);
        member.subscribed = true;
    }

    fn unsubscribe(&mut self, who: usize) {
        let member = &mut self.members[who];
        let Some(connection) = &member.connection else { return };
        let Decision::Permit(permit) = member.identity.may_unsubscribe(Filter::trusted(FILTER)) else { panic!() };
        let had = router::unsubscribe(&permit, connection, &mut Default::default()) == ReasonCode::SUCCESS;
        assert_eq!(
            router::unsubscribe(&permit, connection, &mut Default::default()),
            ReasonCode::NO_SUBSCRIPTION_EXISTED
        );
        assert_eq!(had, std::mem::take(&mut member.subscribed));
        self.read(who);
        self.nobody_left();
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
        let routed = router::publish(&permit, &self.from, &message, 0, &mut self.out);
        let members = self.members.iter().filter(|member| member.subscribed);
        let wanted = match (qos, members.clone().count(), members.filter(|m| m.connection.is_some()).count()) {
            (_, 0, _) => (0, 0),
            (0, _, 0) => (0, 1),
            _ => (1, 0),
        };
        assert_eq!((routed.delivered, routed.dropped), wanted, "to one, or nobody");
        if qos > 0 && routed.delivered == 1 {
            self.due.insert(self.last);
        }
        let armed = std::mem::take(&mut self.out.armed);
        self.tell(&armed);
    }

    fn read(&mut self, who: usize) {
        self.read_as(who, false);
    }

    /// `lost`: what is to be acknowledged does not arrive.
    fn read_as(&mut self, who: usize, lost: bool) {
        while let Some(bytes) = self.members[who].connection.as_ref().and_then(|c| c.take(0, &mut self.out.spare)) {
            let five = self.members[who].connection.as_ref().unwrap().protocol() == Protocol::V5;
            let mut rest = &bytes[..];
            while let [first, len, more @ ..] = rest {
                let (body, next) = more.split_at(usize::from(*len));
                if !lost || *first == 0x30 {
                    self.handle(who, *first, body, five);
                }
                rest = next;
            }
        }
    }

    fn handle(&mut self, who: usize, first: u8, body: &[u8], five: bool) {
        let member = &mut self.members[who];
        if first == 0x62 {
            let packet_id = u16::from_be_bytes([body[0], body[1]]);
            assert!(member.in_flight.iter().any(|(id, kind, _)| (*id, *kind) == (packet_id, kind::PUBCOMP)));
            return;
        }
        let (qos, dup) = (first >> 1 & 3, first & 8 != 0);
        assert_eq!(body.len(), 5 + 2 * usize::from(qos > 0) + usize::from(five) + 2);
        let n = u16::from_be_bytes(body[body.len() - 2..].try_into().unwrap());
        if qos == 0 {
            assert!(self.got.insert(n) || self.moved.contains(&n), "{n} once");
            self.due.remove(&n);
            return;
        }
        let packet_id = u16::from_be_bytes([body[5], body[6]]);
        let awaited = if qos == 1 { kind::PUBACK } else { kind::PUBREC };
        if let Some(holder) = self.holder.get(&n) {
            assert!(dup && *holder == who, "{n} stays with {holder}");
            assert!(member.in_flight.contains(&(packet_id, awaited, n)));
            return;
        }
        assert!(self.got.insert(n) || self.moved.contains(&n), "{n} comes again");
        if qos == 2 {
            // It was not sent at QoS 2 to anybody before.
            self.moved.remove(&n);
        }
        self.due.remove(&n);
        self.holder.insert(n, who);
        member.in_flight.push((packet_id, awaited, n));
        assert!(member.in_flight.len() <= member.window.max(3), "within the window");
    }

    fn acknowledge(&mut self, who: usize, count: usize) {
        self.read(who);
        for _ in 0..count {
            let member = &mut self.members[who];
            let Some(connection) = &member.connection else { return };
            let Some((packet_id, awaited, n)) = member.in_flight.first().copied() else {
                member.unread = false;
                return;
            };
            let ack = |kind| Ack { kind, packet_id, reason: ReasonCode::SUCCESS };
            if awaited == kind::PUBREC {
                member.in_flight[0].1 = kind::PUBCOMP;
                assert_eq!(connection.settle(&[ack(kind::PUBREC)], 0, &mut Vec::new(), &mut self.out.spare), 0);
            } else {
                member.in_flight.remove(0);
                self.holder.remove(&n);
                self.moved.remove(&n);
                assert_eq!(connection.settle(&[ack(awaited)], 0, &mut Vec::new(), &mut self.out.spare), 0);
            }
            self.read(who);
        }
    }

    /// Nothing waits while a member could have it: this is what "a member that does not read takes nothing from the others"
    /// comes to.
    fn check_that_none_is_idle(&mut self) {
        let all_read: Vec<usize> = (0..MEMBERS).filter(|who| self.members[*who].connection.is_some()).collect();
        for who in &all_read {
            self.read(*who);
        }
        let unread_somewhere = self.members.iter().any(|m| m.unread || m.lives && m.connection.is_none());
        let idle = |m: &Member| m.subscribed && m.connection.is_some() && m.in_flight.len() < m.window;
        if !unread_somewhere && self.members.iter().any(idle) {
            assert_eq!(self.due, BTreeSet::new(), "waits, and somebody could have it");
        }
    }

    /// Everybody comes back, and everything arrives.
    fn finish(&mut self) {
        for who in 0..MEMBERS {
            if self.members[who].lives && self.members[who].connection.is_none() {
                self.connect(who, true, true, 3, false);
            }
        }
        for _ in 0..1000 {
            for who in 0..MEMBERS {
                self.acknowledge(who, 10);
            }
        }
        assert_eq!(self.due, BTreeSet::new(), "lost");
        assert!(self.members.iter().all(|member| member.in_flight.is_empty()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Guards 4.8.2: each message goes to one member; what was sent stays with it while its session lasts, and then QoS 1
    /// goes to another and QoS 2 to nobody; nothing waits while a member could have it; and nothing is lost.
    #[test]
    fn one_member_gets_each(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Connect { who, five, persistent, window, clean_start } => {
                    world.connect(who, five, persistent, window, clean_start);
                }
                Step::Lose(who) => world.lose(who),
                Step::End(who) => world.end(who),
                Step::Subscribe(who, qos) => world.subscribe(who, qos),
                Step::Unsubscribe(who) => world.unsubscribe(who),
                Step::Publish(qos) => world.publish(qos),
                Step::Read(who) => {
                    world.read(who);
                    world.check_that_none_is_idle();
                }
                Step::Acknowledge(who, count) => world.acknowledge(who, count),
            }
        }
        world.finish();
    }
}

/// Guards against a message that waits while a member sleeps: three members on three threads, each of which looks only when
/// it is told that there is something, small windows, and two publishers on two threads; every message arrives, once.
#[test]
fn nobody_sleeps_while_something_waits() {
    const COUNT: u16 = 10_000;
    let mut world = World::new();
    for who in 0..3 {
        world.connect(who, true, false, 2, true);
        world.subscribe(who, 1);
    }
    let got = Mutex::new(vec![0u8; 2 * usize::from(COUNT) + 1]);
    let left = AtomicUsize::new(2 * usize::from(COUNT));
    std::thread::scope(|scope| {
        for who in 0..3 {
            let (connection, got, left) = (world.members[who].connection.clone().unwrap(), &got, &left);
            scope.spawn(move || {
                let mut spare = Spare::default();
                while left.load(Ordering::Acquire) > 0 {
                    if !connection.has_more() {
                        std::thread::yield_now();
                        continue;
                    }
                    let Some(bytes) = connection.take(0, &mut spare) else { continue };
                    let mut acks = Vec::new();
                    for packet in bytes.chunks(12) {
                        got.lock().unwrap()[usize::from(u16::from_be_bytes([packet[10], packet[11]]))] += 1;
                        let packet_id = u16::from_be_bytes([packet[7], packet[8]]);
                        acks.push(Ack { kind: kind::PUBACK, packet_id, reason: ReasonCode::SUCCESS });
                    }
                    left.fetch_sub(acks.len(), Ordering::AcqRel);
                    assert_eq!(connection.settle(&acks, 0, &mut Vec::new(), &mut spare), 0);
                }
            });
        }
        for publisher in 0..2 {
            let (publisher_identity, from, left) = (&world.publisher, world.from.clone(), &left);
            scope.spawn(move || {
                let mut out = Out::new(TopicCache::new(4, 16));
                for n in 0..COUNT {
                    let mut frame = Vec::new();
                    let payload = (publisher * COUNT + n).to_be_bytes();
                    let at = write::publish(&mut frame, Protocol::V5, 0x32, "t/x", &[], &payload);
                    frame[at + 1] = 1;
                    let message = Publish::read(&frame, 2, Protocol::V5, &PacketLimits::default()).unwrap();
                    let action = PublishAction::new(&message, message.topic);
                    let Decision::Permit(permit) = publisher_identity.may_publish(&mut Verdicts::new(0), action, 0)
                    else {
                        panic!()
                    };
                    while router::publish(&permit, &from, &message, 0, &mut out).delivered == 0 {
                        std::thread::yield_now(); // Full: wait for the members.
                        assert!(left.load(Ordering::Acquire) > 0);
                    }
                }
            });
        }
    });
    let got = got.into_inner().unwrap();
    assert!(got[..2 * usize::from(COUNT)].iter().all(|times| *times == 1));
}
