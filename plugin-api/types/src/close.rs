//! The one list of why a connection ends.

use crate::{Blame, ReasonCode};

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident $code:ident $blame:ident;)*) => {
        /// Why a connection ended. The log line, the counter, the DISCONNECT or CONNACK code and the event derive
        /// from it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
        }

        impl CloseReason {
            /// Every reason, in the order of the list.
            pub const ALL: &[CloseReason] = &[$(CloseReason::$name),*];

            /// Its name, as in events and counters.
            pub const fn name(self) -> &'static str {
                match self { $(CloseReason::$name => stringify!($name),)* }
            }

            /// What an MQTT 5.0 client is told. A peer's breach has a more exact code of its own, which is used instead.
            pub const fn code(self) -> ReasonCode {
                match self { $(CloseReason::$name => ReasonCode::$code,)* }
            }

            /// Whose doing it was.
            pub const fn blame(self) -> Blame {
                match self { $(CloseReason::$name => Blame::$blame,)* }
            }
        }
    };
}

close_reasons! {
    /// The client sent DISCONNECT.
    ClientDisconnected SUCCESS Peer;
    /// The client sent DISCONNECT and asked for its will to be published.
    ClientDisconnectedWithWill DISCONNECT_WITH_WILL Peer;
    /// The transport was closed by the peer without DISCONNECT.
    TransportClosed UNSPECIFIED_ERROR Peer;
    /// The transport failed.
    TransportFailed UNSPECIFIED_ERROR Peer;
    /// The TLS handshake failed.
    TlsHandshakeFailed NOT_AUTHORIZED Peer;
    /// No whole CONNECT (or TLS handshake) arrived in time.
    ConnectTimedOut MAXIMUM_CONNECT_TIME Peer;
    /// Nothing was heard for one and a half times the keep alive.
    KeepAliveTimedOut KEEP_ALIVE_TIMEOUT Peer;
    /// Bytes that are not MQTT.
    PacketMalformed MALFORMED_PACKET Peer;
    /// MQTT that the standard forbids here.
    ProtocolViolated PROTOCOL_ERROR Peer;
    /// A packet larger than this client may send.
    PacketTooLarge PACKET_TOO_LARGE Peer;
    /// It published faster than it or its tenant may.
    RateExceeded MESSAGE_RATE_TOO_HIGH Limit;
    /// The client does not take its output.
    ClientStalled QUOTA_EXCEEDED Peer;
    /// The auth providers refused it.
    AuthenticationRefused NOT_AUTHORIZED Policy;
    /// An auth provider did not answer, failed, or is not there.
    AuthenticationFailed SERVER_UNAVAILABLE Plugin;
    /// The identity that a provider gave cannot be used: a value does not fit a grant.
    IdentityUnusable NOT_AUTHORIZED Policy;
    /// The time for which the provider had admitted it is over.
    IdentityExpired NOT_AUTHORIZED Policy;
    /// Its provider was asked again what it may do, and does not stand for it any more.
    IdentityRevoked NOT_AUTHORIZED Policy;
    /// A provider did not answer whether a message may be published.
    AuthorizationFailed IMPLEMENTATION_SPECIFIC_ERROR Plugin;
    /// A PUBLISH was denied, and the client cannot be told in another way.
    PublishDenied NOT_AUTHORIZED Policy;
    /// A verdict or an operator ended the connection.
    Kicked ADMINISTRATIVE_ACTION Policy;
    /// A denial names this client.
    Denied BANNED Policy;
    /// Another connection took over the session.
    TakenOver SESSION_TAKEN_OVER Peer;
    /// A provider sends the client to another server.
    Redirected USE_ANOTHER_SERVER Policy;
    /// More connections than allowed.
    ConnectionLimitReached SERVER_BUSY Limit;
    /// What the broker does not offer.
    NotSupported IMPLEMENTATION_SPECIFIC_ERROR Peer;
    /// As much waits for another node of the cluster as may: what the client published cannot be acknowledged.
    ClusterUnavailable QUOTA_EXCEEDED Broker;
    /// The broker stops.
    ServerStopping SERVER_SHUTTING_DOWN Broker;
    /// A mistake of the broker itself.
    InternalError UNSPECIFIED_ERROR Broker;
}
