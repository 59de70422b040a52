//! What a tenant may have: each bound is reached, told, never exceeded, and free again when something goes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::session::Ack;
use gatemq_broker::sessions::{Leave, Opening};
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, RetainedLimits, Retention, SessionKey,
    SessionLimits, Sessions, Share, SubscribeAction, Tenant, TenantLimit, TenantLimits, TenantUsage, Tenants,
    TopicCache, Values, Verdicts, router,
};
use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_mqtt::{PacketLimits, Publish, kind, write};
use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, Protocol, QoS, ReasonCode};

const HOME: Home = Home { worker: 0, connection: 0 };

fn tenants(limits: TenantLimits) -> [Arc<Tenant>; 2] {
    let tenants = Tenants::with_limits(2, limits);
    ["full", "other"].map(|name| tenants.get_or_create(name).unwrap())
}

fn identity(tenant: &Arc<Tenant>, client_id: &str) -> Identity {
    let key = Arc::new(SessionKey::new(tenant.clone(), "user", client_id).unwrap());
    let groups = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
    let grants =
        GrantTable::new(1).compile(&[Grant { constraints: groups, ..Grant::allow(Actions::ALL, "#") }]).unwrap();
    let limits = Limits::default();
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    Identity::new(Parts { key: &key, grants: &grants, values, no_match, limits: &limits }, &Hasher::default()).unwrap()
}

fn opening(identity: &Identity, expiry_s: u32) -> Opening<'_> {
    let limits = SessionLimits { inflight_max: 1, ..SessionLimits::default() };
    let (key, protocol) = (identity.key(), Protocol::V5);
    Opening { key, protocol, limits, home: HOME, clean_start: false, expiry_s, will: None }
}

fn subscribe(identity: &Identity, session: &Attached, filter: &str) -> (u8, Option<TenantLimit>) {
    let mut out = Out::new(TopicCache::new(0, 0));
    let action = SubscribeAction { filter: Filter::trusted(filter), qos: QoS::AtLeastOnce };
    let Decision::Permit(permit) = identity.may_subscribe(action) else { panic!("allowed") };
    let options = SubscribeOptions::read(1, Protocol::V5).unwrap();
    let subscribed = router::subscribe(&permit, session, options, 0, &mut out);
    (subscribed.code.0, subscribed.exceeded)
}

fn unsubscribe(identity: &Identity, session: &Attached, filter: &str) -> ReasonCode {
    let Decision::Permit(permit) = identity.may_unsubscribe(Filter::trusted(filter)) else { panic!("allowed") };
    router::unsubscribe(&permit, session, &mut Default::default())
}

/// Publishes at QoS 1 to topic `t`.
fn publish(identity: &Identity, from: &Attached, retain: bool, payload: &[u8], out: &mut Out) -> router::Routed {
    let mut frame = Vec::new();
    let at = write::publish(&mut frame, Protocol::V5, 0x32 | u8::from(retain), "t", &[], payload);
    frame[at + 1] = 1;
    let message = Publish::read(&frame, 2, Protocol::V5, &PacketLimits::default()).unwrap();
    let action = PublishAction::new(&message, message.topic);
    let Decision::Permit(permit) = identity.may_publish(&mut Verdicts::new(0), action, 0) else { panic!("allowed") };
    router::publish(&permit, from, &message, 0, out)
}

/// Guards the bound of connections: the next is refused with its name, another tenant's is not, and one that ends makes
/// room.
#[test]
fn connections() {
    let [full, other] = tenants(TenantLimits { connections_max: 2, ..TenantLimits::default() });
    let first = full.connect().unwrap();
    let _second = full.connect().unwrap();
    assert_eq!(full.connect().err(), Some(TenantLimit::Connections));
    assert!(other.connect().is_ok());
    assert_eq!(full.usage(), TenantUsage { connections: 2, ..TenantUsage::default() });
    drop(first);
    let _third = full.connect().unwrap();
    full.set_limits(TenantLimits { connections_max: 1, ..full.limits() });
    assert_eq!(full.connect().err(), Some(TenantLimit::Connections), "what is too much stays, and nothing comes");
    assert_eq!((full.usage().connections, TenantLimit::Connections.of(&full.limits())), (2, 1));
    assert_eq!(TenantLimit::Connections.name(), "tenant_connections_max");
}

/// In a cluster a node has a share of a bound, at least 1 of what is not 0: a tenant that is there, one that comes later, and one that
/// nobody has heard of, of which every node has as much. What has no bound is not bounded by that.
#[test]
fn shares_of_a_bound() {
    let tenants = Tenants::with_limits(9, TenantLimits { connections_max: 10, ..TenantLimits::default() });
    let there = tenants.get_or_create("there").unwrap();
    tenants.set_nodes(3);
    for name in ["there", "later"] {
        tenants.set_share(name, Share { numerator: 7, denominator: 10 });
    }
    let later = tenants.get_or_create("later").unwrap();
    let unheard_of = tenants.get_or_create("unheard of").unwrap();
    let fits = |tenant: &Arc<Tenant>| std::iter::from_fn(|| tenant.connect().ok()).collect::<Vec<_>>();
    assert_eq!([&there, &later, &unheard_of].map(|tenant| fits(tenant).len()), [7, 7, 3]);
    tenants.set_share("there", Share { numerator: 1, denominator: 1_000 });
    assert_eq!((fits(&there).len(), there.limits().connections_max), (1, 10), "the limit stays the whole");
    later.set_limits(TenantLimits { connections_max: 20, ..later.limits() });
    assert_eq!(fits(&later).len(), 14, "of another limit it has the same share");
    let unbounded = Tenants::with_limits(1, TenantLimits::default());
    unbounded.set_share("t", Share { numerator: 1, denominator: 1_000 });
    assert_eq!(
        std::iter::repeat_with(|| unbounded.get_or_create("t").unwrap().connect()).take(99).flatten().count(),
        99
    );
}

/// Guards the bound of sessions: a new one is refused, one that is there is resumed or taken over, however it ends another
/// has room.
#[test]
fn sessions_of_a_tenant() {
    let [full, other] = tenants(TenantLimits { sessions_max: 2, ..TenantLimits::default() });
    let sessions = Sessions::new(1);
    let [one, two, three] = ["1", "2", "3"].map(|id| identity(&full, id));
    let refused = |sessions: &Sessions, identity: &Identity| {
        sessions.try_open(opening(identity, 60), 0, &mut Default::default()).err()
    };
    let first = sessions.try_open(opening(&one, 60), 0, &mut Default::default()).unwrap().session;
    let second = sessions.try_open(opening(&two, 60), 0, &mut Default::default()).unwrap().session;
    assert_eq!(refused(&sessions, &three), Some(TenantLimit::Sessions));
    assert_eq!((sessions.len(), full.usage().sessions), (2, 2));
    assert!(sessions.try_open(opening(&identity(&other, "1"), 0), 0, &mut Default::default()).is_ok());
    for clean_start in [false, true] {
        let opened =
            sessions.try_open(Opening { clean_start, ..opening(&one, 60) }, 0, &mut Default::default()).unwrap();
        assert_eq!((opened.resumed, full.usage().sessions), (!clean_start, 2));
    }
    assert!(!sessions.leave(&first, Leave::default(), 0, &mut Default::default()).ended, "it was taken over");
    assert!(sessions.leave(&second, Leave::default(), 0, &mut Default::default()).stays);
    assert_eq!(refused(&sessions, &three), Some(TenantLimit::Sessions), "one that is away counts");
    assert_eq!(sessions.sweep(60_000, 10, &mut Default::default()).expired.len(), 1);
    let third = sessions.try_open(opening(&three, 60), 0, &mut Default::default()).unwrap().session;
    assert_eq!(refused(&sessions, &two), Some(TenantLimit::Sessions));
    assert!(sessions.leave(&third, Leave { end: true, ..Leave::default() }, 0, &mut Default::default()).ended);
    assert_eq!(full.usage().sessions, 1);
    // More away than the node allows: the one that is evicted makes room too.
    let second = sessions.try_open(opening(&two, 60), 0, &mut Default::default()).unwrap().session;
    assert!(sessions.leave(&second, Leave::default(), 0, &mut Default::default()).stays);
    let first = sessions.open(opening(&one, 70), 0, &mut Default::default()).session;
    assert!(sessions.leave(&first, Leave::default(), 0, &mut Default::default()).evicted.is_some());
    assert_eq!(full.usage().sessions, 1);
}

/// Guards the bound of subscriptions over all sessions of a tenant, shared ones too: 0x97 with its name; a replacement is
/// not one more; unsubscribing and ending make room.
#[test]
fn subscriptions() {
    let [full, other] = tenants(TenantLimits { subscriptions_max: 3, ..TenantLimits::default() });
    let sessions = Sessions::default();
    let [one, two, elsewhere] = [identity(&full, "1"), identity(&full, "2"), identity(&other, "1")];
    let [first, second, third] =
        [&one, &two, &elsewhere].map(|i| sessions.open(opening(i, 0), 0, &mut Default::default()).session);
    let refused = (0x97, Some(TenantLimit::Subscriptions));
    for filter in ["a", "a", "$share/g/a", "$share/g/a"] {
        assert_eq!(subscribe(&one, &first, filter), (1, None));
    }
    assert_eq!(subscribe(&two, &second, "b"), (1, None));
    assert_eq!((subscribe(&two, &second, "c"), subscribe(&one, &first, "$share/g/b")), (refused, refused));
    assert_eq!(subscribe(&elsewhere, &third, "c"), (1, None));
    assert_eq!(subscribe(&one, &first, "a"), (1, None), "replaced");
    assert_eq!((full.usage().subscriptions, first.subscriptions(), second.subscriptions()), (3, 2, 1));
    assert_eq!(unsubscribe(&one, &first, "$share/g/a"), ReasonCode::SUCCESS);
    assert_eq!(unsubscribe(&one, &first, "$share/g/a"), ReasonCode::NO_SUBSCRIPTION_EXISTED);
    assert_eq!((subscribe(&two, &second, "c"), subscribe(&two, &second, "d")), ((1, None), refused));
    assert!(sessions.leave(&second, Leave::default(), 0, &mut Default::default()).ended);
    assert_eq!(full.usage().subscriptions, 1);
    assert_eq!(subscribe(&one, &first, "d"), (1, None));
}

/// Guards the bound of bytes that wait, over sessions and shared subscriptions: what is too much is dropped with its name,
/// and room comes back however they go.
#[test]
fn queue_bytes() {
    let [full, other] = tenants(TenantLimits { queue_bytes_max: 5, ..TenantLimits::default() });
    let (sessions, mut out) = (Sessions::default(), Out::new(TopicCache::new(8, 8)));
    let [one, two, elsewhere] = [identity(&full, "1"), identity(&full, "2"), identity(&other, "1")];
    let [first, second, third] =
        [&one, &two, &elsewhere].map(|i| sessions.open(opening(i, 60), 0, &mut Default::default()).session);
    subscribe(&one, &first, "t");
    subscribe(&two, &second, "$share/g/t");
    subscribe(&elsewhere, &third, "t");
    let routed = |identity: &Identity, out: &mut Out| {
        let routed = publish(identity, &first, false, b"x", out);
        (routed.delivered, routed.dropped, routed.exceeded)
    };
    assert_eq!(routed(&one, &mut out), (2, 0, None), "in flight");
    assert_eq!(routed(&one, &mut out), (2, 0, None), "two bytes wait in each");
    assert_eq!(routed(&one, &mut out), (0, 2, Some(TenantLimit::QueueBytes)));
    assert_eq!((full.usage().queue_bytes, first.dropped()), (4, 1));
    for _ in 0..2 {
        assert_eq!(routed(&elsewhere, &mut out), (1, 0, None));
    }
    let ack = Ack { kind: kind::PUBACK, packet_id: 1, reason: ReasonCode::SUCCESS };
    first.settle(&[ack], 0, &mut Vec::new(), &mut out.spare);
    assert_eq!(full.usage().queue_bytes, 2, "it was sent");
    assert_eq!(routed(&one, &mut out).2, Some(TenantLimit::QueueBytes), "for one of them");
    assert_eq!(full.usage().queue_bytes, 4);
    assert!(sessions.leave(&second, Leave { end: true, ..Leave::default() }, 0, &mut Default::default()).ended);
    assert_eq!(full.usage().queue_bytes, 2, "nobody is left who shares");
    assert!(sessions.leave(&first, Leave::default(), 0, &mut Default::default()).stays);
    assert_eq!(full.usage().queue_bytes, 2, "it is away");
    assert_eq!(sessions.sweep(60_000, 10, &mut Default::default()).expired.len(), 1);
    assert_eq!(full.usage(), TenantUsage::default());
}

/// Guards that a refusal to retain names the bound.
#[test]
fn retained() {
    for (messages_max, bytes_max, exceeded) in
        [(0, 100, TenantLimit::RetainedMessages), (1, 2, TenantLimit::RetainedBytes)]
    {
        let retained = RetainedLimits { messages_max, bytes_max };
        let [full, _] = tenants(TenantLimits { retained, ..TenantLimits::default() });
        let one = identity(&full, "1");
        let from = Attached::alone(one.key().clone(), Protocol::V5, SessionLimits::default(), HOME);
        let mut out = Out::new(TopicCache::new(8, 8));
        let routed = publish(&one, &from, true, b"xx", &mut out);
        assert_eq!((routed.retention, routed.exceeded), (Retention::Refused, Some(exceeded)));
        full.set_limits(TenantLimits::default());
        let routed = publish(&one, &from, true, b"xx", &mut out);
        assert_eq!((routed.retention, routed.exceeded), (Retention::Stored, None));
        assert_eq!((full.usage().retained_messages, full.usage().retained_bytes), (1, 3));
    }
}
