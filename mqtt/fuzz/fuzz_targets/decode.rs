//! Any bytes in any state of any protocol: no panic, nothing read past the end, every frame within the bytes.
#![no_main]

use gatemq_mqtt::PacketLimits;
use gatemq_mqtt::codec::frame::{Framed, frame};
use gatemq_mqtt::connection::ExpectConnect;
use gatemq_mqtt_fuzz::{PROTOCOLS, connect, established, limits, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let limits = limits(choice);
    let _ = ExpectConnect::new(limits).frame(bytes);
    let Ok(Framed::Frame { first, head, len }) = frame(bytes, limits.packet_bytes_max) else { return };
    assert!(first == bytes[0] && head <= len && len <= bytes.len() && len <= limits.packet_bytes_max as usize);
    let bytes = &bytes[..len];
    let _ = ExpectConnect::new(limits).first(bytes, head);
    for version in 0..4 {
        let first = ExpectConnect::new(PacketLimits::default()).first(connect(version), 2);
        let (_, decision) = first.expect("a CONNECT");
        let _ = decision.packet(bytes, head);
    }
    for protocol in PROTOCOLS {
        if let Ok(packet) = established(protocol, limits).packet(bytes, head) {
            walk(&packet);
        }
    }
});
