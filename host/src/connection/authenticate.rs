//! CONNECT to a client: what is not offered is refused, the providers are asked, their answer is bound to a session.

use std::rc::Rc;
use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::sessions::Opening;
use gatemq_broker::{Attached, Home, Identity, SessionKey, SessionLimits, Values, Verdicts};
use gatemq_mqtt::codec::properties::Words;
use gatemq_mqtt::connection::ExpectDecision;
use gatemq_mqtt::keepalive;
use gatemq_mqtt::packet::connack::ConnAck;
use gatemq_mqtt::packet::connect::Connect as Packet;
use gatemq_plugin_loader::{Instance, Session as AskedSession};
use gatemq_types::event::Fact;
use gatemq_types::{Connect, Effect, Identity as Given, Limits, NoMatch, Protocol, QoS, ReasonCode};

use super::admit::{Stranger, delay, packet_limits};
use super::client::{Client, VERDICTS_MAX};
use super::rate::Rate;
use super::stream::Stream;
use crate::listen::Listener;
use crate::listen::tls::certificate;
use crate::plugins::{Admission, failure_event};
use crate::worker::Worker;

/// What only the CONNACK and its event say.
struct Greeting {
    session_limits: SessionLimits,
    qos_max: QoS,
    wildcards: bool,
    properties: Vec<gatemq_types::UserProperty>,
    plugin: String,
}

/// Why a client is not admitted.
struct Refusal {
    stage: &'static str,
    code: ReasonCode,
    reason: String,
    plugin: String,
}

impl Refusal {
    fn new(stage: &'static str, code: ReasonCode, reason: impl Into<String>) -> Self {
        Refusal { stage, code, reason: reason.into(), plugin: String::new() }
    }

    fn stopping() -> Self {
        Refusal::new("connect", ReasonCode::SERVER_UNAVAILABLE, "the broker stops")
    }

    fn identity(plugin: &str, reason: impl ToString) -> Self {
        let code = ReasonCode::NOT_AUTHORIZED;
        Refusal { stage: "identity", code, reason: reason.to_string(), plugin: plugin.to_owned() }
    }
}

/// Decides on a CONNECT. `None`: the client was refused and told, or has gone.
pub(super) async fn authenticate(
    worker: &Rc<Worker>,
    listener: &Listener,
    mut stranger: Stranger,
    packet: Packet,
    next: ExpectDecision,
) -> Option<(Stream, Client, Vec<u8>)> {
    let (protocol, bytes_max) = (packet.protocol, packet.packet_bytes_max);
    let keep_alive_s = packet.keep_alive_s;
    let connect = connect(&mut stranger, listener, packet);
    let admitted = match not_offered(&connect) {
        Some(refusal) => Err(refusal),
        None => match ask(worker, listener, &mut stranger, &connect).await? {
            Ok((given, provider)) => bind(worker, &stranger, &connect, *given, provider, next),
            Err(refusal) => Err(refusal),
        },
    };
    let (mut client, greeting) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            refuse(worker, stranger, &connect, refusal, bytes_max);
            return None;
        }
    };
    if worker.is_stopping() {
        refuse(worker, stranger, &connect, Refusal::stopping(), bytes_max);
        return None;
    }
    let mut answer = Vec::new();
    if !write_connack(&mut answer, &client, &greeting, &connect, protocol) {
        let reason = "its Maximum Packet Size leaves no room for a CONNACK";
        let refusal = Refusal::new("connect", ReasonCode::PACKET_TOO_LARGE, reason);
        refuse(worker, stranger, &connect, refusal, bytes_max);
        return None;
    }
    // Not before it is sure that the client is told: it may take over a session.
    open(worker, &mut client, &greeting, &connect, stranger.home);
    client.silence_ms_max = keepalive::silence_ms_max(keep_alive_s);
    tell_connected(worker, &client, &greeting, &connect);
    match stranger.write(worker, &answer).await {
        Ok(()) => {
            stranger.stream.admit(client.state.limits().packet_bytes_max);
            let rest = stranger.bytes.take();
            Some((stranger.stream, client, rest))
        }
        Err(ending) => {
            client.close(&worker.node, ending, worker.now_ms.get(), 0);
            None
        }
    }
}

/// What the providers are told.
fn connect(stranger: &mut Stranger, listener: &Listener, packet: Packet) -> Connect {
    let client_id_assigned = packet.client_id.is_empty();
    let client_id = if client_id_assigned { assigned_client_id() } else { packet.client_id };
    stranger.peer.client_id = client_id.as_str().into();
    let will = packet.will.as_ref().map(|will| gatemq_types::Will {
        topic: will.topic.clone(),
        qos: will.qos,
        retain: will.retain,
        payload_bytes: u32::try_from(will.payload.len()).unwrap_or(u32::MAX),
        delay_s: will.delay_s,
        user_properties: will.user_properties(),
    });
    Connect {
        connection: stranger.peer.connection,
        listener: listener.name.to_string(),
        transport: listener.transport,
        local: stranger.local,
        remote: stranger.peer.remote,
        proxied_by: stranger.proxied_by,
        tls: stranger.tls.take(),
        protocol: packet.protocol,
        client_id,
        client_id_assigned,
        user_name: packet.user_name,
        password: packet.password,
        clean_start: packet.clean_start,
        keep_alive_s: packet.keep_alive_s,
        session_expiry_s: packet.session_expiry_s,
        receive_max: packet.receive_max,
        packet_bytes_max: packet.packet_bytes_max,
        user_properties: packet.user_properties,
        auth_method: packet.auth_method,
        auth_data: packet.auth_data,
        will,
        failures: 0,
        deadline_ms: 0,
    }
}

/// 128 random bits: nobody can guess another's.
fn assigned_client_id() -> String {
    let mut bytes = [0u8; 16];
    // Fails only where the system has no randomness, and TLS would not work either; then the id is merely taken over.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().fold("auto-".to_owned(), |id, b| id + &format!("{b:02x}"))
}

/// What this broker does not do yet is refused, never silently left out.
fn not_offered(connect: &Connect) -> Option<Refusal> {
    if connect.auth_method.is_some() {
        let code = ReasonCode::BAD_AUTHENTICATION_METHOD;
        return Some(Refusal::new("connect", code, "enhanced authentication is not offered"));
    }
    if connect.will.is_some() {
        let code = ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR;
        return Some(Refusal::new("connect", code, "wills are not offered"));
    }
    None
}

type Accepted = (Box<Given>, Option<Arc<Instance>>);

/// Asks the providers while it watches whether the client is still there; `None`: it has gone, and the call is cancelled,
/// as it is when the node stops meanwhile.
async fn ask(
    worker: &Worker,
    listener: &Listener,
    stranger: &mut Stranger,
    connect: &Connect,
) -> Option<Result<Accepted, Refusal>> {
    let mut asking = std::pin::pin!(listener.auth.authenticate(connect));
    let admission = loop {
        let more = stranger.may_read();
        tokio::select! {
            biased;
            admission = &mut asking => break admission,
            () = worker.stops() => return Some(Err(Refusal::stopping())),
            read = stranger.read(worker), if more => if let Err(ending) = read {
                let peer = Arc::new(stranger.peer.clone());
                let fact = Fact::ConnectionClosed { reason: ending.reason.name().into() };
                worker.node.events.emit(Some(&peer), fact);
                return None;
            },
        }
    };
    Some(match admission {
        Admission::Accepted { identity, provider } => Ok((identity, provider)),
        Admission::Refused { code, reason, plugin, delay: wanted } => {
            delay(worker, wanted, listener).await;
            Err(Refusal { stage: "authenticate", code, reason, plugin })
        }
        Admission::Failed { plugin, failure } => {
            worker.node.events.emit(None, failure_event(&plugin, "authenticate", &failure));
            let code = match failure {
                gatemq_plugin_loader::CallFailure::Busy { .. } => ReasonCode::SERVER_BUSY,
                _ => ReasonCode::SERVER_UNAVAILABLE,
            };
            Err(Refusal { stage: "authenticate", code, reason: failure.to_string(), plugin })
        }
    })
}

/// The identity's limits, lowered to the broker's; what is not offered is not allowed.
fn lowered(given: &Limits, ours: &crate::config::Limits) -> Limits {
    let lower = |theirs: Option<u64>, ours: u64| Some(theirs.map_or(ours, |t| t.min(ours)));
    Limits {
        receive_max: lower(given.receive_max.map(|n| n.max(1)), ours.receive_max.into()),
        packet_bytes_max: lower(given.packet_bytes_max.map(|n| n.max(1)), ours.packet_bytes_max.into()),
        queue_messages_max: lower(given.queue_messages_max, ours.queue_messages_max.into()),
        queue_bytes_max: lower(given.queue_bytes_max, ours.queue_bytes_max),
        subscriptions_max: lower(given.subscriptions_max, ours.subscriptions_max.into()),
        topic_levels_max: lower(given.topic_levels_max, ours.topic_levels_max.into()),
        retain_allowed: Some(0),
        shared_subscriptions_allowed: Some(0),
        ..*given
    }
}

fn as_u32(limit: Option<u64>) -> u32 {
    limit.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn as_u16(limit: Option<u64>) -> u16 {
    limit.map_or(u16::MAX, |n| u16::try_from(n).unwrap_or(u16::MAX))
}

fn session_limits(worker: &Worker, connect: &Connect, limits: &Limits) -> SessionLimits {
    SessionLimits {
        inflight_max: connect.receive_max.min(worker.node.limits.inflight_max),
        receive_max: as_u16(limits.receive_max),
        packet_bytes_max: connect.packet_bytes_max,
        queue_messages_max: as_u32(limits.queue_messages_max),
        queue_bytes_max: as_u32(limits.queue_bytes_max),
    }
}

/// Binds what a provider said to this connection.
fn bind(
    worker: &Worker,
    stranger: &Stranger,
    connect: &Connect,
    mut given: Given,
    provider: Option<Arc<Instance>>,
    next: ExpectDecision,
) -> Result<(Client, Greeting), Refusal> {
    let node = &worker.node;
    let plugin = provider.as_ref().map_or("", |p| p.name());
    if given.valid_until_ms != 0 && given.valid_until_ms <= worker.now_ms.get() {
        return Err(Refusal::identity(plugin, "its time is over"));
    }
    if given.exclusive {
        return Err(Refusal::identity(plugin, "exclusive identities are not offered"));
    }
    let tenant = node.tenants.get_or_create(&given.tenant).map_err(|e| Refusal::identity(plugin, e))?;
    let client_id = given.client_id.clone().unwrap_or_else(|| connect.client_id.clone());
    let key = Arc::new(SessionKey::new(tenant, &given.user, &client_id).map_err(|e| Refusal::identity(plugin, e))?);
    let grants = node.grants.compile(&given.grants).map_err(|e| Refusal::identity(plugin, e))?;
    let names = connect.tls.as_ref().and_then(|t| t.verified_leaf()).map(certificate::names).unwrap_or_default();
    let limits = lowered(&given.limits, &node.limits);
    let cert_cn: Vec<String> = names.cert_cn.into_iter().collect();
    let parts = Parts {
        key: &key,
        grants: &grants,
        values: Values { cert_cn: &cert_cn, cert_san_dns: &names.cert_san_dns, attributes: &given.attributes },
        no_match: given.no_match,
        limits: &limits,
    };
    let identity = Identity::new(parts, &node.hasher).map_err(|e| Refusal::identity(plugin, e))?;
    let session_limits = session_limits(worker, connect, &limits);
    // Nobody knows of it before the client is told: then it gets the one of its key.
    let session = Attached::alone(key.clone(), connect.protocol, session_limits, stranger.home);
    let mut packets = packet_limits(&node.limits);
    packets.packet_bytes_max = as_u32(limits.packet_bytes_max);
    packets.topic_levels_max = as_u16(limits.topic_levels_max);
    let mut peer = stranger.peer.clone();
    (peer.tenant, peer.user, peer.client_id) =
        (given.tenant.as_str().into(), key.user().into(), client_id.as_str().into());
    let asks = given.no_match == NoMatch::Ask || given.grants.iter().any(|g| g.effect == Effect::Ask);
    given.client_id = Some(client_id);
    let now_ms = worker.now_ms.get();
    let greeting = Greeting {
        session_limits,
        qos_max: QoS::from_bits(limits.qos_max.unwrap_or(2).min(2) as u8).unwrap_or_default(),
        wildcards: limits.wildcard_subscriptions_allowed != Some(0),
        properties: std::mem::take(&mut given.connack_properties),
        plugin: plugin.to_owned(),
    };
    let client = Client {
        peer: Arc::new(peer),
        state: next.accept(packets),
        identity,
        session,
        verdicts: Verdicts::new(VERDICTS_MAX),
        asked: provider.filter(|_| asks).map(|p| (p, AskedSession::new(connect, &given))),
        answer: None,
        codes_so_far: Vec::new(),
        rate: Rate::new(limits.messages_per_s_max, limits.bytes_per_s_max, now_ms),
        packet_bytes_max: connect.packet_bytes_max,
        silence_ms_max: None,
        valid_until_ms: given.valid_until_ms,
        connected_ms: now_ms,
        packets_received: 1,
        messages_published: 0,
        dropped_told: 0,
    };
    Ok((client, greeting))
}

/// Gets the session of its key, always a new one; whoever had it is told to look.
fn open(worker: &Worker, client: &mut Client, greeting: &Greeting, connect: &Connect, home: Home) {
    let opening = Opening {
        key: client.identity.key(),
        protocol: connect.protocol,
        limits: greeting.session_limits,
        home,
        clean_start: true,
        expiry_s: 0,
        will: None,
    };
    let opened = worker.node.sessions.open(opening, worker.now_ms.get());
    client.session = opened.session;
    if let Some(before) = opened.taken_over {
        worker.node.session_ended(before);
    }
}

fn write_connack(
    out: &mut Vec<u8>,
    client: &Client,
    greeting: &Greeting,
    connect: &Connect,
    protocol: Protocol,
) -> bool {
    let client_id = client.session.key().client_id();
    let limits = client.state.limits();
    let mut ack = ConnAck::new(ReasonCode::SUCCESS);
    ack.receive_max = Some(greeting.session_limits.receive_max).filter(|n| *n < u16::MAX);
    ack.packet_bytes_max = Some(limits.packet_bytes_max);
    ack.qos_max = greeting.qos_max;
    ack.assigned_client_id = (client_id != connect.client_id || connect.client_id_assigned).then_some(client_id);
    // Sessions end with their connection for now.
    ack.session_expiry_s = (connect.session_expiry_s != 0).then_some(0);
    ack.retain_available = false;
    ack.shared_available = false;
    ack.subscription_id_available = false;
    ack.wildcard_available = greeting.wildcards;
    ack.words = Words { reason_string: None, user: &greeting.properties };
    ack.write(out, protocol, connect.packet_bytes_max)
}

fn tell_connected(worker: &Worker, client: &Client, greeting: &Greeting, connect: &Connect) {
    let tls = connect.tls.as_ref();
    let fact = Fact::ClientConnected {
        plugin: greeting.plugin.clone().into(),
        keep_alive_s: connect.keep_alive_s.into(),
        clean_start: connect.clean_start,
        chain: tls.map_or_else(Vec::new, |t| t.chain.clone()),
        anchor: tls.and_then(|t| t.anchor.as_ref()).map_or_else(String::new, |a| a.subject.clone()).into(),
    };
    worker.node.events.emit(Some(&client.peer), fact);
}

/// Tells a client that it is not admitted, and everybody why.
fn refuse(worker: &Worker, stranger: Stranger, connect: &Connect, refusal: Refusal, bytes_max: u32) {
    let Refusal { stage, code, reason, plugin } = refusal;
    let mut answer = Vec::new();
    ConnAck::new(code).write(&mut answer, connect.protocol, bytes_max);
    let fact = Fact::ClientRefused {
        stage: stage.into(),
        code: code.0.into(),
        reason: reason.into(),
        plugin: plugin.into(),
        chain: connect.tls.as_ref().map_or_else(Vec::new, |t| t.chain.clone()),
    };
    worker.node.events.emit(Some(&Arc::new(stranger.peer.clone())), fact);
    stranger.end(worker, &answer);
}
