//! A message to everyone whose filter matches.

use std::hash::BuildHasher;
use std::sync::Arc;

use gatemq_mqtt::{PacketLimits, Publish, kind, write};
use gatemq_types::{Protocol, QoS, ReasonCode};

use super::layouts::{Buffers, Layouts};
use crate::changes::Change;
use crate::heard::{Heard, Hearing, Publication};
use crate::remote::{Destination, Forward, destination};
use crate::retained::{Retention, Stored, Who};
use crate::session::{Attached, Delivered, Home, Session, Source, Spare};
use crate::shared::Group;
use crate::tenant::TenantLimit;
use crate::tree::{Subscription, Target};
use crate::will::LeftWill;
use crate::{Hasher, PublishAction, PublishPermit, Tenant, TopicCache};

/// Largest payload of a plugin's message: what MQTT can say, less any header.
const PAYLOAD_BYTES_MAX: usize = (256 << 20) - (128 << 10);
/// Where the node publishes, and no client does.
const SYS: &str = "$SYS/";

/// What a worker lends to routing and gets back from it. Reused for every message: the usual one allocates nothing.
pub struct Out {
    /// Connections that now have something to write, once each. The host wakes them after a read batch and clears it.
    pub armed: Vec<Home>,
    /// Topics and their targets.
    pub cache: TopicCache,
    /// Empty buffers.
    pub spare: Spare,
    /// Messages that receivers got, or that wait for them.
    pub delivered: u64,
    /// Messages that receivers did not get because of their size, a full queue, or at QoS 0 while they were away.
    pub dropped: u64,
    /// Messages that were to be retained and were refused.
    pub retained_refused: u64,
    /// Messages for other nodes, in the order in which they were published. The host takes them after each turn.
    pub forwards: Vec<Forward>,
    /// In a cluster: the last publication here, whose number is 0 where none has one. See [`Out::number_publications`].
    publication: Publication,
    /// What other nodes have sent.
    pub(super) hearing: Hearing,
    pub(super) buffers: Buffers,
}

impl Out {
    /// With a cache of its own.
    pub fn new(cache: TopicCache) -> Self {
        Out {
            armed: Vec::new(),
            cache,
            spare: Spare::default(),
            delivered: 0,
            dropped: 0,
            retained_refused: 0,
            forwards: Vec::new(),
            publication: Publication::NONE,
            hearing: Hearing::default(),
            buffers: Buffers::default(),
        }
    }

    /// From now on each publication has a number that no other has in the cluster, if no other worker or node counts from the same
    /// `base` on, whose lower [`COUNTED_BITS`](crate::heard::COUNTED_BITS) are 0.
    pub fn number_publications(&mut self, base: Publication) {
        self.publication = Publication { number: base.number | 1, ..base };
    }

    /// What was published here, and came from other nodes lately.
    pub fn heard(&self) -> Heard {
        let mut heard = self.hearing.heard();
        heard.hear(self.publication);
        heard
    }

    #[inline]
    fn next_publication(&mut self) -> Publication {
        self.publication.number += u64::from(self.publication.number != 0);
        self.publication
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Routed {
    /// Subscriptions that it went to; 0 is No matching subscribers (0x10).
    pub delivered: u32,
    /// Other nodes that it went to, which count as a subscription each.
    pub nodes: u32,
    /// Subscriptions whose session was too full or too small for it, or away at QoS 0.
    pub dropped: u32,
    /// What became of its wish to be retained. Refused: it went to nobody, and its publisher is told 0x97.
    pub retention: Retention,
    /// The tenant's limit because of which it was not retained, or dropped for some.
    pub exceeded: Option<TenantLimit>,
}

/// Delivers `message` of `from` to everyone in the permit's tenant whose filter matches the permit's topic, once for each
/// of their subscriptions (3.3.4), at the lower of the QoS permitted and granted. With RETAIN it becomes the topic's
/// retained message first, so that nobody who subscribes meanwhile misses it.
pub fn publish(
    permit: &PublishPermit<'_>,
    from: &Attached,
    message: &Publish<'_>,
    now_ms: u64,
    out: &mut Out,
) -> Routed {
    let five = from.protocol() == Protocol::V5;
    let from = Origin { session: Some(from), five, reach: Reach::Cluster, publication: Publication::NONE };
    route(permit, from, message, now_ms, out)
}

/// Publishes a will, if its client may still publish it.
///
/// # Errors
/// It may not.
pub fn publish_will(left: &LeftWill, now_ms: u64, out: &mut Out) -> Result<Routed, ReasonCode> {
    let permit = left.will.permit()?;
    let mut frame = Vec::new();
    let message = left.will.publish(&mut frame);
    let from =
        Origin { session: Some(&left.session), five: true, reach: Reach::Cluster, publication: Publication::NONE };
    Ok(route(&permit, from, &message, now_ms, out))
}

/// Publishes a message of the node itself, without a client and its permit, to a topic below `$SYS/`, where no client may:
/// at QoS 0, not retained, to MQTT 3 and 5 alike. `topic` is valid. What does not begin with `$SYS/` goes to nobody.
/// `hasher` is the node's: with another one each time the cache would not know the topic again.
pub fn publish_own(
    tenant: &Arc<Tenant>,
    (topic, payload): (&str, &[u8]),
    hasher: &Hasher,
    now_ms: u64,
    out: &mut Out,
) -> Routed {
    if !topic.starts_with(SYS) {
        return Routed::default();
    }
    let mut frame = Vec::new();
    write::publish(&mut frame, Protocol::V311, kind::PUBLISH << 4, topic, &[], payload);
    let head = 2 + frame.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    let Ok(message) = Publish::read(&frame, head, Protocol::V311, &PacketLimits::default()) else {
        return Routed::default();
    };
    let action = PublishAction::new(&message, message.topic);
    let permit = PublishPermit::new(tenant, action, hasher.hash_one(topic));
    // Each node has a $SYS of its own.
    let from = Origin { session: None, five: false, reach: Reach::Node, publication: Publication::NONE };
    route(&permit, from, &message, now_ms, out)
}

/// A message that has no client.
#[derive(Clone, Copy, Debug)]
pub struct NodeMessage<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
}

/// A plugin may not publish it: the topic begins with `$`, is none, or the packet would be larger than MQTT can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPublishable;

/// Publishes a message that a plugin wants to be published, as [`publish`] does a client's. `hasher` is the node's.
///
/// # Errors
/// [`NotPublishable`]; it went to nobody.
pub fn publish_for_plugin(
    tenant: &Arc<Tenant>,
    own: NodeMessage<'_>,
    hasher: &Hasher,
    now_ms: u64,
    out: &mut Out,
) -> Result<Routed, NotPublishable> {
    let NodeMessage { topic, payload, qos, retain } = own;
    if topic.len() > usize::from(u16::MAX) || payload.len() > PAYLOAD_BYTES_MAX {
        return Err(NotPublishable);
    }
    let mut frame = Vec::new();
    let first = kind::PUBLISH << 4 | qos.bits() << 1 | u8::from(retain);
    let packet_id_at = write::publish(&mut frame, Protocol::V311, first, topic, &[], payload);
    if qos != QoS::AtMostOnce {
        // Any but 0: each receiver's packet has its own.
        frame[packet_id_at + 1] = 1;
    }
    let head = 2 + frame.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    let message = Publish::read(&frame, head, Protocol::V311, &PacketLimits::default()).map_err(|_| NotPublishable)?;
    let action = PublishAction::new(&message, message.topic);
    let permit = PublishPermit::for_plugin(tenant, action, hasher.hash_one(topic)).ok_or(NotPublishable)?;
    Ok(route(
        &permit,
        Origin { session: None, five: false, reach: Reach::Cluster, publication: Publication::NONE },
        &message,
        now_ms,
        out,
    ))
}

/// Where a message comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// `None`: from the node itself.
    pub(super) session: Option<&'a Session>,
    /// Its packet is in the layout of MQTT 5.
    pub(super) five: bool,
    /// Who is to have it.
    pub(super) reach: Reach,
    /// Which one it is, where another node has said so.
    pub(super) publication: Publication,
}

/// How far a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To clients of all nodes.
    Cluster,
    /// To clients of this node.
    Node,
    /// To those of this node that share their subscription with nobody: which nodes members of shared ones have it, its own
    /// node has decided.
    Plain,
}

pub(super) fn route(
    permit: &PublishPermit<'_>,
    from: Origin<'_>,
    message: &Publish<'_>,
    now_ms: u64,
    out: &mut Out,
) -> Routed {
    let mut routed = Routed::default();
    let publication = if from.reach == Reach::Plain { from.publication } else { out.next_publication() };
    let mut source = Source::new(permit.topic(), message, now_ms).numbered(publication);
    // What is retained elsewhere comes by another way.
    if permit.retain() && from.reach != Reach::Plain {
        (routed.retention, routed.exceeded) = retain(permit, from, message, now_ms, &mut source, &mut out.spare);
        if routed.retention == Retention::Refused {
            out.retained_refused += 1;
            return routed;
        }
    }
    let targets = out.cache.targets(permit);
    let Out { armed, spare, buffers, .. } = out;
    let mut layouts = Layouts::new(permit, from, message, buffers);
    let mut to = Vec::new();
    for target in targets.iter() {
        let became = match target {
            Target::Session(to) if to.no_local && from.session.is_some_and(|from| std::ptr::eq(&*to.session, from)) => {
                continue;
            }
            Target::Session(to) => deliver(to, &mut layouts, &mut source, spare),
            Target::Group(_) if from.reach == Reach::Plain => continue,
            Target::Group(group) => {
                let to = (from.reach == Reach::Cluster).then_some(&mut to);
                let Some(became) = share(group, &mut layouts, &mut source, spare, to) else { continue };
                became
            }
            Target::Node(node) => {
                if from.reach == Reach::Cluster {
                    destination(&mut to, node).plain = true;
                }
                continue;
            }
        };
        routed.count(became, armed);
    }
    out.buffers.clear();
    if !to.is_empty() {
        routed.nodes = to.len() as u32;
        routed.delivered += routed.nodes;
        out.forwards.push(forward(permit, from, to, &mut source));
    }
    out.delivered += u64::from(routed.delivered);
    out.dropped += u64::from(routed.dropped);
    routed
}

/// To a member of a shared subscription: by turns of nodes where there is `to`, else of this node. `None`: to one of another node.
fn share(
    group: &Arc<Group>,
    layouts: &mut Layouts<'_>,
    source: &mut Source<'_>,
    spare: &mut Spare,
    mut to: Option<&mut Vec<Destination>>,
) -> Option<Delivered> {
    loop {
        if let Some(to) = &mut to
            && let Some((node, filter)) = group.turn()
        {
            destination(to, &node).shares.push((*filter).into());
            return None;
        }
        match group.deliver(layouts, source, spare) {
            // The last one of this node has just gone: whose turn is it now?
            Delivered::Closed if to.is_some() && group.has_nodes() => {}
            became => return Some(became),
        }
    }
}

#[cold]
pub(super) fn forward(
    permit: &PublishPermit<'_>,
    from: Origin<'_>,
    to: Vec<Destination>,
    source: &mut Source<'_>,
) -> Forward {
    Forward {
        tenant: permit.tenant().clone(),
        message: source.message(),
        first: kind::PUBLISH << 4 | permit.qos().bits() << 1 | u8::from(permit.retain()),
        from: from.session.map(|session| session.key().clone()),
        to,
    }
}

impl Routed {
    /// Counts what became of it for one.
    pub(super) fn count(&mut self, became: Delivered, armed: &mut Vec<Home>) {
        match became {
            Delivered::Armed(home) => {
                armed.push(home);
                self.delivered += 1;
            }
            Delivered::Quiet => self.delivered += 1,
            Delivered::Dropped => self.dropped += 1,
            Delivered::QuotaExceeded => {
                self.dropped += 1;
                self.exceeded = Some(TenantLimit::QueueBytes);
            }
            Delivered::Closed | Delivered::Changed => {}
        }
    }
}

#[inline]
fn deliver(to: &Subscription, layouts: &mut Layouts<'_>, source: &mut Source<'_>, spare: &mut Spare) -> Delivered {
    let first = layouts.first(to.qos, to.retain_as_published);
    // Again only when the receiver came back with another version in between.
    loop {
        let Some(encoded) = layouts.encoded(to.session.is_five(), first) else { return Delivered::Dropped };
        match to.session.deliver(encoded, first, to.identifier, source, spare) {
            Delivered::Changed => {}
            delivered => return delivered,
        }
    }
}

/// Makes a message the retained one of its topic, or clears that.
#[cold]
fn retain(
    permit: &PublishPermit<'_>,
    from: Origin<'_>,
    message: &Publish<'_>,
    now_ms: u64,
    source: &mut Source<'_>,
    spare: &mut Spare,
) -> (Retention, Option<TenantLimit>) {
    // Nobody's: no client's user is empty.
    let (user, client_id) = from.session.map_or(("", ""), |from| (from.key().user(), from.key().client_id()));
    let tenant = permit.tenant();
    if message.payload.is_empty() {
        let mut retained = tenant.retained.write();
        retained.clear(permit.topic());
        // Under the lock, so that the store hears of a topic's messages in their order.
        spare
            .changes
            .retain(|| Change::RetainedCleared { tenant: tenant.name().to_owned(), topic: permit.topic().to_owned() });
        return (Retention::Cleared, None);
    }
    let who = Who { user, client_id, marks: permit.marks() };
    let (topic, qos) = (permit.topic(), permit.qos());
    let stored = Stored { topic, message: source.message(), qos, who, withheld: false };
    let mut retained = tenant.retained.write();
    match retained.store(stored, tenant.limits().retained, now_ms) {
        Ok(publisher) => {
            spare.changes.retain(|| Change::Retained {
                tenant: tenant.name().to_owned(),
                message: source.message(),
                qos,
                publisher,
                withheld: false,
            });
            (Retention::Stored, None)
        }
        Err(exceeded) => (Retention::Refused, exceeded),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatemq_mqtt::kind;
    use gatemq_types::{Actions, Grant, Limits, NoMatch, QoS};

    use super::super::layouts::LAYOUT_BYTES_MAX;
    use super::*;
    use crate::identity::testing::{free, key, with};
    use crate::router::testing::{QOS, drain, frame, publish, send, subscribe};
    use crate::session::{Ack, testing::HOME};
    use crate::{Identity, SessionKey, SessionLimits, Tenants};

    fn out() -> Out {
        Out::new(TopicCache::new(64, 1024))
    }

    fn session(key: &Arc<SessionKey>, protocol: Protocol, connection: u32) -> Attached {
        let home = Home { worker: 0, connection };
        Attached::alone(key.clone(), protocol, SessionLimits::default(), home)
    }

    fn sent_to_one() -> Routed {
        Routed { delivered: 1, ..Routed::default() }
    }

    fn client(protocol: Protocol) -> (Identity, Attached) {
        let key = key("c");
        (free(&key), session(&key, protocol, 1))
    }

    /// Guards section 12.3 and 3.3: whoever publishes, each receiver gets the packet that its version and QoS want.
    #[test]
    fn each_receiver_gets_its_layout() {
        for from in [Protocol::V31, Protocol::V311, Protocol::V5] {
            for to in [Protocol::V31, Protocol::V311, Protocol::V5] {
                for (published, granted) in QOS.iter().flat_map(|p| QOS.map(|g| (*p, g))) {
                    let key = key("c");
                    let identity = free(&key);
                    let (publisher, receiver) = (session(&key, from, 1), session(&key, to, 2));
                    let mut out = out();
                    assert_eq!(subscribe(&identity, &receiver, "t", granted.bits()), granted.bits());
                    let sent = frame(from, 0x30 | published.bits() << 1, "t", &[], b"hello");
                    send(&identity, &publisher, &sent, &mut out);
                    let qos = published.min(granted);
                    let mut want = frame(to, 0x30 | qos.bits() << 1, "t", &[], b"hello");
                    if qos != QoS::AtMostOnce {
                        want[6] = 1; // Its own packet identifier, not the publisher's.
                    }
                    assert_eq!(drain(&receiver, &mut out), want, "{from:?} {to:?} {published:?} {granted:?}");
                }
            }
        }
    }

    /// Guards MQTT-3.3.2-7 and -18: properties reach MQTT 5 receivers unchanged and in order; the Topic Alias does not.
    #[test]
    fn properties_pass_and_the_alias_stays_behind() {
        let properties = [&[0x01, 1][..], &[38, 0, 1, b'k', 0, 1, b'1'], &[38, 0, 1, b'k', 0, 1, b'2']].concat();
        let with_alias = [&properties[..9], &[0x23, 0, 7], &properties[9..]].concat();
        for (topic, sent) in [("t", &properties), ("t", &with_alias), ("", &with_alias)] {
            for granted in [0, 1] {
                let (identity, five) = client(Protocol::V5);
                let three = session(identity.key(), Protocol::V311, 2);
                let mut out = out();
                subscribe(&identity, &five, "+", granted);
                subscribe(&identity, &three, "+", granted);
                send(&identity, &five, &frame(Protocol::V5, 0x32, topic, sent, b"x"), &mut out);
                let topic = if topic.is_empty() { "aliased" } else { topic };
                let first = 0x30 | granted << 1;
                let expect = |protocol, properties: &[u8]| {
                    let mut want = frame(protocol, first, topic, properties, b"x");
                    if granted > 0 {
                        want[2 + 2 + topic.len() + 1] = 1;
                    }
                    want
                };
                assert_eq!(drain(&five, &mut out), expect(Protocol::V5, &properties));
                assert_eq!(drain(&three, &mut out), expect(Protocol::V311, &[]));
            }
        }
    }

    /// Guards MQTT-3.8.3-3, and RETAIN as 3.3.1.3 wants it: cleared unless Retain As Published.
    #[test]
    fn no_local_and_retain_as_published() {
        let (identity, one) = client(Protocol::V5);
        let two = session(identity.key(), Protocol::V5, 2);
        let mut out = out();
        subscribe(&identity, &one, "t", 0b0100);
        subscribe(&identity, &two, "t", 0b1100);
        let retained = frame(Protocol::V5, 0x31, "t", &[], b"x");
        let routed = send(&identity, &one, &retained, &mut out);
        assert_eq!(((routed.delivered, routed.dropped), drain(&one, &mut out).len()), ((1, 0), 0));
        assert_eq!(drain(&two, &mut out)[0], 0x31);
        send(&identity, &two, &retained, &mut out);
        assert_eq!(drain(&one, &mut out)[0], 0x30);
    }

    /// Guards section 12.2: an armed connection is named once a batch, and all its bytes are taken at once.
    #[test]
    fn armed_once_counted_always() {
        let (identity, one) = client(Protocol::V311);
        let mut out = out();
        subscribe(&identity, &one, "t/#", 0);
        for _ in 0..10 {
            assert_eq!(publish(&identity, &one, "t/x", &mut out), sent_to_one());
            assert_eq!(publish(&identity, &one, "u", &mut out), Routed::default());
        }
        assert_eq!((&out.armed[..], out.delivered), (&[Home { worker: 0, connection: 1 }][..], 10));
        assert_eq!(drain(&one, &mut out).len(), 10 * 8);
    }

    /// Guards waiting messages against each other: each keeps its own bytes, for all that wait for it.
    #[test]
    fn what_waits_is_each_its_own() {
        let (identity, from) = client(Protocol::V311);
        let limits = SessionLimits { inflight_max: 1, ..SessionLimits::default() };
        let waiting = |protocol| Attached::alone(identity.key().clone(), protocol, limits, HOME);
        let receivers = [Protocol::V311, Protocol::V311, Protocol::V5].map(waiting);
        let mut out = out();
        for receiver in &receivers {
            subscribe(&identity, receiver, "t", 1);
        }
        for n in 0..3 {
            send(&identity, &from, &frame(Protocol::V311, 0x32, "t", &[], &[n]), &mut out);
        }
        for receiver in receivers {
            let mut got = Vec::new();
            while let Some(bytes) = receiver.take(0, &mut out.spare) {
                got.push(bytes[bytes.len() - 1]);
                let ack = Ack { kind: kind::PUBACK, packet_id: 1, reason: ReasonCode::SUCCESS };
                receiver.settle(&[ack], 0, &mut Vec::new(), &mut out.spare);
            }
            assert_eq!(got, [0, 1, 2]);
        }
    }

    /// Guards section 16.3: a permit is leave for what it names, and nothing else goes out with it.
    #[test]
    fn a_permit_is_for_what_it_names() {
        use crate::permit::{Decision, PublishAction};
        let (identity, one) = client(Protocol::V311);
        let mut out = out();
        subscribe(&identity, &one, "+", 2);
        let action = PublishAction { topic: "a", qos: QoS::AtMostOnce, retain: false, payload_bytes: 1 };
        let Decision::Permit(permit) = identity.may_publish(&mut crate::Verdicts::new(0), action, 0) else { panic!() };
        for first in [0x30, 0x33] {
            let sent = frame(Protocol::V311, first, "b", &[], b"x");
            let message = Publish::read(&sent, 2, Protocol::V311, &gatemq_mqtt::PacketLimits::default()).unwrap();
            super::publish(&permit, &one, &message, 0, &mut out);
            assert_eq!(drain(&one, &mut out), frame(Protocol::V311, 0x30, "a", &[], b"x"));
        }
    }

    /// Guards promise 8: equal topics, filters, users and client identifiers in two tenants never meet.
    #[test]
    fn promise_8_tenants_never_meet() {
        let tenants = Tenants::new(2);
        let [(id_a, a), (id_b, b)] = ["a", "b"].map(|name| {
            let key = Arc::new(SessionKey::new(tenants.get_or_create(name).unwrap(), "user", "client").unwrap());
            let grants = [Grant::allow(Actions::ALL, "#")];
            let identity = with(&key, &grants, NoMatch::Deny, &Limits::default());
            let session = session(&key, Protocol::V311, 1);
            (identity, session)
        });
        let mut out = out();
        assert_eq!(subscribe(&id_a, &b, "#", 0), 0x87, "a permit of one tenant for a session of another");
        for filter in ["#", "t", "+"] {
            subscribe(&id_a, &a, filter, 0);
            subscribe(&id_b, &b, filter, 0);
        }
        // Twice: the second time from the cache, which both share.
        for _ in 0..2 {
            assert_eq!(publish(&id_a, &a, "t", &mut out).delivered, 3);
            assert_eq!((drain(&a, &mut out).len(), drain(&b, &mut out).len()), (3 * 6, 0));
            assert_eq!(publish(&id_b, &b, "t", &mut out).delivered, 3);
            assert_eq!((drain(&a, &mut out).len(), drain(&b, &mut out).len()), (0, 3 * 6));
        }
    }

    /// Guards that the node's own messages go below `$SYS/` only, in one tenant, to whom subscribed to them by that name, are
    /// not retained, and are known again by the cache.
    #[test]
    fn own_messages_stay_below_sys() {
        let tenants = Tenants::new(2);
        let mut out = out();
        let grants = [Grant::allow(Actions::ALL, "#"), Grant::allow(Actions::ALL, "$SYS/#")];
        let client = |tenant: &str, id: u32| {
            let key = SessionKey::new(tenants.get_or_create(tenant).unwrap(), "u", &id.to_string()).unwrap();
            let key = Arc::new(key);
            (with(&key, &grants, NoMatch::Deny, &Limits::default()), session(&key, Protocol::V5, id))
        };
        let [(_, all), (id, sys), (other_id, other)] = [client("a", 1), client("a", 2), client("b", 3)];
        let [tenant, other_tenant] = [&id, &other_id].map(|id| id.tenant().clone());
        subscribe(&id, &all, "#", 0);
        assert!(!tenant.wants_sys());
        subscribe(&id, &sys, "$SYS/#", 1);
        subscribe(&other_id, &other, "$SYS/#", 1);
        assert!(tenant.wants_sys() && other_tenant.wants_sys());
        let hasher = crate::Hasher::default();
        for hits in 0..2 {
            let routed = publish_own(&tenant, ("$SYS/a", b"x"), &hasher, 0, &mut out);
            assert_eq!((routed, out.cache.hits_and_misses().0), (sent_to_one(), hits));
            assert_eq!(drain(&sys, &mut out), frame(Protocol::V5, 0x30, "$SYS/a", &[], b"x"));
        }
        for topic in ["t", "$SYS", "$other/a", "a/$SYS/a"] {
            assert_eq!(publish_own(&tenant, (topic, b"x"), &hasher, 0, &mut out), Routed::default(), "{topic}");
        }
        assert_eq!((drain(&all, &mut out), drain(&other, &mut out)), (vec![], vec![]));
        assert_eq!(tenant.retained(), (0, 0));
    }

    /// Guards the bound on a worker's buffers: a large message does not stay in them.
    #[test]
    fn a_large_message_leaves_nothing() {
        let (identity, one) = client(Protocol::V311);
        let mut out = out();
        subscribe(&identity, &one, "t", 0);
        let large = vec![0; LAYOUT_BYTES_MAX + 1];
        let two = session(identity.key(), Protocol::V5, 2);
        subscribe(&identity, &two, "t", 0);
        send(&identity, &one, &frame(Protocol::V311, 0x32, "t", &[], &large), &mut out);
        assert!(drain(&one, &mut out).len() > LAYOUT_BYTES_MAX);
        assert_eq!(out.buffers.capacity(), 0);
    }
}
