//! Bytes cut at arbitrary places lead to what they lead to as a whole.
#![no_main]

use gatemq_mqtt_fuzz::{Script, connect, limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, first, step, rest @ ..] = data else { return };
    let limits = limits(*choice);
    let bytes = [connect(*first), rest].concat();
    let mut whole = Script::new(limits);
    whole.feed(&bytes);
    let mut cut = Script::new(limits);
    // Pieces of 1 to 16 bytes, in an order that the input decides.
    let (mut left, mut random) = (bytes.as_slice(), *step);
    while !left.is_empty() {
        random = random.wrapping_mul(181).wrapping_add(77);
        let (piece, others) = left.split_at((usize::from(random >> 4) + 1).min(left.len()));
        cut.feed(piece);
        left = others;
    }
    assert_eq!(whole.told, cut.told);
});
