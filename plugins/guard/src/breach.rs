//! From events to breaches: what happened, and who is to be held to it.
//!
//! Whoever is not admitted is nobody but an address: its client identifier and user name are anybody's to claim, and so is a
//! certificate that was shown without its key. Whoever is admitted is a client, a user and, where it has proven one, a
//! certificate; its address is not held to it, since others may share it.

use std::net::{IpAddr, SocketAddr};

use gatemq_plugin_api::prelude::*;
use ipnet::IpNet;

use crate::config::Config;
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

    /// What an event is, if it is one, and how many: one, unless it stands for several that were not told one by one.
    pub(crate) fn of(event: &Event<'_>) -> Option<(Breach, u64)> {
        if event.kind() != EventKind::EventsCoalesced.number() {
            return Breach::of_kind(event.kind(), event, false).map(|breach| (breach, 1));
        }
        let kind = EventKind::from_name(text(event, "kind"))?;
        let Some(Value::Number(count)) = event.field("count") else { return None };
        Breach::of_kind(kind.number(), event, true).map(|breach| (breach, count))
    }

    fn of_kind(kind: u32, event: &Event<'_>, coalesced: bool) -> Option<Breach> {
        const fn n(kind: EventKind) -> u32 {
            kind.number()
        }
        const REFUSED: u32 = n(EventKind::ClientRefused);
        const HANDSHAKE: u32 = n(EventKind::TlsHandshakeFailed);
        const ABORTED: u32 = n(EventKind::AuthExchangeAborted);
        const AGAIN: u32 = n(EventKind::ReauthenticationFailed);
        const VIOLATED: u32 = n(EventKind::ProtocolViolated);
        const MALFORMED: u32 = n(EventKind::PacketMalformed);
        const TOPIC: u32 = n(EventKind::TopicRefused);
        const FILTER: u32 = n(EventKind::FilterRefused);
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
        // Where it stands for several, that field of theirs which tells them apart.
        let cause = |field| text(event, if coalesced { "cause" } else { field });
        Some(match kind {
            REFUSED if is_peers_fault(event) => Breach::FailedAuthentication,
            ABORTED | AGAIN if matches!(text(event, "blame"), "peer" | "policy") => Breach::FailedAuthentication,
            HANDSHAKE => Breach::FailedAuthentication,
            VIOLATED | MALFORMED | TOPIC | FILTER | UPGRADE | TIMED_OUT => Breach::ProtocolViolation,
            PUBLISH | SUBSCRIBE | UNSUBSCRIBE | WILL => Breach::DeniedAction,
            // What all of a tenant have used up is not the fault of whoever comes last.
            LIMIT if !cause("which").starts_with("tenant_") => Breach::LimitExceeded,
            STALLED => Breach::LimitExceeded,
            // Whoever is denied already is not held to it once more.
            TURNED_AWAY if cause("reason") != "denied" => Breach::ConnectStorm,
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

/// Whether whoever an event is about is left alone: of several addresses of a network, told in one event, one suffices.
pub(crate) fn is_allowed(event: &Event<'_>, config: &Config) -> bool {
    let network = || text(event, "address").parse::<IpNet>().ok();
    address(event).is_some_and(|address| config.allows_address(address))
        || event.kind() == EventKind::EventsCoalesced.number()
            && network().is_some_and(|network| config.allows_some_of(network))
}

/// Address of the client that an event is about.
fn address(event: &Event<'_>) -> Option<IpAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use gatemq_plugin_api::abi::entry::events_ref;
    use gatemq_plugin_api::abi::v1_0::{EventView, FieldTag, FieldView};

    fn field<'a>(name: &'a str, text: &'a str, number: u64) -> FieldView<'a> {
        let tag = if text.is_empty() { FieldTag::NUMBER } else { FieldTag::TEXT };
        FieldView { name: name.into(), tag, number, text: text.into(), chain: (&[][..]).into() }
    }

    /// What was not told one by one: so many of this kind, with this code and cause.
    fn coalesced<R>(kind: &str, code: u64, cause: &str, blame: &str, look: impl Fn(&Event<'_>) -> R) -> R {
        let fields = [
            field("kind", kind, 0),
            field("count", "", 900),
            field("address", "2001:db8::/64", 0),
            field("code", "", code),
            field("cause", cause, 0),
            field("blame", blame, 0),
        ];
        let view = EventView {
            kind: EventKind::EventsCoalesced.number(),
            class: 1,
            blame: 1,
            name: "EventsCoalesced".into(),
            sequence: 7,
            time_ms: 1,
            node: "n".into(),
            connection: 0,
            listener: "l".into(),
            transport: "tcp".into(),
            remote: "[2001:db8::]:0".into(),
            tenant: "".into(),
            user: "".into(),
            client_id: "victim".into(),
            protocol: 0,
            leaf_sha256: (&[][..]).into(),
            fields: fields[..].into(),
            attributes: (&[][..]).into(),
        };
        look(&events_ref(&[view])[0])
    }

    /// Guards that what was counted weighs as if each had come, and what is no breach when told is none when counted.
    #[test]
    fn what_was_counted_is_counted() {
        let of = |kind: &str, code, cause: &str, blame: &str| coalesced(kind, code, cause, blame, Breach::of);
        for kind in ["PacketMalformed", "TopicRefused", "FilterRefused"] {
            assert_eq!(of(kind, 0x81, "", "peer"), Some((Breach::ProtocolViolation, 900)), "{kind}");
        }
        assert_eq!(of("ClientRefused", 0x86, "", "policy"), Some((Breach::FailedAuthentication, 900)));
        assert_eq!(of("ClientRefused", ReasonCode::SERVER_BUSY.0.into(), "", "policy"), None);
        assert_eq!(of("AuthExchangeAborted", 0, "", "peer"), Some((Breach::FailedAuthentication, 900)));
        assert_eq!(of("AuthExchangeAborted", 0, "", "plugin"), None);
        assert_eq!(of("LimitExceeded", 0, "receive_max", "limit"), Some((Breach::LimitExceeded, 900)));
        assert_eq!(of("LimitExceeded", 0, "tenant_messages_per_s_max", "limit"), None);
        assert_eq!(of("ConnectionRefused", 0, "address_connections_max", "limit"), Some((Breach::ConnectStorm, 900)));
        assert_eq!(of("ConnectionRefused", 0, "denied", "limit"), None);
        for kind in ["ClientTakenOver", "EventsCoalesced", "ofAnotherVersion"] {
            assert_eq!(of(kind, 0x81, "", "peer"), None, "{kind}");
        }
    }

    /// Promise 7: strangers that are counted together are an address and nobody whom they claim to be; and where one of that
    /// network is to be left alone, so is the network.
    #[test]
    fn promise_7_what_was_counted_is_the_addresss() {
        let subjects = coalesced("PacketMalformed", 0x81, "", "peer", subjects);
        assert_eq!(subjects, [Subject::Address("2001:db8::".parse().unwrap())]);
        for (allowed, spared) in [("2001:db8::7/128", true), ("2001:db8::/32", true), ("2001:db8:0:1::/64", false)] {
            let config: Config =
                serde_json::from_value(serde_json::json!({ "allow": { "addresses": [allowed] } })).unwrap();
            assert_eq!(coalesced("PacketMalformed", 0x81, "", "peer", |e| is_allowed(e, &config)), spared, "{allowed}");
        }
    }
}
