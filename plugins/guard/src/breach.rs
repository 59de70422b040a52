//! From events to breaches: what happened, and who is to be held to it.
//!
//! Whoever is not admitted is nobody but an address: its client identifier and user name are anybody's to claim, and so is a
//! certificate that was shown without its key. Whoever is admitted is a client, a user and, where it has proven one, a
//! certificate; its address is not held to it, since others may share it.

use std::net::{IpAddr, SocketAddr};

use gatemq_plugin_api::prelude::*;

use crate::subject::Subject;

/// Classes of breaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
    FailedAuthentication,
    ProtocolViolation,
    DeniedAction,
    LimitExceeded,
    ConnectStorm,
}

impl Breach {
    /// All of them, in the order of [`Breach::index`].
    pub(crate) const ALL: [Breach; 5] = [
        Breach::FailedAuthentication,
        Breach::ProtocolViolation,
        Breach::DeniedAction,
        Breach::LimitExceeded,
        Breach::ConnectStorm,
    ];

    /// Its place in a table of counts.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// As in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Breach::FailedAuthentication => "failed_authentication",
            Breach::ProtocolViolation => "protocol_violation",
            Breach::DeniedAction => "denied_action",
            Breach::LimitExceeded => "limit_exceeded",
            Breach::ConnectStorm => "connect_storm",
        }
    }

    /// What an event is, if it is one.
    pub(crate) fn of(event: &Event<'_>) -> Option<Breach> {
        const fn n(kind: EventKind) -> u32 {
            kind.number()
        }
        const REFUSED: u32 = n(EventKind::ClientRefused);
        const HANDSHAKE: u32 = n(EventKind::TlsHandshakeFailed);
        const ABORTED: u32 = n(EventKind::AuthExchangeAborted);
        const AGAIN: u32 = n(EventKind::ReauthenticationFailed);
        const VIOLATED: u32 = n(EventKind::ProtocolViolated);
        const MALFORMED: u32 = n(EventKind::PacketMalformed);
        const UPGRADE: u32 = n(EventKind::UpgradeFailed);
        const TIMED_OUT: u32 = n(EventKind::ConnectTimedOut);
        const PUBLISH: u32 = n(EventKind::PublishDenied);
        const SUBSCRIBE: u32 = n(EventKind::SubscribeDenied);
        const UNSUBSCRIBE: u32 = n(EventKind::UnsubscribeDenied);
        const WILL: u32 = n(EventKind::WillDenied);
        const LIMIT: u32 = n(EventKind::LimitExceeded);
        const STALLED: u32 = n(EventKind::ClientStalled);
        const TURNED_AWAY: u32 = n(EventKind::ConnectionRefused);
        const CONNECTED: u32 = n(EventKind::ClientConnected);
        Some(match event.kind() {
            REFUSED if is_peers_fault(event) => Breach::FailedAuthentication,
            ABORTED | AGAIN if matches!(text(event, "blame"), "peer" | "policy") => Breach::FailedAuthentication,
            HANDSHAKE => Breach::FailedAuthentication,
            VIOLATED | MALFORMED | UPGRADE | TIMED_OUT => Breach::ProtocolViolation,
            PUBLISH | SUBSCRIBE | UNSUBSCRIBE | WILL => Breach::DeniedAction,
            // What all of a tenant have used up is not the fault of whoever comes last.
            LIMIT if !text(event, "which").starts_with("tenant_") => Breach::LimitExceeded,
            STALLED => Breach::LimitExceeded,
            // Whoever is denied already is not held to it once more.
            TURNED_AWAY if text(event, "reason") != "denied" => Breach::ConnectStorm,
            CONNECTED => Breach::ConnectStorm,
            _ => return None,
        })
    }
}

/// Whether a refusal says something of the client: not that the broker or a plugin cannot serve it, nor that it is denied.
fn is_peers_fault(event: &Event<'_>) -> bool {
    let Some(Value::Number(code)) = event.field("code") else { return false };
    let not = [
        ReasonCode::SERVER_UNAVAILABLE,
        ReasonCode::SERVER_BUSY,
        ReasonCode::BANNED,
        ReasonCode::QUOTA_EXCEEDED,
        ReasonCode::USE_ANOTHER_SERVER,
        ReasonCode::SERVER_MOVED,
    ];
    !not.iter().any(|other| u64::from(other.0) == code)
}

fn text<'a>(event: &Event<'a>, field: &str) -> &'a str {
    match event.field(field) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// Address of the client that an event is about.
pub(crate) fn address(event: &Event<'_>) -> Option<IpAddr> {
    event.remote().parse::<SocketAddr>().ok().map(|remote| remote.ip().to_canonical())
}

/// Who is held to an event.
pub(crate) fn subjects(event: &Event<'_>) -> Vec<Subject> {
    let (tenant, user, client_id) = (event.tenant(), event.user(), event.client_id());
    if tenant.is_empty() {
        return address(event).map(Subject::address).into_iter().collect();
    }
    let certificate = event.leaf_sha256().and_then(|hash| hash.try_into().ok()).map(Subject::Certificate);
    let client = Subject::Client(tenant.into(), user.into(), client_id.into());
    [Some(client), Some(Subject::User(tenant.into(), user.into())), certificate].into_iter().flatten().collect()
}
