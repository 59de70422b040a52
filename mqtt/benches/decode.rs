//! Nanoseconds to cut and read one packet. `cargo bench -p gatemq-mqtt`.

use divan::{Bencher, black_box};
use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::codec::properties::Property;
use gatemq_mqtt::codec::write;
use gatemq_mqtt::connection::{Established, ExpectConnect, Packet};
use gatemq_mqtt::{PacketLimits, topic};
use gatemq_types::Protocol;

fn main() {
    divan::main();
}

fn admitted(protocol: Protocol) -> Option<Established> {
    let connect: &[u8] = match protocol {
        Protocol::V5 => b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x01c",
        _ => b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c",
    };
    let (_, waiting) = ExpectConnect::new(PacketLimits::default()).first(connect, 2).ok()?;
    Some(waiting.accept(PacketLimits::default()))
}

/// Sum of payload lengths of the packets in `bytes`, so that nothing is optimized away.
fn read(state: &mut Established, bytes: &[u8]) -> usize {
    let (mut at, mut sum) = (0, 0);
    while let Ok(Framed::Frame { head, len, .. }) = state.frame(&bytes[at..]) {
        if let Ok(Packet::Publish(publish)) = state.packet(&bytes[at..at + len], head) {
            sum += publish.payload.len() + publish.topic.len();
        }
        at += len;
    }
    sum
}

fn bench(bencher: Bencher, protocol: Protocol, qos: u8, properties: &[u8]) {
    let mut bytes = Vec::new();
    for _ in 0..64 {
        let at =
            write::publish(&mut bytes, protocol, 0x30 | qos << 1, "load/site-1/device-17/state", properties, &[7; 64]);
        if qos > 0 {
            bytes[at + 1] = 1;
        }
    }
    let Some(mut state) = admitted(protocol) else { return };
    assert_eq!(read(&mut state, &bytes), 64 * (64 + 27), "every packet is read");
    bencher.counter(divan::counter::ItemsCount::new(64usize)).bench_local(|| read(&mut state, black_box(&bytes)));
}

/// 64 PUBLISH packets of MQTT 3.1.1 at QoS 0.
#[divan::bench]
fn publish_64_v311_qos0(bencher: Bencher) {
    bench(bencher, Protocol::V311, 0, &[]);
}

/// 64 PUBLISH packets of MQTT 5.0 at QoS 1, without properties.
#[divan::bench]
fn publish_64_v5_qos1(bencher: Bencher) {
    bench(bencher, Protocol::V5, 1, &[]);
}

/// 64 PUBLISH packets of MQTT 5.0 at QoS 1, with an expiry and a user property.
#[divan::bench]
fn publish_64_v5_qos1_properties(bencher: Bencher) {
    let mut properties = Vec::new();
    Property::MessageExpiry(60).write(&mut properties);
    Property::User(("trace", "0123456789abcdef")).write(&mut properties);
    bench(bencher, Protocol::V5, 1, &properties);
}

/// One filter with a wildcard against one topic.
#[divan::bench]
fn matches() -> bool {
    topic::matches(black_box("load/+/device-17/#"), black_box("load/site-1/device-17/state"))
}
