//! What both versions have.

use std::time::{Duration, Instant};

use crate::cell::{Cell, Scenario, Went, check, connect, connect_as, connect_with, equal};
use crate::peer::{Brings, Peer};
use crate::v4::V4;

const COUNT: usize = 20;

/// Those of one version.
pub fn scenarios<P: Peer>() -> Vec<Scenario> {
    vec![
        ("clean exit", clean_exit::<P>),
        ("password", password::<P>),
        ("wrong password", wrong_password::<P>),
        ("QoS 0", round_trip::<P, 0>),
        ("QoS 1", round_trip::<P, 1>),
        ("QoS 2", round_trip::<P, 2>),
        ("large payload", large::<P>),
        ("empty payload", empty::<P>),
        ("odd topic names", odd_topics::<P>),
        ("wildcards", wildcards::<P>),
        ("overlapping subscriptions", overlapping::<P>),
        ("several filters in one SUBSCRIBE", several_filters::<P>),
        ("unsubscribe", unsubscribe::<P>),
        ("denied subscription", denied_subscription::<P>),
        ("denied publish", denied_publish::<P>),
        ("retained", retained::<P>),
        ("retained message cleared", retained_cleared::<P>),
        ("will", will::<P>),
        ("retained will", retained_will::<P>),
        ("no will after DISCONNECT", no_will::<P>),
        ("session kept, QoS 1 queued", session_kept::<P, 1>),
        ("session kept, QoS 2 queued", session_kept::<P, 2>),
        ("redelivery with DUP", redelivery::<P>),
        ("clean session", clean_session::<P>),
        ("shared subscription", shared::<P>),
        ("$SYS", sys_topics::<P>),
        ("takeover", takeover::<P>),
        ("keep alive", keep_alive::<P>),
    ]
}

const STAYS: Brings<'_> = Brings { stays: true, will: None, keep_alive_s: 30, user: None, manual_acks: false };

fn clean_exit<P: Peer>(cell: &Cell) -> Went {
    connect::<P>(cell, "")?.leave()
}

fn password<P: Peer>(cell: &Cell) -> Went {
    let brings = Brings { user: Some((&cell.user.0, &cell.user.1)), ..Brings::default() };
    let (mut peer, _) = connect_with::<P>(cell, "-user", brings)?;
    equal(peer.publish(&cell.topic("x"), 1, "x")?, 0, "reason code")
}

fn wrong_password<P: Peer>(cell: &Cell) -> Went {
    let brings = Brings { user: Some((&cell.user.0, "wrong")), ..Brings::default() };
    match connect_with::<P>(cell, "-user", brings) {
        Ok(_) => Err("admitted".into()),
        Err(why) => check(why.contains("BadUserNamePassword"), &why),
    }
}

pub fn empty_client_id(cell: &Cell) -> Went {
    let topic = cell.topic("nameless");
    let ((mut one, _), (mut two, _)) =
        (connect_as::<V4>(cell, "", Brings::default())?, connect_as::<V4>(cell, "", Brings::default())?);
    for peer in [&mut one, &mut two] {
        peer.subscribe(&topic, 1)?;
    }
    one.publish(&topic, 1, "x")?;
    for peer in [&mut one, &mut two] {
        equal(peer.message()?.text(), "x".into(), "what arrived")?;
    }
    Ok(())
}

fn round_trip<P: Peer, const QOS: u8>(cell: &Cell) -> Went {
    let (topic, end) = (cell.topic(&format!("qos{QOS}")), cell.topic("end"));
    let (mut subscriber, mut publisher): (P, P) = (connect(cell, "-sub")?, connect(cell, "-pub")?);
    equal(subscriber.subscribe_all(&[(&topic, QOS), (&end, QOS)])?, vec![QOS, QOS], "granted QoS")?;
    for n in 0..COUNT {
        equal(publisher.publish(&topic, QOS, &n.to_string())?, 0, "reason code")?;
    }
    publisher.publish(&end, QOS, "end")?;
    for wanted in (0..COUNT).map(|n| n.to_string()).chain(["end".into()]) {
        let got = subscriber.message()?;
        equal((got.text(), got.qos, got.retain, got.dup), (wanted, QOS, false, false), "message")?;
    }
    Ok(())
}

fn large<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    let payload: Vec<u8> = (0..500_000).map(|n| (n % 251) as u8).collect();
    peer.subscribe(&cell.topic("large"), 2)?;
    peer.publish_as(&cell.topic("large"), 2, false, &payload)?;
    check(peer.message()?.payload == payload, "whether the payload is the same")
}

fn empty<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    peer.subscribe(&cell.topic("empty"), 1)?;
    peer.publish(&cell.topic("empty"), 1, "")?;
    equal(peer.message()?.text(), String::new(), "the payload")
}

fn odd_topics<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    peer.subscribe(&format!("/{}", cell.topic("#")), 1)?;
    for topic in ["/ü/", "$not-first", " "].map(|end| format!("/{}", cell.topic(end))) {
        peer.publish(&topic, 1, "x")?;
        equal(peer.message()?.topic, topic, "topic")?;
    }
    Ok(())
}

fn wildcards<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    equal(peer.subscribe(&cell.topic("wild/+/b"), 1)?, 1, "granted QoS")?;
    equal(peer.subscribe(&cell.topic("wild/x/#"), 1)?, 1, "granted QoS")?;
    for level in ["a/b", "a/c", "/b", "x", "x/y/z", "end/b"] {
        peer.publish(&cell.topic(&format!("wild/{level}")), 1, level)?;
    }
    equal(peer.texts(5)?, ["a/b", "/b", "x", "x/y/z", "end/b"].map(String::from).to_vec(), "what matched")
}

/// A copy for each that matches, with its QoS.
fn overlapping<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    let [all, one, end] = ["over/#", "over/+", "over-end"].map(|what| cell.topic(what));
    peer.subscribe_all(&[(&all, 0), (&one, 1), (&end, 1)])?;
    peer.publish(&cell.topic("over/x"), 1, "twice")?;
    peer.publish(&end, 1, "end")?;
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = peer.message()?;
        got.push((message.text(), message.qos));
    }
    got.sort();
    equal(got, [("end", 1), ("twice", 0), ("twice", 1)].map(|(text, qos)| (text.to_owned(), qos)).to_vec(), "what came")
}

fn several_filters<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    let topics = ["several/0", "several/1", "several/2"].map(|what| cell.topic(what));
    equal(peer.subscribe_all(&[(&topics[2], 2), (&topics[0], 0), (&topics[1], 1)])?, vec![2, 0, 1], "granted QoS")?;
    for (qos, topic) in topics.iter().enumerate() {
        peer.publish(topic, 2, "x")?;
        equal(usize::from(peer.message()?.qos), qos, "QoS of what arrived")?;
    }
    Ok(())
}

fn unsubscribe<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-both")?;
    let (topic, end) = (cell.topic("unsubscribe"), cell.topic("unsubscribe/end"));
    peer.subscribe_all(&[(&topic, 1), (&end, 0)])?;
    equal(peer.unsubscribe(&topic)?, 0, "code of UNSUBACK")?;
    peer.publish(&topic, 1, "gone")?;
    peer.publish(&end, 1, "end")?;
    equal(peer.message()?.text(), "end".into(), "the next message")
}

fn denied_subscription<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-deny")?;
    let granted = cell.topic("granted");
    let refused = if P::TELLS_WHY { 0x87 } else { 0x80 };
    equal(peer.subscribe_all(&[("secret/x", 1), (&granted, 1)])?, vec![refused, 1], "codes of SUBACK")?;
    peer.publish(&granted, 1, "granted")?;
    equal(peer.message()?.text(), "granted".into(), "what arrived")
}

/// MQTT 5 tells the reason; MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
fn denied_publish<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-deny")?;
    equal(peer.publish(&cell.topic("x"), 1, "allowed twin")?, 0, "reason code")?;
    match P::TELLS_WHY {
        true => {
            equal(peer.publish("secret/x", 1, "x")?, 0x87, "code of PUBACK")?;
            equal(peer.publish("secret/x", 2, "x")?, 0x87, "code of PUBREC")?;
            equal(peer.publish(&cell.topic("x"), 1, "still here")?, 0, "reason code")
        }
        false => peer.publish("secret/x", 1, "x").map_or(Ok(()), |code| Err(format!("PUBACK {code}"))),
    }
}

/// The last one is given to who subscribes, with RETAIN and the lower QoS.
fn retained<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("retained");
    let (mut publisher, mut subscriber): (P, P) = (connect(cell, "-pub")?, connect(cell, "-sub")?);
    for (qos, payload) in [(1, "first"), (2, "second")] {
        equal(publisher.publish_as(&topic, qos, true, payload.as_bytes())?, 0, "reason code")?;
    }
    subscriber.subscribe(&topic, 1)?;
    let got = subscriber.message()?;
    equal((got.text(), got.qos, got.retain), ("second".into(), 1, true), "what was retained")?;
    publisher.publish_as(&topic, 1, true, b"third")?;
    let got = subscriber.message()?;
    equal((got.text(), got.retain), ("third".into(), false), "what is new")
}

fn retained_cleared<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("cleared");
    let mut peer: P = connect(cell, "-both")?;
    for payload in [b"first".as_slice(), b""] {
        peer.publish_as(&topic, 1, true, payload)?;
    }
    peer.subscribe(&topic, 1)?;
    peer.publish(&topic, 1, "live")?;
    let got = peer.message()?;
    equal((got.text(), got.retain), ("live".into(), false), "the first message after it was cleared")
}

/// A client with a will.
fn testator<P: Peer>(cell: &Cell, what: &str, topic: &str, qos: u8, retain: bool) -> Result<P, String> {
    let brings = Brings { will: Some((topic, what, qos, retain)), ..Brings::default() };
    connect_with(cell, &format!("-{what}"), brings).map(|(peer, _)| peer)
}

fn will<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("will");
    let mut watch: P = connect(cell, "-watch")?;
    watch.subscribe(&topic, 2)?;
    for qos in 0..3 {
        drop(testator::<P>(cell, &format!("will{qos}"), &topic, qos, false)?);
    }
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = watch.message()?;
        got.push((message.text(), message.qos, message.retain));
    }
    got.sort();
    equal(got, (0..3).map(|qos| (format!("will{qos}"), qos, false)).collect(), "the wills")
}

fn retained_will<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("retained-will");
    let mut watch: P = connect(cell, "-watch")?;
    watch.subscribe(&topic, 1)?;
    drop(testator::<P>(cell, "kept", &topic, 1, true)?);
    equal(watch.message()?.text(), "kept".into(), "the will")?;
    let mut late: P = connect(cell, "-late")?;
    late.subscribe(&topic, 1)?;
    let got = late.message()?;
    equal((got.text(), got.retain), ("kept".into(), true), "what is retained")?;
    watch.publish_as(&topic, 1, true, b"").map(drop)
}

fn no_will<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("no-will");
    let mut watch: P = connect(cell, "-watch")?;
    watch.subscribe(&topic, 1)?;
    testator::<P>(cell, "polite", &topic, 1, false)?.leave()?;
    drop(testator::<P>(cell, "broken", &topic, 1, false)?);
    equal(watch.message()?.text(), "broken".into(), "the first will")
}

fn session_kept<P: Peer, const QOS: u8>(cell: &Cell) -> Went {
    let (topic, what) = (cell.topic(&format!("kept{QOS}")), format!("-kept{QOS}"));
    let mut publisher: P = connect(cell, "-pub")?;
    let (mut peer, present) = connect_with::<P>(cell, &what, STAYS)?;
    equal(present, false, "Session Present at first")?;
    equal(peer.subscribe(&topic, 2)?, 2, "granted QoS")?;
    // With QoS 1 it says goodbye, with QoS 2 the connection breaks.
    if QOS == 1 {
        peer.leave()?
    } else {
        drop(peer)
    }
    for n in 0..COUNT {
        publisher.publish(&topic, QOS, &n.to_string())?;
    }
    let (mut peer, present) = connect_with::<P>(cell, &what, STAYS)?;
    equal(present, true, "Session Present")?;
    publisher.publish(&topic, QOS, "end")?;
    for wanted in (0..COUNT).map(|n| n.to_string()).chain(["end".into()]) {
        let got = peer.message()?;
        equal((got.text(), got.qos), (wanted, QOS), "what had waited")?;
    }
    peer.leave()?;
    connect::<P>(cell, &what).map(drop)
}

/// What was not acknowledged comes again to the session that is resumed.
fn redelivery<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("again");
    let mut publisher: P = connect(cell, "-pub")?;
    let (mut peer, _) = connect_with::<P>(cell, "-again", Brings { manual_acks: true, ..STAYS })?;
    peer.subscribe(&topic, 2)?;
    for qos in [1, 2] {
        publisher.publish(&topic, qos, &qos.to_string())?;
        equal(peer.message()?.dup, false, "DUP at first")?;
    }
    drop(peer);
    let (mut peer, _) = connect_with::<P>(cell, "-again", STAYS)?;
    publisher.publish(&topic, 1, "end")?;
    for wanted in [("1", true), ("2", true), ("end", false)] {
        let got = peer.message()?;
        equal((got.text().as_str(), got.dup), wanted, "what came again")?;
    }
    peer.leave()?;
    connect::<P>(cell, "-again").map(drop)
}

/// A clean start ends the session that was kept: its subscriptions and what waited.
fn clean_session<P: Peer>(cell: &Cell) -> Went {
    let (topic, end) = (cell.topic("clean"), cell.topic("clean/end"));
    let mut publisher: P = connect(cell, "-pub")?;
    let (mut peer, _) = connect_with::<P>(cell, "-clean", STAYS)?;
    peer.subscribe(&topic, 1)?;
    peer.leave()?;
    publisher.publish(&topic, 1, "waited")?;
    let (mut peer, present) = connect_with::<P>(cell, "-clean", Brings::default())?;
    equal(present, false, "Session Present after a clean start")?;
    publisher.publish(&topic, 1, "not subscribed")?;
    peer.subscribe(&end, 1)?;
    publisher.publish(&end, 1, "end")?;
    equal(peer.message()?.text(), "end".into(), "what came")
}

/// Each message goes to one of the group.
fn shared<P: Peer>(cell: &Cell) -> Went {
    let (topic, end) = (cell.topic("shared"), cell.topic("shared/end"));
    let group = format!("$share/group/{topic}");
    let mut publisher: P = connect(cell, "-pub")?;
    let mut members: Vec<P> = vec![connect(cell, "-one")?, connect(cell, "-two")?];
    for member in &mut members {
        equal(member.subscribe_all(&[(&group, 1), (&end, 1)])?, vec![1, 1], "granted QoS")?;
    }
    let mut sent: Vec<String> = (0..2 * COUNT).map(|n| n.to_string()).collect();
    for payload in &sent {
        publisher.publish(&topic, 1, payload)?;
    }
    publisher.publish(&end, 1, "end")?;
    let mut got = Vec::new();
    for member in &mut members {
        let before = got.len();
        loop {
            match member.message()?.text() {
                text if text == "end" => break,
                text => got.push(text),
            }
        }
        check(got.len() > before, "whether each has a share")?;
    }
    sent.sort();
    got.sort();
    equal(got, sent, "what the group got")
}

fn sys_topics<P: Peer>(cell: &Cell) -> Went {
    let mut peer: P = connect(cell, "-sys")?;
    equal(peer.subscribe("$SYS/broker/version", 0)?, 0, "granted QoS")?;
    let version = peer.message()?.text();
    check(version.starts_with("gatemq "), &version)
}

fn takeover<P: Peer>(cell: &Cell) -> Went {
    let (mut first, mut second): (P, P) = (connect(cell, "-twin")?, connect(cell, "-twin")?);
    first.end()?;
    equal(second.publish(&cell.topic("x"), 1, "the second is here")?, 0, "reason code")
}

/// Without its pings it would be closed after one and a half times the keep alive.
fn keep_alive<P: Peer>(cell: &Cell) -> Went {
    let topic = cell.topic("idle");
    let brings = Brings { keep_alive_s: P::KEEP_ALIVE_S, ..Brings::default() };
    let (mut peer, _) = connect_with::<P>(cell, "-idle", brings)?;
    let began = Instant::now();
    peer.pinged()?;
    peer.pinged()?;
    check(began.elapsed() > Duration::from_millis(1500 * P::KEEP_ALIVE_S), "whether it was idle for so long")?;
    peer.subscribe(&topic, 1)?;
    peer.publish(&topic, 1, "still here")?;
    equal(peer.message()?.text(), "still here".into(), "what arrived")
}

/// The listener demands a certificate: without one there is no CONNACK.
pub fn without_certificate<P: Peer>(cell: &Cell) -> Went {
    connect::<P>(&cell.without_certificate(), "-nobody").map_or(Ok(()), |_| Err("admitted".into()))
}
