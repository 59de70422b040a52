//! A message that another node of the cluster has sent, to clients of this one.

use std::hash::BuildHasher;
use std::sync::Arc;

use gatemq_mqtt::{PacketLimits, Publish};
use gatemq_types::{Protocol, QoS};

use super::Layouts;
use super::publish::{NotPublishable, Origin, Out, Reach, Routed, forward, route};
use crate::permit::{PublishAction, PublishPermit};
use crate::remote::destination;
use crate::session::{Delivered, Source};
use crate::{Hasher, Publication, Tenant};

/// What another node has sent.
#[derive(Clone, Copy, Debug)]
pub struct FromNode<'a> {
    /// A PUBLISH of MQTT 5 ([`Message::packet`](crate::session::Message::packet)).
    pub packet: &'a [u8],
    /// Deliver it to all who subscribed and share with nobody.
    pub plain: bool,
    /// Filters of shared subscriptions of which one member here is to have it.
    pub shares: &'a [Box<str>],
    /// Which one it is.
    pub publication: Publication,
}

/// Delivers it. `hasher` is the node's.
///
/// # Errors
/// [`NotPublishable`]: it is no packet, or its topic none that a client may publish to. It went to nobody.
pub fn publish_from_node(
    tenant: &Arc<Tenant>,
    sent: FromNode<'_>,
    hasher: &Hasher,
    now_ms: u64,
    out: &mut Out,
) -> Result<Routed, NotPublishable> {
    let FromNode { packet, plain, shares, publication } = sent;
    let head = 2 + packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    let message = Publish::read(packet, head, Protocol::V5, &PacketLimits::default()).map_err(|_| NotPublishable)?;
    let action = PublishAction::new(&message, message.topic);
    let permit = PublishPermit::for_node(tenant, action, hasher.hash_one(message.topic)).ok_or(NotPublishable)?;
    let from = Origin { session: None, five: true, reach: Reach::Plain, publication };
    let mut routed = match plain {
        true => route(&permit, from, &message, now_ms, out),
        false => Routed::default(),
    };
    let mut source = Source::new(permit.topic(), &message, now_ms).numbered(publication);
    if plain && message.qos != QoS::AtMostOnce {
        // At QoS 0 it has overtaken others, and for a shared subscription it may come from another node than where it was published.
        out.hearing.hear(publication, now_ms);
    }
    let Out { armed, spare, buffers, delivered, dropped, forwards, .. } = out;
    let mut layouts = Layouts::new(&permit, from, &message, buffers);
    let (before, mut to) = ((routed.delivered, routed.dropped), Vec::new());
    for filter in shares {
        let Some(group) = tenant.tree.read().group_of(filter) else { continue };
        let became = group.deliver(&mut layouts, &mut source, spare);
        // Its last member here has gone meanwhile.
        if became == Delivered::Closed
            && let Some((node, filter)) = group.turn()
        {
            destination(&mut to, &node).shares.push((*filter).into());
        }
        routed.count(became, armed);
    }
    *delivered += u64::from(routed.delivered - before.0);
    *dropped += u64::from(routed.dropped - before.1);
    buffers.clear();
    if !to.is_empty() {
        forwards.push(forward(&permit, from, to, &mut source));
    }
    Ok(routed)
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch};

    use super::*;
    use crate::identity::testing::with;
    use crate::remote::Remote;
    use crate::router::testing::{drain, frame, send, subscribe};
    use crate::session::testing::session_of;
    use crate::{Attached, Identity, SessionKey, Tenants, TopicCache};

    /// One node with its tenant `t` and a client, who may do everything.
    struct Node {
        tenant: Arc<Tenant>,
        identity: Identity,
        client: Attached,
        out: Out,
    }

    fn node() -> Node {
        let tenant = Tenants::new(1).get_or_create("t").unwrap();
        let key = Arc::new(SessionKey::new(tenant.clone(), "u", "c").unwrap());
        let constraints = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
        let grants = [Grant { constraints, ..Grant::allow(Actions::ALL, "#") }];
        let identity = with(&key, &grants, NoMatch::Deny, &Limits::default());
        let mut out = Out::new(TopicCache::new(8, 8));
        out.spare.changes.note_interests();
        Node { tenant, identity, client: session_of(&key, 1), out }
    }

    fn publish(node: &mut Node, first: u8, topic: &str) -> Routed {
        send(&node.identity, &node.client, &frame(Protocol::V5, first, topic, &[], b"x"), &mut node.out)
    }

    /// What the first node wants the second to have, given to that.
    fn pass(a: &mut Node, b: &mut Node) -> Vec<(bool, usize)> {
        let forwards = std::mem::take(&mut a.out.forwards);
        let mut passed = Vec::new();
        for (forward, to) in forwards.iter().flat_map(|forward| forward.to.iter().map(move |to| (forward, to))) {
            let packet = forward.message.packet(forward.first, 0);
            let sent =
                FromNode { packet: &packet, plain: to.plain, shares: &to.shares, publication: Publication::NONE };
            publish_from_node(&b.tenant, sent, &Hasher::default(), 0, &mut b.out).unwrap();
            passed.push((to.plain, to.shares.len()));
        }
        passed
    }

    /// Guards section 10: a node that has several filters of a message gets it once, its clients once a filter, nobody gets it
    /// sent back, and what nobody there wants is not sent.
    #[test]
    fn a_node_gets_a_message_once() {
        let (mut a, mut b) = (node(), node());
        let [remote, durable] = Remote::pair("b");
        for filter in ["t/#", "t/+", "other"] {
            subscribe(&b.identity, &b.client, filter, 1);
            let remote = if filter == "t/+" { &durable } else { &remote };
            a.tenant.set_interest(remote, filter, 1).unwrap();
        }
        let [back, _] = Remote::pair("a");
        b.tenant.set_interest(&back, "#", 1).unwrap();
        assert_eq!(publish(&mut a, 0x32, "t/x").delivered, 1);
        assert!(a.out.forwards[0].to[0].durable, "one of its filters is");
        assert_eq!((pass(&mut a, &mut b), b.out.forwards.len()), (vec![(true, 0)], 0));
        let mut want = frame(Protocol::V5, 0x32, "t/x", &[], b"x");
        want[8] = 1;
        let got = drain(&b.client, &mut b.out);
        assert_eq!((&got[..want.len()], got.len()), (&want[..], 2 * want.len()));
        assert_eq!((publish(&mut a, 0x30, "u").delivered, a.out.forwards.len()), (0, 0));
        a.tenant.unset_interest(&remote, "t/#");
        a.tenant.unset_interest(&durable, "t/+");
        assert_eq!((publish(&mut a, 0x30, "t/x").delivered, a.out.forwards.len()), (0, 0));
        a.tenant.unset_interest(&remote, "other");
        assert!(a.tenant.tree.read().is_empty());
    }

    /// Guards 4.8.2 over nodes: of a shared subscription with members on both, each message goes to one of them, by turns.
    #[test]
    fn one_member_of_all_nodes_gets_it() {
        let (mut a, mut b) = (node(), node());
        let [remote, _] = Remote::pair("b");
        for node in [&a, &b] {
            subscribe(&node.identity, &node.client, "$share/g/t", 0);
        }
        a.tenant.set_interest(&remote, "$share/g/t", 1).unwrap();
        for _ in 0..4 {
            assert_eq!(publish(&mut a, 0x30, "t").delivered, 1);
            pass(&mut a, &mut b);
        }
        let len = frame(Protocol::V5, 0x30, "t", &[], b"x").len();
        assert_eq!((drain(&a.client, &mut a.out).len(), drain(&b.client, &mut b.out).len()), (2 * len, 2 * len));
        a.tenant.unset_interest(&remote, "$share/g/t");
        assert_eq!((publish(&mut a, 0x30, "t").delivered, a.out.forwards.len()), (1, 0));
    }

    /// Guards 4.8.2 over nodes: when the last member of a node goes, what it had not acknowledged and what waits goes to members on
    /// another node, in order, and so does what is on its way to it; QoS 2 that it had been sent does not (MQTT-4.8.2-5). While one is
    /// left here, nothing goes; and nobody being anywhere, it is dropped.
    #[test]
    fn what_waits_goes_to_another_node() {
        let (mut a, mut b) = (node(), node());
        let [remote, _] = Remote::pair("b");
        let [back, _] = Remote::pair("a");
        let limits = crate::SessionLimits { inflight_max: 2, ..crate::SessionLimits::default() };
        let member = |node: &Node, n| {
            let home = crate::Home { worker: 0, connection: n };
            let session = Attached::alone(node.identity.key().clone(), Protocol::V5, limits, home);
            subscribe(&node.identity, &session, "$share/g/t", 2);
            session
        };
        let (first, last) = (member(&a, 2), member(&a, 3));
        crate::router::close(first.session(), 0, &mut Vec::new(), &mut a.out.spare);
        for first in [0x32, 0x34, 0x32, 0x34, 0x30] {
            assert_eq!(publish(&mut a, first, "t").delivered, 1);
        }
        drain(&last, &mut a.out);
        subscribe(&b.identity, &b.client, "$share/g/t", 2);
        a.tenant.set_interest(&remote, "$share/g/t", 1).unwrap();
        assert!(a.out.spare.changes.take_handed().is_empty(), "while one is here");
        crate::router::close(last.session(), 0, &mut Vec::new(), &mut a.out.spare);
        a.out.forwards = a.out.spare.changes.take_handed();
        assert_eq!(pass(&mut a, &mut b), [(false, 1); 4], "the one of its window, and what waited");
        let bytes = drain(&b.client, &mut b.out);
        let firsts: Vec<u8> = bytes.split(|byte| *byte == b'x').filter_map(|packet| packet.first().copied()).collect();
        assert_eq!((firsts, a.tenant.usage().queue_bytes), (vec![0x32, 0x32, 0x34, 0x30], 0));
        // On its way to a node whose last member has gone.
        b.tenant.set_interest(&back, "$share/g/t", 1).unwrap();
        let fourth = member(&a, 4);
        assert_eq!(publish(&mut b, 0x30, "t").delivered, 1);
        assert_eq!(publish(&mut b, 0x30, "t").delivered, 1);
        drain(&b.client, &mut b.out);
        crate::router::close(fourth.session(), 0, &mut Vec::new(), &mut a.out.spare);
        assert_eq!((pass(&mut b, &mut a), pass(&mut a, &mut b)), (vec![(false, 1)], vec![(false, 1)]));
        assert_eq!(drain(&b.client, &mut b.out).len(), frame(Protocol::V5, 0x30, "t", &[], b"x").len());
        // Nobody anywhere.
        let member = member(&a, 5);
        a.tenant.unset_interest(&remote, "$share/g/t");
        for _ in 0..4 {
            publish(&mut a, 0x32, "t");
        }
        crate::router::close(member.session(), 0, &mut Vec::new(), &mut a.out.spare);
        assert!(a.out.spare.changes.take_handed().is_empty() && a.tenant.tree.read().is_empty());
    }

    /// Guards promise 8: what a node sends of a tenant reaches that one; and that no node publishes below `$`, or something that is
    /// no packet.
    #[test]
    fn promise_8_nodes_do_not_cross_tenants_or_publish_below_dollar() {
        let mut b = node();
        subscribe(&b.identity, &b.client, "#", 0);
        let other = Tenants::new(2).get_or_create("other").unwrap();
        let packet = frame(Protocol::V5, 0x30, "t", &[], b"x");
        let mut give = |tenant: &Arc<Tenant>, packet: &[u8]| {
            let sent = FromNode { packet, plain: true, shares: &[], publication: Publication::NONE };
            publish_from_node(tenant, sent, &Hasher::default(), 0, &mut b.out).map(|routed| routed.delivered)
        };
        assert_eq!((give(&b.tenant, &packet), give(&other, &packet)), (Ok(1), Ok(0)));
        assert!(give(&b.tenant, &frame(Protocol::V5, 0x30, "$SYS/x", &[], b"x")).is_err());
        assert!(give(&b.tenant, b"0").is_err() && give(&b.tenant, &packet[..5]).is_err());
    }

    /// Guards the interests that a node tells the others: each subscription once, and its end; not below `$`.
    #[test]
    fn interests_are_noted() {
        let mut a = node();
        let changes = |out: &mut Out| -> Vec<(String, bool, bool)> {
            let interests = out.spare.changes.take_interests();
            interests.into_iter().map(|of| (of.filter, of.added, of.durable)).collect()
        };
        let options = gatemq_mqtt::packet::subscribe::SubscribeOptions::read(0, Protocol::V5).unwrap();
        for filter in ["t", "t", "$SYS/#", "$share/g/t"] {
            let action = crate::SubscribeAction {
                filter: gatemq_mqtt::topic::Filter::trusted(filter),
                qos: gatemq_types::QoS::AtMostOnce,
            };
            let crate::Decision::Permit(permit) = a.identity.may_subscribe(action) else { continue };
            crate::router::subscribe(&permit, &a.client, options, 0, &mut a.out);
        }
        let both = ["t", "$share/g/t"].map(|filter| (filter.to_owned(), true, false));
        assert_eq!(changes(&mut a.out), both);
        crate::router::close(a.client.session(), 0, &mut Vec::new(), &mut a.out.spare);
        let mut ended = changes(&mut a.out);
        ended.sort();
        let mut want = both.map(|(filter, ..)| (filter, false, false));
        want.sort();
        assert_eq!(ended, want);
    }
}
