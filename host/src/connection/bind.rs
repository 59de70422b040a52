//! What a provider said of a client becomes what it is here: identity, limits, and what the CONNACK says of them.

use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Attached, GrantTable, Hasher, Identity, SessionKey, SessionLimits, Tenant, TenantConnection, Tenants, Values,
    Verdicts,
};
use gatemq_mqtt::PacketLimits;
use gatemq_mqtt::codec::properties::Words;
use gatemq_mqtt::connection::{ExpectDecision, TopicAliases};
use gatemq_mqtt::keepalive;
use gatemq_mqtt::packet::connack::ConnAck;
use gatemq_plugin_loader::{Plugin, Session as AskedSession};
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{Connect, Effect, Expiry, Identity as Given, Limits, NoMatch, Protocol, QoS, ReasonCode};

use super::admit::Stranger;
use super::authenticate::{Refusal, Wants, is_sendable};
use super::client::{Client, VERDICTS_MAX};
use super::rate::Rate;
use super::refresh::{Refresh, refresh_at_ms};
use crate::config::RatePolicy;
use crate::denials::Known;
use crate::exclusive::Place;
use crate::listen::tls::certificate;
use crate::node::Node;
use crate::worker::Worker;

/// What only the CONNACK, its event and the session's beginning need.
pub(super) struct Greeting {
    pub(super) session_limits: SessionLimits,
    /// How long the session outlives the connection: what the client asked for, lowered to what it may have.
    pub(super) expiry_s: u32,
    qos_max: QoS,
    retain: bool,
    wildcards: bool,
    shared: bool,
    keep_alive_s: u16,
    properties: Vec<gatemq_types::UserProperty>,
    response_info: Option<String>,
    auth_data: Vec<u8>,
    plugin: String,
    /// What its identity has it take, when it is admitted.
    pub(super) place: Option<Place>,
}

/// What an identity gives a client: replaced when it authenticates again.
pub(super) struct Granted {
    pub(super) identity: Identity,
    pub(super) limits: Limits,
    /// Who answers its questions, where its grants ask any or are asked for again.
    pub(super) asked: Option<(Arc<Plugin>, Arc<AskedSession>)>,
    pub(super) valid_until_ms: u64,
    /// When its grants are to be asked for again; 0: not by time.
    pub(super) refresh_at_ms: u64,
    /// Of what its connection is to be the only one.
    pub(super) place: Option<Place>,
}

/// What CONNACK says may be used; a client that keeps to it has broken no rule, whatever its identity is later.
#[derive(Clone, Copy)]
pub(super) struct Announced {
    pub(super) qos_max: QoS,
    pub(super) retain: bool,
    pub(super) receive_max: u16,
}

impl Announced {
    fn of(limits: &Limits, receive_max: u16) -> Self {
        let qos_max = QoS::from_bits(limits.qos_max.unwrap_or(2).min(2) as u8).unwrap_or_default();
        Announced { qos_max, retain: limits.retain_allowed != Some(0), receive_max }
    }
}

/// The identity's limits, lowered to the broker's; what is not offered is not allowed.
fn lowered(given: &Limits, ours: &crate::config::Limits) -> Limits {
    let lower = |theirs: Option<u64>, ours: u64| Some(theirs.map_or(ours, |t| t.min(ours)));
    // 0 in a key that may be 0 is no limit.
    let either = |theirs: Option<u64>, ours: u64| [theirs, Some(ours).filter(|n| *n > 0)].into_iter().flatten().min();
    Limits {
        messages_per_s_max: either(given.messages_per_s_max, ours.messages_per_s_max),
        bytes_per_s_max: either(given.bytes_per_s_max, ours.bytes_per_s_max),
        rate_wait_allowed: lower(given.rate_wait_allowed, (ours.rate_policy == RatePolicy::Wait).into()),
        inflight_max: lower(given.inflight_max.map(|n| n.max(1)), ours.inflight_max.into()),
        topic_bytes_max: lower(given.topic_bytes_max, ours.topic_bytes_max.into()),
        filters_per_packet_max: lower(given.filters_per_packet_max, ours.filters_per_packet_max.into()),
        user_properties_max: lower(given.user_properties_max, ours.user_properties_max.into()),
        user_properties_bytes_max: lower(given.user_properties_bytes_max, ours.user_properties_bytes_max.into()),
        stalled_ms_max: lower(given.stalled_ms_max, ours.stalled_ms_max.into()),
        receive_max: lower(given.receive_max.map(|n| n.max(1)), ours.receive_max.into()),
        packet_bytes_max: lower(given.packet_bytes_max.map(|n| n.max(1)), ours.packet_bytes_max.into()),
        queue_messages_max: lower(given.queue_messages_max, ours.queue_messages_max.into()),
        queue_bytes_max: lower(given.queue_bytes_max, ours.queue_bytes_max),
        subscriptions_max: lower(given.subscriptions_max, ours.subscriptions_max.into()),
        topic_levels_max: lower(given.topic_levels_max, ours.topic_levels_max.into()),
        topic_alias_max: lower(given.topic_alias_max, ours.topic_alias_max.into()),
        session_expiry_s_max: lower(given.session_expiry_s_max, ours.session_expiry_s_max.into()),
        keep_alive_s_max: either(given.keep_alive_s_max, ours.keep_alive_s_max.into()),
        ..*given
    }
}

pub(super) fn as_u32(limit: Option<u64>) -> u32 {
    limit.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
}

pub(super) fn as_u16(limit: Option<u64>) -> u16 {
    limit.map_or(u16::MAX, |n| u16::try_from(n).unwrap_or(u16::MAX))
}

/// The keep alive in force (MQTT-3.2.2-21, -22). MQTT 3 has no way to tell a client of a shorter one: held to that, a
/// client that does everything right would be disconnected again and again, so its own holds.
fn keep_alive_s(connect: &Connect, limits: &Limits) -> u16 {
    match (connect.protocol, limits.keep_alive_s_max, connect.keep_alive_s) {
        (Protocol::V5, Some(max), 0) => as_u16(Some(max)).max(1),
        (Protocol::V5, max, wanted) => wanted.min(as_u16(max).max(1)),
        (_, _, wanted) => wanted,
    }
}

fn session_limits(connect: &Connect, limits: &Limits, topic_alias_max: u16) -> SessionLimits {
    SessionLimits {
        inflight_max: connect.receive_max.min(as_u16(limits.inflight_max)),
        receive_max: as_u16(limits.receive_max),
        packet_bytes_max: connect.packet_bytes_max,
        queue_messages_max: as_u32(limits.queue_messages_max),
        queue_bytes_max: as_u32(limits.queue_bytes_max),
        topic_alias_max,
    }
}

/// Rules and values, for the session key that a provider's answer leads to.
fn identity(
    grants: &GrantTable,
    hasher: &Hasher,
    connect: &Connect,
    given: &Given,
    key: &Arc<SessionKey>,
    limits: &Limits,
) -> Result<Identity, String> {
    let grants = grants.compile(&given.grants).map_err(|e| e.to_string())?;
    let names = connect.tls.as_ref().and_then(|t| t.verified_leaf()).map(certificate::names).unwrap_or_default();
    let cert_cn: Vec<String> = names.cert_cn.into_iter().collect();
    let parts = Parts {
        key,
        grants: &grants,
        values: Values { cert_cn: &cert_cn, cert_san_dns: &names.cert_san_dns, attributes: &given.attributes },
        no_match: given.no_match,
        limits,
    };
    let leaf = connect.tls.as_ref().filter(|tls| tls.verified).and_then(|tls| tls.leaf_sha256);
    let identity = Identity::new(parts, hasher).map_err(|e| e.to_string())?;
    Ok(identity.marked(&given.tags, leaf))
}

/// Gives a connection its place in its tenant.
fn count(node: &Node, stranger: &Stranger, tenant: &Tenant, now_ms: u64) -> Result<TenantConnection, Refusal> {
    tenant.connect().map_err(|limit| {
        let peer = Peer { tenant: tenant.name().into(), ..stranger.peer.clone() };
        node.tell_exceeded(&Arc::new(peer), tenant, limit, now_ms);
        Refusal::new("identity", ReasonCode::QUOTA_EXCEEDED, limit.to_string())
    })
}

/// What of the limits holds for each packet.
pub(super) fn packets(node: &Node, limits: &Limits) -> PacketLimits {
    PacketLimits {
        packet_bytes_max: as_u32(limits.packet_bytes_max),
        user_properties_bytes_max: as_u32(limits.user_properties_bytes_max),
        user_properties_max: as_u16(limits.user_properties_max),
        topic_levels_max: as_u16(limits.topic_levels_max),
        topic_bytes_max: as_u16(limits.topic_bytes_max),
        filters_per_packet_max: as_u16(limits.filters_per_packet_max),
        topic_alias_max: as_u16(limits.topic_alias_max),
        ..node.limits.of_packets()
    }
}

/// What can be known to be wrong with an identity before anything is made of it.
fn check(given: &Given, now_ms: u64) -> Result<(), String> {
    if given.valid_until_ms != 0 && given.valid_until_ms <= now_ms {
        return Err("its time is over".into());
    }
    Ok(())
}

/// What a provider said is made usable for the session of `key`, whose client identifier `given` has.
///
/// # Errors
/// Why the identity cannot be used.
pub(super) fn grant(
    node: &Node,
    connect: &Connect,
    given: &Given,
    key: &Arc<SessionKey>,
    provider: Option<&Arc<Plugin>>,
    now_ms: u64,
) -> Result<Granted, String> {
    check(given, now_ms)?;
    let place = Place::of(given.exclusive, key, connect)?;
    let limits = lowered(&given.limits, &node.limits);
    let identity = identity(&node.grants, &node.hasher, connect, given, key, &limits)?;
    let asks = given.no_match == NoMatch::Ask || given.grants.iter().any(|g| g.effect == Effect::Ask);
    let is_refreshed = given.on_expiry == Expiry::Refresh;
    let asked = provider.filter(|_| asks || is_refreshed).map(|p| (p.clone(), AskedSession::new(connect, given)));
    let valid_until_ms = given.valid_until_ms;
    let refresh_at_ms = match is_refreshed && valid_until_ms != 0 {
        true => refresh_at_ms(valid_until_ms, now_ms),
        false => 0,
    };
    Ok(Granted { identity, limits, asked, valid_until_ms, refresh_at_ms, place })
}

/// The identity of a client where no broker runs: what can be wrong with a provider's answer, and what its grants say. Limits are as the
/// provider gives them.
///
/// # Errors
/// Why the identity cannot be used.
pub(crate) fn bound_alone(connect: &Connect, given: &Given) -> Result<Identity, String> {
    check(given, crate::clock::now_ms())?;
    let tenant = Tenants::new(1).get_or_create(&given.tenant).map_err(|e| e.to_string())?;
    let client_id = given.client_id.as_deref().unwrap_or(&connect.client_id);
    let key = Arc::new(SessionKey::new(tenant, &given.user, client_id).map_err(|e| e.to_string())?);
    Place::of(given.exclusive, &key, connect)?;
    identity(&GrantTable::new(1), &Hasher::default(), connect, given, &key, &given.limits)
}

/// What the client is told of what it is given.
fn greeting(
    connect: &Connect,
    wants: Wants,
    mut given: Given,
    limits: &Limits,
    session_limits: SessionLimits,
    announced: Announced,
    plugin: &str,
) -> Greeting {
    given.connack_properties.retain(|(name, value)| is_sendable(name) && is_sendable(value));
    Greeting {
        session_limits,
        qos_max: announced.qos_max,
        expiry_s: connect.session_expiry_s.min(as_u32(limits.session_expiry_s_max)),
        retain: announced.retain,
        shared: limits.shared_subscriptions_allowed != Some(0),
        wildcards: limits.wildcard_subscriptions_allowed != Some(0),
        keep_alive_s: keep_alive_s(connect, limits),
        properties: given.connack_properties,
        response_info: given.response_info.filter(|info| wants.response_info && is_sendable(info)),
        auth_data: given.auth_data,
        plugin: plugin.to_owned(),
        place: None,
    }
}

/// Binds what a provider said to this connection; `connect` has no secrets any more.
pub(super) fn bind(
    worker: &Worker,
    stranger: &Stranger,
    connect: &Connect,
    wants: Wants,
    mut given: Given,
    provider: Option<&Arc<Plugin>>,
    next: ExpectDecision,
) -> Result<(Client, Greeting), Refusal> {
    let (node, now_ms) = (&worker.node, worker.now_ms.get());
    let plugin = provider.map_or("", |p| p.name());
    let refused = |reason: String| Refusal::by(plugin, "identity", ReasonCode::NOT_AUTHORIZED, reason);
    check(&given, now_ms).map_err(refused)?;
    let tenant = node.tenants.get_or_create(&given.tenant).map_err(|e| refused(e.to_string()))?;
    let counted = count(node, stranger, &tenant, now_ms)?;
    let client_id = given.client_id.get_or_insert_with(|| connect.client_id.clone()).clone();
    let share = worker.shares.of(&tenant);
    let key = Arc::new(SessionKey::new(tenant, &given.user, &client_id).map_err(|e| refused(e.to_string()))?);
    let granted = grant(node, connect, &given, &key, provider, now_ms).map_err(refused)?;
    let refresh = Refresh::of(&granted, || Arc::new(connect.clone()));
    let Granted { identity, limits, asked, valid_until_ms, place, .. } = granted;
    let session_limits = session_limits(connect, &limits, stranger.topic_alias_max);
    // Nobody knows of it yet: before the client is told it gets the one of its key.
    let session = Attached::alone(key.clone(), connect.protocol, session_limits, stranger.home);
    let peer = Peer {
        tenant: given.tenant.as_str().into(),
        user: key.user().into(),
        client_id: client_id.as_str().into(),
        ..stranger.peer.clone()
    };
    let announced = Announced::of(&limits, session_limits.receive_max);
    let greeting = greeting(connect, wants, given, &limits, session_limits, announced, plugin);
    let client = Client {
        peer: Arc::new(peer),
        state: next.accept(packets(node, &limits)),
        identity,
        session,
        verdicts: Verdicts::new(VERDICTS_MAX),
        asked,
        provider: provider.map_or_else(|| "".into(), |p| p.shared_name().clone()),
        answer: None,
        so_far: None,
        rate: Rate::new(&limits, now_ms),
        rate_waits: limits.rate_wait_allowed != Some(0),
        acknowledges_denied: false,
        stalled_ms_max: as_u32(limits.stalled_ms_max),
        share,
        subscriptions_told_ms: 0,
        packet_bytes_max: connect.packet_bytes_max,
        problem_info: wants.problem_info,
        announced,
        silence_ms_max: keepalive::silence_ms_max(greeting.keep_alive_s),
        valid_until_ms,
        expiry_s_max: as_u32(limits.session_expiry_s_max),
        leave_expiry_s: None,
        again: None,
        refresh,
        revoked_before: 0,
        last_words: None,
        connected_ms: now_ms,
        packets_received: 1,
        messages_published: 0,
        aliases: TopicAliases::default(),
        _counted: counted,
        held: None,
        known: Known::of(stranger.proven.clone(), None),
    };
    Ok((client, Greeting { place, ..greeting }))
}

/// Appends the CONNACK of a client that is admitted; false, and nothing: it is larger than the client takes.
pub(super) fn write_connack(
    out: &mut Vec<u8>,
    client: &Client,
    greeting: &Greeting,
    connect: &Connect,
    session_present: bool,
) -> bool {
    let client_id = client.session.key().client_id();
    let limits = client.state.limits();
    let mut ack = ConnAck::new(ReasonCode::SUCCESS);
    ack.receive_max = Some(greeting.session_limits.receive_max).filter(|n| *n < u16::MAX);
    ack.packet_bytes_max = Some(limits.packet_bytes_max);
    ack.qos_max = greeting.qos_max;
    ack.assigned_client_id = (client_id != connect.client_id || connect.client_id_assigned).then_some(client_id);
    ack.session_present = session_present;
    ack.session_expiry_s = (connect.session_expiry_s != greeting.expiry_s).then_some(greeting.expiry_s);
    ack.retain_available = greeting.retain;
    ack.shared_available = greeting.shared;
    ack.topic_alias_max = limits.topic_alias_max;
    ack.wildcard_available = greeting.wildcards;
    let replaced = greeting.keep_alive_s != connect.keep_alive_s;
    ack.server_keep_alive_s = replaced.then_some(greeting.keep_alive_s);
    ack.response_info = greeting.response_info.as_deref();
    ack.auth_method = connect.auth_method.as_deref();
    ack.auth_data = ack.auth_method.and(Some(&greeting.auth_data[..])).filter(|data| !data.is_empty());
    ack.words = Words { reason_string: None, user: &greeting.properties };
    ack.write(out, connect.protocol, connect.packet_bytes_max)
}

/// The client is admitted.
pub(super) fn tell_connected(worker: &Worker, client: &Client, greeting: &Greeting, connect: &Connect) {
    let tls = connect.tls.as_ref();
    let fact = Fact::ClientConnected {
        plugin: greeting.plugin.clone().into(),
        keep_alive_s: greeting.keep_alive_s.into(),
        clean_start: connect.clean_start,
        chain: tls.map_or_else(Vec::new, |t| t.chain.clone()),
        anchor: tls.and_then(|t| t.anchor.as_ref()).map_or_else(String::new, |a| a.subject.clone()).into(),
    };
    worker.node.events.emit(Some(&client.peer), fact);
}
