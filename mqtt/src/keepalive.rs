//! How long silence is borne.

/// Milliseconds of silence after which a client is gone: one and a half times its keep alive (MQTT-3.1.2-22); `None` for
/// a keep alive of 0, which switches it off. `keep_alive_s` is the client's, or the server's where CONNACK gave one.
pub const fn silence_ms_max(keep_alive_s: u16) -> Option<u32> {
    match keep_alive_s {
        0 => None,
        seconds => Some(seconds as u32 * 1500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MQTT-3.1.2-22: one and a half times, to the half second; 0 is never.
    #[test]
    fn one_and_a_half_times() {
        assert_eq!(silence_ms_max(0), None);
        assert_eq!(silence_ms_max(1), Some(1_500));
        assert_eq!(silence_ms_max(60), Some(90_000));
        assert_eq!(silence_ms_max(u16::MAX), Some(98_302_500));
    }
}
