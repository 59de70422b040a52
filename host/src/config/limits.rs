//! `[limits]`: what clients and tenants may have. Each field is the key of its name; defaults are in [`keys`](super::keys). A limit
//! of `gatemq_types::Limits` of the same name lowers it for an identity. Those of a tenant are for all its identities, so none has
//! an override; nor has what counts before there is an identity.
//!
//! | limit | identity | who reaches it | told by |
//! |---|---|---|---|
//! | `packet_bytes_max` | 4 | disconnected, 0x95 | `LimitExceeded` |
//! | `connect_bytes_max` | | closed | `LimitExceeded` |
//! | `topic_levels_max`, `topic_bytes_max` | 9, 18 | disconnected, 0x90 or 0x8F | `LimitExceeded` |
//! | `filters_per_packet_max` | 19 | disconnected, 0x97 | `LimitExceeded` |
//! | `user_properties_max`, `user_properties_bytes_max` | 20, 21 | disconnected, 0x97 | `LimitExceeded` |
//! | `messages_per_s_max`, `bytes_per_s_max` | 1, 2 | slowed down, or disconnected, 0x96 | `LimitExceeded` |
//! | `rate_policy` | 23 | | |
//! | `receive_max` | 3 | disconnected, 0x93 | `LimitExceeded` |
//! | `inflight_max` | 17 | messages wait | |
//! | `queue_messages_max`, `queue_bytes_max` | 6, 7 | messages are dropped | `MessageDropped`, `SessionResumed` |
//! | `stalled_ms_max` | 22 | disconnected, 0x97 | `ClientStalled` |
//! | `subscriptions_max` | 8 | SUBACK 0x97 | `LimitExceeded`, `SubscribeDenied` |
//! | `session_expiry_s_max`, `keep_alive_s_max`, `topic_alias_max` | 10, 15, 16 | CONNACK says the lower one | |
//! | `sessions_detached_max` | | the first to expire is ended | `SessionEnded` |
//! | `auth_rounds_max` | | refused, 0x87 | `ClientRefused`, `ReauthenticationFailed` |
//! | `tenant_connections_max`, `tenant_sessions_max` | | CONNACK 0x97 | `LimitExceeded`, `ClientRefused` |
//! | `tenant_subscriptions_max` | | SUBACK 0x97 | `LimitExceeded`, `SubscribeDenied` |
//! | `tenant_queue_bytes_max` | | messages are dropped | `LimitExceeded`, `MessageDropped` |
//! | `tenant_messages_per_s_max`, `tenant_bytes_per_s_max` | | as a client's | `LimitExceeded` |
//! | `tenant_retained_messages_max`, `tenant_retained_bytes_max` | | PUBACK 0x97, MQTT 3 closed | `LimitExceeded` |
//!
//! `LimitExceeded` is told once an episode; each event kind is counted, and each time that a tenant's limit is reached is counted
//! below `$SYS/broker/limits/`.

use gatemq_broker::{RetainedLimits, TenantLimits, TenantRates};
use gatemq_mqtt::PacketLimits;

use super::values::Values;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $number:ty,)*) => {
        /// `[limits]`: what a client may have, and a tenant; plugins may give a client less.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct Limits {
            $($(#[$doc])* pub(crate) $name: $number,)*
            /// What happens to who publishes faster than it may.
            pub(crate) rate_policy: RatePolicy,
        }

        /// Reads all of them. `None` only after a problem.
        fn read(values: &mut Values<'_>) -> Option<Limits> {
            // All of them first: a problem in one must not hide those of the next.
            $(let $name = values.number::<$number>(&["limits", stringify!($name)]);)*
            let rate_policy = match values.text(&["limits", "rate_policy"])?.as_str() {
                "disconnect" => RatePolicy::Disconnect,
                _ => RatePolicy::Wait,
            };
            Some(Limits { $($name: $name?,)* rate_policy })
        }
    };
}

limits! {
    /// Bytes of the largest packet from an admitted client.
    packet_bytes_max: u32,
    /// Bytes of the largest CONNECT; not above `packet_bytes_max`.
    connect_bytes_max: u32,
    /// Levels of a topic or filter.
    topic_levels_max: u16,
    /// Bytes of a topic or filter.
    topic_bytes_max: u16,
    /// Filters of a SUBSCRIBE or UNSUBSCRIBE.
    filters_per_packet_max: u16,
    /// User properties of a packet.
    user_properties_max: u16,
    /// Bytes of the user properties of a packet.
    user_properties_bytes_max: u32,
    /// Messages that a client may publish per second; 0 is no limit.
    messages_per_s_max: u64,
    /// Bytes that a client may publish per second; 0 is no limit.
    bytes_per_s_max: u64,
    /// QoS 1 and 2 messages unacknowledged towards the broker (Receive Maximum).
    receive_max: u16,
    /// QoS 1 and 2 messages unacknowledged towards a client.
    inflight_max: u16,
    /// Messages that wait for a client.
    queue_messages_max: u32,
    /// Bytes of messages that wait for a client; not below `packet_bytes_max`.
    queue_bytes_max: u64,
    /// Milliseconds for which a client may take none of its output.
    stalled_ms_max: u32,
    /// Subscriptions of a client.
    subscriptions_max: u32,
    /// Seconds that a session outlives its connection; `u32::MAX` is for ever.
    session_expiry_s_max: u32,
    /// Sessions whose clients are away.
    sessions_detached_max: u32,
    /// Topic aliases that a client may set.
    topic_alias_max: u16,
    /// Connections of a tenant; 0 is no limit, here and in the next five.
    tenant_connections_max: u64,
    /// Sessions of a tenant.
    tenant_sessions_max: u64,
    /// Subscriptions of a tenant.
    tenant_subscriptions_max: u64,
    /// Bytes that wait for all clients of a tenant.
    tenant_queue_bytes_max: u64,
    /// Messages that all clients of a tenant publish per second.
    tenant_messages_per_s_max: u64,
    /// Bytes that they publish per second.
    tenant_bytes_per_s_max: u64,
    /// Retained messages of a tenant.
    tenant_retained_messages_max: u32,
    /// Bytes of a tenant's retained messages.
    tenant_retained_bytes_max: u64,
    /// Seconds of the longest keep alive of an MQTT 5 client; 0 is no limit.
    keep_alive_s_max: u16,
    /// AUTH packets that a client is sent in one enhanced authentication.
    auth_rounds_max: u32,
}

/// What happens to who publishes faster than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RatePolicy {
    /// It is not read for a while.
    Wait,
    /// It is disconnected with 0x96.
    Disconnect,
}

impl Limits {
    /// Reads `[limits]`. `None` only after a problem.
    pub(super) fn checked(values: &mut Values<'_>) -> Option<Limits> {
        let limits = read(values)?;
        if limits.connect_bytes_max > limits.packet_bytes_max {
            values.refuse(&["limits", "connect_bytes_max"], "is above packet_bytes_max; lower it or raise that");
        }
        if limits.queue_bytes_max < u64::from(limits.packet_bytes_max) {
            values.refuse(
                &["limits", "queue_bytes_max"],
                "is below packet_bytes_max, so the largest packets could never wait; raise it or lower that",
            );
        }
        Some(limits)
    }

    /// Those of the packets of somebody who is not known yet.
    pub(crate) fn of_packets(&self) -> PacketLimits {
        PacketLimits {
            packet_bytes_max: self.packet_bytes_max,
            connect_bytes_max: self.connect_bytes_max,
            user_properties_bytes_max: self.user_properties_bytes_max,
            user_properties_max: self.user_properties_max,
            topic_levels_max: self.topic_levels_max,
            topic_bytes_max: self.topic_bytes_max,
            filters_per_packet_max: self.filters_per_packet_max,
            topic_alias_max: 0,
        }
    }

    /// Those of each tenant.
    pub(crate) fn of_tenant(&self) -> TenantLimits {
        let unless_0 = |max: u64| if max == 0 { u64::MAX } else { max };
        TenantLimits {
            connections_max: unless_0(self.tenant_connections_max),
            sessions_max: unless_0(self.tenant_sessions_max),
            subscriptions_max: unless_0(self.tenant_subscriptions_max),
            queue_bytes_max: unless_0(self.tenant_queue_bytes_max),
            rates: TenantRates {
                messages_per_s_max: unless_0(self.tenant_messages_per_s_max),
                bytes_per_s_max: unless_0(self.tenant_bytes_per_s_max),
            },
            retained: RetainedLimits {
                messages_max: self.tenant_retained_messages_max,
                bytes_max: self.tenant_retained_bytes_max,
            },
        }
    }
}
