//! rumqttc. What the lines mean: see `tests/interop/common.py`.

mod peer;

use std::fs;
use std::process::ExitCode;

use peer::{Brings, Peer, Seen, V4, V5};
use serde_json::Value;

const NOT_AUTHORIZED: u8 = 0x87;

/// A scenario: how it went, and why not.
type Went = Result<(), String>;

/// One version over one transport.
pub struct Cell {
    version: &'static str,
    transport: &'static str,
    host: String,
    port: u16,
    ca: Option<Vec<u8>>,
    shown: Option<(Vec<u8>, Vec<u8>)>,
}

impl Cell {
    fn new(broker: &Value, version: &'static str, transport: &'static str) -> Cell {
        let read = |key: &str| fs::read(broker[key].as_str().expect(key)).expect(key);
        let tls = transport.starts_with("mqtts");
        Cell {
            version,
            transport,
            host: broker["host"].as_str().expect("a host").to_owned(),
            port: broker["ports"][transport].as_u64().expect("a port") as u16,
            ca: tls.then(|| read("ca")),
            shown: transport.ends_with("-cert").then(|| (read("certificate"), read("key"))),
        }
    }

    fn name(&self, what: &str) -> String {
        format!("rumq{}{}{what}", self.version, self.transport)
    }

    fn topic(&self, what: &str) -> String {
        format!("interop/rumqttc/{}/{}/{what}", self.version, self.transport)
    }

    /// All scenarios; how many failed.
    fn run<P: Peer>(&self) -> usize {
        let mut scenarios: Vec<(String, Went)> = vec![("clean exit".into(), clean_exit::<P>(self))];
        for qos in 0..3 {
            scenarios.push((format!("QoS {qos} round trip"), round_trip::<P>(self, qos)));
        }
        scenarios.push(("wildcards".into(), wildcards::<P>(self)));
        scenarios.push(("large payload".into(), large::<P>(self)));
        scenarios.push(("retained".into(), retained::<P>(self)));
        scenarios.push(("will".into(), will::<P>(self)));
        scenarios.push(("resume".into(), resume::<P>(self)));
        scenarios.push(("denied".into(), denied::<P>(self)));
        if self.shown.is_some() {
            scenarios.push(("without a certificate".into(), without_certificate::<P>(self)));
        }
        for (name, went) in &scenarios {
            let (how, why) = match went {
                Ok(()) => ("ok", String::new()),
                Err(why) => ("FAILED", format!(": {}", why.replace('\n', " "))),
            };
            println!("{how} rumqttc {} {} {name}{why}", self.version, self.transport);
        }
        scenarios.iter().filter(|(_, went)| went.is_err()).count()
    }
}

fn main() -> ExitCode {
    let file = std::env::var("GATEMQ_INTEROP").expect("GATEMQ_INTEROP names the broker's file");
    let broker: Value = serde_json::from_slice(&fs::read(file).expect("the broker's file")).expect("JSON");
    let mut failed = 0;
    for transport in ["mqtt", "mqtts", "mqtts-cert"] {
        failed += Cell::new(&broker, "3.1.1", transport).run::<V4>();
        failed += Cell::new(&broker, "5", transport).run::<V5>();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn equal<T: PartialEq + std::fmt::Debug>(got: T, want: T, what: &str) -> Went {
    if got == want { Ok(()) } else { Err(format!("{what} is {got:?}, not {want:?}")) }
}

fn connect<P: Peer>(cell: &Cell, what: &str) -> Result<P, String> {
    connect_with(cell, what, Brings::default()).map(|(peer, _)| peer)
}

/// The client and Session Present.
fn connect_with<P: Peer>(cell: &Cell, what: &str, brings: Brings<'_>) -> Result<(P, bool), String> {
    let mut peer = P::new(cell, &cell.name(what), brings)?;
    let present = peer.wait(|seen| if let Seen::Connected(present) = seen { Some(*present) } else { None })?;
    Ok((peer, present))
}

fn subscribe<P: Peer>(peer: &mut P, filter: &str, qos: u8) -> Result<u8, String> {
    peer.subscribe(filter, qos)?;
    peer.wait(|seen| if let Seen::SubAck(code) = seen { Some(*code) } else { None })
}

/// The reason code of the last acknowledgement.
fn publish<P: Peer>(peer: &mut P, topic: &str, qos: u8, payload: &[u8]) -> Result<u8, String> {
    publish_as(peer, topic, qos, false, payload)
}

fn publish_as<P: Peer>(peer: &mut P, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<u8, String> {
    peer.publish(topic, qos, retain, payload)?;
    peer.wait(|seen| if let Seen::Published(code) = seen { Some(*code) } else { None })
}

fn message<P: Peer>(peer: &mut P) -> Result<(String, u8, Vec<u8>), String> {
    message_with_retain(peer).map(|(topic, qos, _, payload)| (topic, qos, payload))
}

fn message_with_retain<P: Peer>(peer: &mut P) -> Result<(String, u8, bool, Vec<u8>), String> {
    peer.wait(|seen| match seen {
        Seen::Message { topic, qos, retain, payload } => Some((topic.clone(), *qos, *retain, payload.clone())),
        _ => None,
    })
}

fn clean_exit<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "")?;
    peer.disconnect()?;
    peer.end()
}

fn round_trip<P: Peer>(cell: &Cell, qos: u8) -> Went {
    let topic = cell.topic(&format!("qos{qos}"));
    let (mut subscriber, mut publisher): (P, P) = (connect(cell, "-sub")?, connect(cell, "-pub")?);
    equal(subscribe(&mut subscriber, &topic, qos)?, qos, "granted QoS")?;
    for n in 0..20 {
        equal(publish(&mut publisher, &topic, qos, &[n])?, 0, "reason code")?;
    }
    for n in 0..20 {
        equal(message(&mut subscriber)?, (topic.clone(), qos, vec![n]), "message")?;
    }
    Ok(())
}

fn wildcards<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    equal(subscribe(&mut peer, &cell.topic("+/b"), 1)?, 1, "granted QoS")?;
    equal(subscribe(&mut peer, &cell.topic("x/#"), 1)?, 1, "granted QoS")?;
    for level in ["a/b", "a/c", "/b", "x", "x/y/z", "end/b"] {
        publish(&mut peer, &cell.topic(level), 1, level.as_bytes())?;
    }
    for level in ["a/b", "/b", "x", "x/y/z", "end/b"] {
        equal(message(&mut peer)?, (cell.topic(level), 1, level.as_bytes().to_vec()), "what matched")?;
    }
    Ok(())
}

fn large<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    let payload: Vec<u8> = (0..500_000).map(|n| (n % 251) as u8).collect();
    subscribe(&mut peer, &cell.topic("large"), 2)?;
    publish(&mut peer, &cell.topic("large"), 2, &payload)?;
    equal(message(&mut peer)?.2 == payload, true, "whether the payload is the same")
}

fn retained<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("retained");
    let mut publisher: P = connect(cell, "-pub")?;
    for payload in [b"first".as_slice(), b"second"] {
        equal(publish_as(&mut publisher, &topic, 1, true, payload)?, 0, "reason code")?;
    }
    let mut subscriber: P = connect(cell, "-sub")?;
    subscribe(&mut subscriber, &topic, 1)?;
    let got = message_with_retain(&mut subscriber)?;
    equal(got, (topic.clone(), 1, true, b"second".to_vec()), "what was retained")?;
    publish_as(&mut publisher, &topic, 1, true, b"")?;
    let mut subscriber: P = connect(cell, "-late")?;
    subscribe(&mut subscriber, &topic, 1)?;
    publish(&mut publisher, &topic, 1, b"live")?;
    let got = message_with_retain(&mut subscriber)?;
    equal(got, (topic, 1, false, b"live".to_vec()), "the first message after it was cleared")
}

/// Of a client that says goodbye, and of one whose connection breaks.
fn will<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("will");
    let mut watch: P = connect(cell, "-watch")?;
    subscribe(&mut watch, &topic, 1)?;
    let with_will = |what: &str, payload: &str| {
        let brings = Brings { will: Some((&topic, payload)), ..Brings::default() };
        connect_with::<P>(cell, what, brings).map(|(peer, _)| peer)
    };
    let mut polite = with_will("-polite", "polite")?;
    polite.disconnect()?;
    polite.end()?;
    drop(with_will("-broken", "broken")?);
    equal(message(&mut watch)?, (topic.clone(), 1, b"broken".to_vec()), "the first will")
}

fn resume<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("resume");
    let mut publisher: P = connect(cell, "-pub")?;
    for (what, says_goodbye) in [("-resume-polite", true), ("-resume-broken", false)] {
        let brings = Brings { stays: true, ..Brings::default() };
        let (mut peer, present) = connect_with::<P>(cell, what, brings)?;
        equal(present, false, "Session Present at first")?;
        equal(subscribe(&mut peer, &topic, 2)?, 2, "granted QoS")?;
        if says_goodbye {
            peer.disconnect()?;
            peer.end()?;
        }
        drop(peer);
        for n in 0..10 {
            publish(&mut publisher, &topic, 1 + n % 2, &[n])?;
        }
        let (mut peer, present) = connect_with::<P>(cell, what, brings)?;
        equal(present, true, "Session Present")?;
        for n in 0..10 {
            equal(message(&mut peer)?, (topic.clone(), 1 + n % 2, vec![n]), "what had waited")?;
        }
        drop(peer);
        let (_, present) = connect_with::<P>(cell, what, Brings::default())?;
        equal(present, false, "Session Present after a clean start")?;
    }
    Ok(())
}

/// MQTT 5 tells the reason; MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
fn denied<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-denied")?;
    equal(publish(&mut peer, &cell.topic("x"), 1, b"allowed twin")?, 0, "reason code")?;
    let refused = if P::TELLS_WHY { NOT_AUTHORIZED } else { 0x80 };
    equal(subscribe(&mut peer, "secret/x", 1)?, refused, "code of SUBACK")?;
    match P::TELLS_WHY {
        true => {
            equal(publish(&mut peer, "secret/x", 1, b"x")?, NOT_AUTHORIZED, "code of PUBACK")?;
            equal(publish(&mut peer, "secret/x", 2, b"x")?, NOT_AUTHORIZED, "code of PUBREC")?;
            equal(publish(&mut peer, &cell.topic("x"), 1, b"still here")?, 0, "reason code")
        }
        false => publish(&mut peer, "secret/x", 1, b"x").map_or(Ok(()), |code| Err(format!("PUBACK {code}"))),
    }
}

/// The listener demands a certificate: without one there is no CONNACK.
fn without_certificate<P: Peer>(cell: &Cell) -> Went {
    let bare = Cell { shown: None, ca: cell.ca.clone(), host: cell.host.clone(), ..*cell };
    connect::<P>(&bare, "-nobody").map_or(Ok(()), |_| Err("admitted".into()))
}
