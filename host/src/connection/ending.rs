//! Why a connection ends, with what goes with the reason.

use gatemq_mqtt::Breach;
use gatemq_types::{CloseReason, ReasonCode};

/// The end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    /// Why, of the one list.
    pub(crate) reason: CloseReason,
    /// Code for the client, where the protocol can tell it.
    pub(crate) code: ReasonCode,
    /// The rule that it broke, where it broke one.
    pub(crate) breach: Option<Breach>,
}

impl Ending {
    /// With the reason's own code.
    pub(crate) const fn of(reason: CloseReason) -> Self {
        Ending { reason, code: reason.code(), breach: None }
    }

    /// With another code, or what a DISCONNECT has in its place (MQTT-3.14.2-1).
    pub(crate) const fn with_code(reason: CloseReason, code: ReasonCode) -> Self {
        Ending { reason, code: code.in_disconnect(), breach: None }
    }

    /// Of a client that is denied. What a CONNACK calls Banned a DISCONNECT cannot say (MQTT-3.14.2-1): it says Administrative
    /// action.
    pub(crate) const fn of_denial() -> Self {
        Ending::with_code(CloseReason::Denied, CloseReason::Denied.code())
    }

    /// Whether the client is told with a DISCONNECT: not when it said goodbye itself, or is not there any more.
    pub(crate) const fn is_told(self) -> bool {
        !matches!(
            self.reason,
            CloseReason::ClientDisconnected
                | CloseReason::ClientDisconnectedWithWill
                | CloseReason::TransportClosed
                | CloseReason::TransportFailed
                | CloseReason::ClientStalled
        )
    }
}

impl From<Breach> for Ending {
    fn from(breach: Breach) -> Self {
        let reason = match breach {
            Breach::PacketTooLarge => CloseReason::PacketTooLarge,
            breach if breach.is_malformed() => CloseReason::PacketMalformed,
            _ => CloseReason::ProtocolViolated,
        };
        Ending { reason, code: breach.code(), breach: Some(breach) }
    }
}
