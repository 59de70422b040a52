//! CONNECT to a client: the providers are asked, their answer is bound to a session.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use gatemq_mqtt::connection::ExpectDecision;
use gatemq_mqtt::packet::connack::ConnAck;
use gatemq_mqtt::packet::connect::{Connect as Packet, Will as WillPacket};
use gatemq_plugin_loader::Plugin;
use gatemq_types::event::Fact;
use gatemq_types::{Blame, Connect, Identity as Given, ReasonCode};
use tokio::time::Instant;

use super::admit::{Stranger, delay};
use super::bind::{bind, tell_connected, write_connack};
use super::client::Client;
use super::exchange::Exchange;
use super::reauthenticate::Again;
use super::stream::Stream;
use super::will::may_leave;
use super::{Ending, open};
use crate::denials;
use crate::listen::Listener;
use crate::plugins::{Admission, tell_failure};
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
    /// What the client is told besides the code.
    reason_string: Option<String>,
    /// The server to use instead; `Some` is a redirection.
    server: Option<String>,
}

/// What the client wants to be told, and be told no more of.
#[derive(Clone, Copy)]
pub(super) struct Wants {
    packet_bytes_max: u32,
    pub(super) response_info: bool,
    pub(super) problem_info: bool,
}

impl Refusal {
    pub(super) fn new(stage: &'static str, code: ReasonCode, reason: impl Into<String>) -> Self {
        Refusal::by("", stage, code, reason.into())
    }

    pub(super) fn stopping() -> Self {
        Refusal::new("connect", ReasonCode::SERVER_UNAVAILABLE, "the broker stops")
    }

    pub(super) fn by(plugin: &str, stage: &'static str, code: ReasonCode, reason: impl ToString) -> Self {
        let (reason, plugin) = (reason.to_string(), plugin.to_owned());
        Refusal { stage, code, reason, plugin, reason_string: None, server: None }
    }

    /// And what the client is told of it besides the code.
    pub(super) fn saying(self, reason_string: Option<String>) -> Self {
        Refusal { reason_string, ..self }
    }
}

/// Decides on a CONNECT. `None`: the client was refused and told, or has gone.
pub(super) async fn authenticate(
    worker: &Rc<Worker>,
    listener: &Listener,
    mut stranger: Stranger,
    mut packet: Packet,
    next: ExpectDecision,
    deadline: Instant,
) -> Option<(Stream, Client, Vec<u8>)> {
    let wants = Wants {
        packet_bytes_max: packet.packet_bytes_max,
        response_info: packet.request_response_info,
        problem_info: packet.request_problem_info,
    };
    let will = packet.will.take();
    let mut connect = connect(&mut stranger, listener, packet, will.as_ref());
    let asked = Asked { worker, listener, wants, deadline };
    match admit(&asked, &mut stranger, &mut connect, will, next).await {
        Ok(client) => {
            stranger.stream.admit(client.state.limits().packet_bytes_max);
            let rest = stranger.bytes.take();
            Some((stranger.stream, client, rest))
        }
        Err(NotAdmitted::Refused(refusal)) => {
            refuse(worker, stranger, &connect, refusal, wants);
            None
        }
        Err(NotAdmitted::Gone(ending)) => {
            let fact = Fact::ConnectionClosed { reason: ending.reason.name().into() };
            worker.node.events.emit(Some(&Arc::new(stranger.peer)), fact);
            None
        }
    }
}

/// Where and how a client asks to be admitted.
struct Asked<'a> {
    worker: &'a Rc<Worker>,
    listener: &'a Listener,
    wants: Wants,
    deadline: Instant,
}

/// From CONNECT to CONNACK.
async fn admit(
    asked: &Asked<'_>,
    stranger: &mut Stranger,
    connect: &mut Connect,
    will: Option<WillPacket>,
    next: ExpectDecision,
) -> Result<Client, NotAdmitted> {
    let Asked { worker, listener, wants, deadline } = *asked;
    let exchange = Exchange::new(worker, &next, connect, deadline);
    let revoked_before = worker.node.revocations.count();
    let (given, provider) = ask(asked, stranger, connect, exchange).await?;
    let (mut client, mut greeting) = bind(worker, stranger, connect, wants, *given, provider.as_ref(), next)?;
    if let Some(reason) = denials::refuses_name(&worker.node, &client.peer, worker.now_ms.get()) {
        return Err(Refusal::new("denial", ReasonCode::BANNED, reason).into());
    }
    client.revoked_before = revoked_before;
    client.acknowledges_denied = listener.acknowledges_denied();
    client.again = provider.and_then(|provider| Again::of(connect, provider, listener, &worker.node.limits));
    let will = match will {
        Some(will) => Some(Box::pin(may_leave(worker, stranger, &client, &will)).await?),
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
    if let Some(place) = greeting.place.take() {
        client.take_place(&worker.node, place, stranger.home);
    }
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

/// Awaits an answer while it watches whether the client is still there and the node runs; otherwise the call is cancelled.
pub(super) async fn answer<T>(
    worker: &Worker,
    stranger: &mut Stranger,
    mut asking: Pin<&mut impl Future<Output = T>>,
) -> Result<T, NotAdmitted> {
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

/// Asks the providers, and the client as often as they want. Afterwards its password is wiped.
async fn ask(
    asked: &Asked<'_>,
    stranger: &mut Stranger,
    connect: &mut Connect,
    mut exchange: Exchange<'_>,
) -> Result<(Box<Given>, Option<Arc<Plugin>>), NotAdmitted> {
    let Asked { worker, listener, wants, .. } = *asked;
    let chain = listener.auth.load_full();
    let mut admission = answer(worker, stranger, pin!(chain.authenticate(connect))).await?;
    (connect.password, connect.auth_data) = (None, None);
    loop {
        let stage = if exchange.has_begun() { "exchange" } else { "authenticate" };
        return Err(match admission {
            Admission::Continue { data, state, provider } => {
                let round = exchange.round(stranger, connect, wants.packet_bytes_max, &data, state, &provider);
                // Boxed, as all that few clients need.
                admission = Box::pin(round).await?;
                continue;
            }
            Admission::Accepted { identity, provider } => {
                exchange.nothing_came_early(stranger)?;
                return Ok((identity, provider));
            }
            Admission::Refused { code, reason, reason_string, plugin, delay: wanted } => {
                chain.note_refused(connect.remote.ip());
                Box::pin(delay(worker, wanted, listener)).await;
                Refusal { reason_string, ..Refusal::by(&plugin, stage, code, reason) }.into()
            }
            Admission::Redirected { server, moved, plugin } => redirection(stage, server, moved, &plugin).into(),
            Admission::Failed { plugin, failure } => {
                tell_failure(&worker.node.events, &plugin, stage, &failure);
                if exchange.has_begun() {
                    exchange.tell_aborted(stranger, &failure.to_string(), Blame::Plugin);
                }
                let code = match failure.is_busy() {
                    true => ReasonCode::SERVER_BUSY,
                    false => ReasonCode::SERVER_UNAVAILABLE,
                };
                Refusal::by(&plugin, stage, code, failure).into()
            }
        });
    }
}

fn redirection(stage: &'static str, server: String, moved: bool, plugin: &str) -> Refusal {
    let code = if moved { ReasonCode::SERVER_MOVED } else { ReasonCode::USE_ANOTHER_SERVER };
    Refusal { server: Some(server), ..Refusal::by(plugin, stage, code, "another server is to be used") }
}

/// Tells a client that it is not admitted, and everybody why.
fn refuse(worker: &Worker, stranger: Stranger, connect: &Connect, refusal: Refusal, wants: Wants) {
    let Refusal { stage, code, reason, plugin, reason_string, server } = refusal;
    let code = code.in_connack();
    let mut ack = ConnAck::new(code);
    // It may be told even where it wants no such (MQTT-3.1.2-29); but it does not want it.
    ack.words.reason_string = reason_string.as_deref().filter(|text| wants.problem_info && is_sendable(text));
    ack.server_reference = server.as_deref().filter(|server| !server.is_empty() && is_sendable(server));
    let mut answer = Vec::new();
    if !ack.write(&mut answer, connect.protocol, wants.packet_bytes_max) {
        // Too large for it with the server's name.
        ConnAck::new(code).write(&mut answer, connect.protocol, wants.packet_bytes_max);
    }
    let (code, plugin) = (code.0.into(), plugin.into());
    let fact = match server {
        Some(server) => Fact::ClientRedirected { code, server: server.into(), plugin },
        None => {
            let chain = connect.tls.as_ref().map_or_else(Vec::new, |t| t.chain.clone());
            Fact::ClientRefused { stage: stage.into(), code, reason: reason.into(), plugin, chain }
        }
    };
    worker.node.events.emit(Some(&Arc::new(stranger.peer.clone())), fact);
    stranger.end(worker, &answer);
}

/// Whether a plugin's text can be a string of MQTT (1.5.4) as it is.
pub(super) fn is_sendable(text: &str) -> bool {
    text.len() <= usize::from(u16::MAX) && !text.contains('\0')
}
