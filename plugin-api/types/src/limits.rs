//! Limits that an identity may carry. One list: the table below.

macro_rules! limits {
    ($($(#[$doc:meta])* $number:literal $name:ident;)*) => {
        /// Limits of one client, units last. `None` leaves what the listener and the broker say; a value never raises
        /// what they allow.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Limits {
            $($(#[$doc])* pub $name: Option<u64>,)*
        }

        impl Limits {
            /// Each limit that is set: its number at the plugin border (never reused) and its value.
            pub fn entries(&self) -> impl Iterator<Item = (u32, u64)> {
                [$(($number, self.$name)),*].into_iter().filter_map(|(n, v)| Some((n, v?)))
            }

            /// Sets a limit by its number; false if there is none of that number.
            pub fn set(&mut self, number: u32, value: u64) -> bool {
                match number {
                    $($number => self.$name = Some(value),)*
                    _ => return false,
                }
                true
            }

            /// Sets a limit by its name, as in `receive_max`; false if there is none of that name.
            pub fn set_named(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = Some(value),)*
                    _ => return false,
                }
                true
            }
        }
    };
}

limits! {
    /// Messages it may publish per second.
    1 messages_per_s_max;
    /// Bytes it may publish per second.
    2 bytes_per_s_max;
    /// QoS 1 and 2 messages it may have unacknowledged towards the broker (Receive Maximum).
    3 receive_max;
    /// Largest packet it may send, in bytes.
    4 packet_bytes_max;
    /// Highest QoS.
    5 qos_max;
    /// Messages that may wait for it.
    6 queue_messages_max;
    /// Bytes that may wait for it.
    7 queue_bytes_max;
    /// Subscriptions it may have.
    8 subscriptions_max;
    /// Levels a topic or filter of its may have.
    9 topic_levels_max;
    /// Longest session expiry in seconds.
    10 session_expiry_s_max;
    /// 0: may not publish with retain.
    11 retain_allowed;
    /// 0: may not leave a will.
    12 will_allowed;
    /// 0: may not subscribe with wildcards.
    13 wildcard_subscriptions_allowed;
    /// 0: may not use shared subscriptions.
    14 shared_subscriptions_allowed;
    /// Longest keep alive in seconds, 1 to 65,535; a 5.0 client is told to use it (Server Keep Alive).
    15 keep_alive_s_max;
    /// Topic aliases it may set.
    16 topic_alias_max;
    /// QoS 1 and 2 messages that the broker may have unacknowledged towards it; it may ask for fewer.
    17 inflight_max;
    /// Bytes a topic or filter of its may have.
    18 topic_bytes_max;
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE.
    19 filters_per_packet_max;
    /// User properties of one packet, and of its will.
    20 user_properties_max;
    /// Bytes of their names and values together.
    21 user_properties_bytes_max;
    /// Milliseconds for which it may take none of its output.
    22 stalled_ms_max;
    /// 0: who publishes faster than it may is disconnected (0x96) instead of being read more slowly.
    23 rate_wait_allowed;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the border's form of limits: what is written is read back, and an unknown number is told.
    #[test]
    fn entries_are_read_back() {
        let limits = Limits { receive_max: Some(7), will_allowed: Some(0), ..Limits::default() };
        let mut back = Limits::default();
        for (number, value) in limits.entries() {
            assert!(back.set(number, value));
        }
        assert_eq!(back, limits);
        assert!(!back.set(9999, 1));
        assert!(back.set_named("will_allowed", 1) && !back.set_named("will", 1));
        assert_eq!(back, Limits { will_allowed: Some(1), ..limits });
    }
}
