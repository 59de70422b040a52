//! Bytes that nobody wrote on purpose: nothing panics, nothing is read past the end.

use gatemq_mqtt::codec::frame::{Framed, frame};
use gatemq_types::Protocol::{V5, V31, V311};
use proptest::prelude::*;

use crate::bytes::Reading::{Client, Exchange, First};
use crate::bytes::{connect, packet, s};

/// Valid packets to start from.
fn seeds() -> Vec<Vec<u8>> {
    let publish = [1, 1, 2, 0, 0, 0, 9, 8, 0, 1, b'r', 9, 0, 1, 7, 38, 0, 1, b'k', 0, 1, b'v', 3, 0, 1, b't'];
    let connect_properties = [0x11, 0, 0, 0, 9, 0x21, 0, 9, 0x27, 0, 0, 1, 0, 0x15, 0, 1, b'm', 0x16, 0, 1, 1];
    vec![
        packet(0x32, &[&s("a/b"), &[0, 1, publish.len() as u8], &publish, b"payload"]),
        packet(0x32, &[&s("a/b"), &[0, 1], b"payload"]),
        connect(
            "MQTT",
            5,
            0xF6,
            &[
                &[connect_properties.len() as u8],
                &connect_properties,
                &s("c"),
                &[5, 0x18, 0, 0, 0, 1],
                &s("w"),
                &s("p"),
                &s("u"),
                &s("x"),
            ],
        ),
        connect("MQTT", 4, 0xF6, &[&s("c"), &s("w"), &s("p"), &s("u"), &s("x")]),
        packet(0x82, &[&[0, 1, 2, 11, 1], &s("$share/g/a"), &[1], &s("b/#"), &[0x2D]]),
        packet(0xA2, &[&[0, 1, 0], &s("$share/g/a"), &s("b/#")]),
        packet(0x40, &[&[0, 1, 0x80, 4, 31, 0, 1, b'r']]),
        packet(0xE0, &[&[4, 5, 0x11, 0, 0, 0, 0]]),
        packet(0xF0, &[&[0x19, 8, 0x15, 0, 1, b'm', 0x16, 0, 1, 1]]),
    ]
}

fn read_everywhere(bytes: &[u8]) {
    for reading in [First, Exchange, Client(V31), Client(V311), Client(V5)] {
        // Whether it is refused does not matter here: it must not panic.
        let _ = reading.read(bytes);
    }
}

/// Guards the reader against packets that end early: every prefix of a valid packet, its length made to fit.
#[test]
fn truncated_packets_do_not_panic() {
    for seed in seeds() {
        assert!([First, Client(V311), Client(V5)].iter().any(|reading| reading.read(&seed).is_ok()), "{seed:02X?}");
        for end in 2..seed.len() {
            let body = &seed[2..end];
            read_everywhere(&packet(seed[0], &[body]));
            read_everywhere(&seed[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Guards the reader against any change of a valid packet.
    #[test]
    fn mutated_packets_do_not_panic(
        which in 0..seeds().len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = seeds().swap_remove(which);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_everywhere(&bytes);
    }

    /// 2.1.4, MQTT-1.5.5-1: a frame lies within the bytes, its length is the one announced and stands in the fewest bytes;
    /// an incomplete one needs more bytes than there are; no size above the maximum comes through.
    #[test]
    fn frames_of_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), max in 2u32..400) {
        match frame(&bytes, max) {
            Ok(Framed::Frame { first, head, len }) => {
                prop_assert!(first == bytes[0] && len <= bytes.len() && len <= max as usize);
                prop_assert_eq!(&packet(first, &[&bytes[head..len]]), &bytes[..len]);
            }
            Ok(Framed::Incomplete { need: 0 }) => prop_assert!(bytes.iter().skip(1).all(|byte| byte & 0x80 != 0)),
            Ok(Framed::Incomplete { need }) => prop_assert!(need > bytes.len() && need <= max as usize),
            Err(_) => {}
        }
        read_everywhere(&bytes);
    }
}
