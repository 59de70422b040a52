//! CONNECT to a client: what is not offered is refused, the providers are asked, their answer is bound to a session.

use std::rc::Rc;
use std::sync::Arc;

use gatemq_mqtt::connection::ExpectDecision;
use gatemq_mqtt::keepalive;
use gatemq_mqtt::packet::connack::ConnAck;
use gatemq_mqtt::packet::connect::{Connect as Packet, Will as WillPacket};
use gatemq_plugin_loader::Instance;
use gatemq_types::event::Fact;
use gatemq_types::{Connect, Identity as Given, ReasonCode};

use super::admit::{Stranger, delay};
use super::bind::{bind, tell_connected, write_connack};
use super::client::Client;
use super::stream::Stream;
use super::will::may_leave;
use super::{Ending, open};
use crate::listen::Listener;
use crate::plugins::{Admission, failure_event};
use crate::worker::Worker;

/// Why a client is not admitted.
pub(super) enum NotAdmitted {
    /// It is told.
    Refused(Refusal),
    /// It has gone.
    Gone(Ending),
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        NotAdmitted::Refused(refusal)
    }
}

/// What a client is told that is not admitted, and everybody else about it.
pub(super) struct Refusal {
    stage: &'static str,
    code: ReasonCode,
    reason: String,
    plugin: String,
}

impl Refusal {
    pub(super) fn new(stage: &'static str, code: ReasonCode, reason: impl Into<String>) -> Self {
        Refusal { stage, code, reason: reason.into(), plugin: String::new() }
    }

    fn stopping() -> Self {
        Refusal::new("connect", ReasonCode::SERVER_UNAVAILABLE, "the broker stops")
    }

    pub(super) fn by(plugin: &str, stage: &'static str, code: ReasonCode, reason: impl ToString) -> Self {
        Refusal { stage, code, reason: reason.to_string(), plugin: plugin.to_owned() }
    }
}

/// Decides on a CONNECT. `None`: the client was refused and told, or has gone.
pub(super) async fn authenticate(
    worker: &Rc<Worker>,
    listener: &Listener,
    mut stranger: Stranger,
    mut packet: Packet,
    next: ExpectDecision,
) -> Option<(Stream, Client, Vec<u8>)> {
    let bytes_max = packet.packet_bytes_max;
    let will = packet.will.take();
    let connect = connect(&mut stranger, listener, packet, will.as_ref());
    match admit(worker, listener, &mut stranger, &connect, will, next).await {
        Ok(client) => {
            stranger.stream.admit(client.state.limits().packet_bytes_max);
            let rest = stranger.bytes.take();
            Some((stranger.stream, client, rest))
        }
        Err(NotAdmitted::Refused(refusal)) => {
            refuse(worker, stranger, &connect, refusal, bytes_max);
            None
        }
        Err(NotAdmitted::Gone(ending)) => {
            let fact = Fact::ConnectionClosed { reason: ending.reason.name().into() };
            worker.node.events.emit(Some(&Arc::new(stranger.peer)), fact);
            None
        }
    }
}

/// From CONNECT to CONNACK.
async fn admit(
    worker: &Rc<Worker>,
    listener: &Listener,
    stranger: &mut Stranger,
    connect: &Connect,
    will: Option<WillPacket>,
    next: ExpectDecision,
) -> Result<Client, NotAdmitted> {
    not_offered(connect)?;
    let (given, provider) = ask(worker, listener, stranger, connect).await?;
    let (mut client, greeting) = bind(worker, stranger, connect, *given, provider, next)?;
    let will = match will {
        Some(will) => Some(may_leave(worker, stranger, &client, &will).await?),
        None => None,
    };
    if worker.is_stopping() {
        return Err(Refusal::stopping().into());
    }
    let mut answer = Vec::new();
    if !write_connack(&mut answer, &client, &greeting, connect, false) {
        let reason = "its Maximum Packet Size leaves no room for a CONNACK";
        return Err(Refusal::new("connect", ReasonCode::PACKET_TOO_LARGE, reason).into());
    }
    // Not before it is sure that the client is told: it may take over a session.
    let opened = open::open(worker, stranger, &mut client, &greeting, connect, will).await?;
    if opened.is_resumed() {
        answer.clear();
        write_connack(&mut answer, &client, &greeting, connect, true);
    }
    client.silence_ms_max = keepalive::silence_ms_max(connect.keep_alive_s);
    tell_connected(worker, &client, &greeting, connect);
    opened.begin(worker, &client);
    match stranger.write(worker, &answer).await {
        Ok(()) => Ok(client),
        Err(ending) => {
            client.close(worker, &mut worker.hot.borrow_mut(), ending, 0);
            Err(NotAdmitted::Gone(ending))
        }
    }
}

/// What the providers are told.
fn connect(stranger: &mut Stranger, listener: &Listener, packet: Packet, will: Option<&WillPacket>) -> Connect {
    let client_id_assigned = packet.client_id.is_empty();
    let client_id = if client_id_assigned { assigned_client_id() } else { packet.client_id };
    stranger.peer.client_id = client_id.as_str().into();
    let will = will.map(|will| gatemq_types::Will {
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
fn not_offered(connect: &Connect) -> Result<(), Refusal> {
    if connect.auth_method.is_some() {
        let code = ReasonCode::BAD_AUTHENTICATION_METHOD;
        return Err(Refusal::new("connect", code, "enhanced authentication is not offered"));
    }
    Ok(())
}

/// Awaits an answer while it watches whether the client is still there and the node runs; otherwise the call is cancelled.
pub(super) async fn answer<T>(
    worker: &Worker,
    stranger: &mut Stranger,
    asking: impl Future<Output = T>,
) -> Result<T, NotAdmitted> {
    let mut asking = std::pin::pin!(asking);
    loop {
        let more = stranger.may_read();
        tokio::select! {
            biased;
            answer = &mut asking => return Ok(answer),
            () = worker.stops() => return Err(Refusal::stopping().into()),
            read = stranger.read(worker), if more => read.map_err(NotAdmitted::Gone)?,
        }
    }
}

/// Asks the providers.
async fn ask(
    worker: &Worker,
    listener: &Listener,
    stranger: &mut Stranger,
    connect: &Connect,
) -> Result<(Box<Given>, Option<Arc<Instance>>), NotAdmitted> {
    match answer(worker, stranger, listener.auth.authenticate(connect)).await? {
        Admission::Accepted { identity, provider } => Ok((identity, provider)),
        Admission::Refused { code, reason, plugin, delay: wanted } => {
            delay(worker, wanted, listener).await;
            Err(Refusal { stage: "authenticate", code, reason, plugin }.into())
        }
        Admission::Failed { plugin, failure } => {
            worker.node.events.emit(None, failure_event(&plugin, "authenticate", &failure));
            let code = match failure {
                gatemq_plugin_loader::CallFailure::Busy { .. } => ReasonCode::SERVER_BUSY,
                _ => ReasonCode::SERVER_UNAVAILABLE,
            };
            Err(Refusal { stage: "authenticate", code, reason: failure.to_string(), plugin }.into())
        }
    }
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
