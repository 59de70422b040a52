//! A flood from one address hides nothing: a hundred of its events of a kind are told in a second, the others are counted in one
//! event, nothing is lost between the two, and what others do meanwhile is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gatemq_tests::PATIENCE;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use gatemq_tests::tape::Tape;
use serde_json::Value;

const CALM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const LOUD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TOLD_PER_S_MAX: usize = 100;

/// One worker: what is told of a second is told by one thread.
fn setup() -> Setup {
    let setup = Setup::new().mqtt("mqtt").tape();
    let setup = setup.faults("address_calls_max = 0\nconfig.grants = [{ allow = [\"all\"], filter = \"own/#\" }]");
    ["node.workers=1", "listeners.mqtt.connections_per_s_max=0", "listeners.mqtt.address_connections_per_s_max=0"]
        .iter()
        .fold(setup, |setup, set| setup.argument("--set").argument(set))
}

fn is_from(event: &Value, source: Ipv4Addr) -> bool {
    let remote = event["remote"].as_str().and_then(|remote| remote.parse::<SocketAddr>().ok());
    remote.is_some_and(|remote| remote.ip() == IpAddr::V4(source))
}

/// Of this kind, of whom `is` says that it is the flood: how many were told one by one, how many were counted; and how many there were
/// of all by the broker's own counter. In no second were more told than may be.
fn told_counted_and_all(broker: Broker, kind: &str, is: impl Fn(&Value) -> bool) -> (u64, u64, u64) {
    let (ended, setup) = broker.stop_to_start_again();
    let mut tape = Tape::new(setup.directory().join("events.json"));
    let (mut seconds, mut counted) = (BTreeMap::new(), 0);
    for event in tape.events().iter().filter(|e| is(e)) {
        if event["event"] == kind {
            *seconds.entry(event["time_ms"].as_u64().unwrap() / 1000).or_insert(0) += 1;
        }
        if event["event"] == "EventsCoalesced" && event["fields"]["kind"] == kind {
            counted += event["fields"]["count"].as_u64().unwrap();
        }
    }
    assert!(seconds.values().all(|told| *told <= TOLD_PER_S_MAX), "{seconds:?}");
    let total = format!("event=\"{kind}\" n=");
    let line = ended.log.lines().find_map(|line| line.split_once(&total)).unwrap_or_else(|| panic!("{}", ended.log));
    (seconds.values().sum::<usize>() as u64, counted, line.1.trim().parse().unwrap())
}

/// Strangers at one address send what is no packet, as fast as they can, until it is told that there were more; each is another
/// connection, so none is named. One at another address is told meanwhile, with its connection.
#[test]
fn a_flood_of_strangers_is_counted_and_others_are_told() {
    let mut broker = setup().start();
    let address = broker.address("mqtt");
    let over = AtomicBool::new(false);
    let deadline = Instant::now() + PATIENCE;
    let malformed = |source| {
        let mut stranger = Client::tcp_from(source, address, Version::V5).unwrap();
        stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap();
        stranger.expect_closed();
    };
    let sent: u64 = std::thread::scope(|all| {
        let flood = || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) && Instant::now() < deadline {
                malformed(LOUD);
                sent += 1;
            }
            sent
        };
        let floods: Vec<_> = (0..4).map(|_| all.spawn(flood)).collect();
        let told = broker.tape().find(PATIENCE, |e| e["event"] == "EventsCoalesced");
        malformed(CALM);
        let calm = broker.tape().find(PATIENCE, |e| e["event"] == "PacketMalformed" && is_from(e, CALM));
        over.store(true, Ordering::Relaxed);
        let told = told.expect("there are more than are told");
        assert_eq!(
            (&told["fields"]["kind"], &told["fields"]["address"]),
            (&"PacketMalformed".into(), &"127.0.0.2/32".into())
        );
        assert_eq!((&told["remote"], &told["connection"]), (&"127.0.0.2:0".into(), &Value::Null));
        assert!(calm.expect("it is told")["connection"].is_u64());
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    let (told, counted, all) = told_counted_and_all(broker, "PacketMalformed", |e| is_from(e, LOUD));
    assert!(counted > 0);
    assert_eq!((told + counted, told + counted), (sent, all - 1), "{told} told and {counted} counted");
}

/// Two clients behind one address: what one of them may not publish is counted under its name; the other, which does so once, is told.
#[test]
fn promise_7_a_client_is_not_counted_with_its_neighbour() {
    const SENT: u64 = 3000;
    let mut broker = setup().start();
    let come = |client_id: &str| {
        let mut client = Client::tcp_from(LOUD, broker.address("mqtt"), Version::V5).unwrap();
        assert_eq!(client.connect(client_id).unwrap(), 0);
        client
    };
    let (mut loud, mut calm) = (come("loud"), come("calm"));
    for _ in 0..SENT {
        loud.publish("denied", 0, b"").unwrap();
    }
    calm.publish("denied", 0, b"").unwrap();
    loud.ping();
    calm.ping();
    let told = broker.tape().wait_for("what was counted", |e| e["event"] == "EventsCoalesced");
    assert_eq!((&told["client_id"], &told["fields"]["kind"]), (&"loud".into(), &"PublishDenied".into()));
    assert!(told["connection"].is_u64(), "they are of one connection: {told}");
    broker.tape().wait_for_client("PublishDenied", "calm");
    let (told, counted, all) = told_counted_and_all(broker, "PublishDenied", |e| e["client_id"] == "loud");
    assert_eq!((told + counted, all), (SENT, SENT + 1), "{told} told and {counted} counted");
}
