//! What only MQTT 5 has.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Filter, LastWillProperties, PublishProperties, RetainForwardRule, SubscribeProperties,
};

use crate::cell::{Cell, Scenario, Went, check, connect, connect_with, equal};
use crate::peer::{Brings, Peer};
use crate::v5::{V5, qos};

pub const SCENARIOS: [Scenario; 25] = [
    ("session expiry", session_expiry),
    ("message expiry", message_expiry),
    ("payload format indicator", payload_format_indicator),
    ("content type", content_type),
    ("user properties", user_properties),
    ("request and response", request_and_response),
    ("response information", response_information),
    ("subscription identifiers", subscription_identifiers),
    ("no local", no_local),
    ("retain handling", retain_handling),
    ("retain as published", retain_as_published),
    ("topic alias to the broker", topic_alias_to_the_broker),
    ("topic alias to the client", topic_alias_to_the_client),
    ("receive maximum", receive_maximum),
    ("maximum packet size", maximum_packet_size),
    ("server keep alive", server_keep_alive),
    ("assigned client identifier", assigned_client_identifier),
    ("announced limits", announced_limits),
    ("reason codes", reason_codes),
    ("redirection", redirection),
    ("will delay", will_delay),
    ("will delay cancelled", will_delay_cancelled),
    ("will properties", will_properties),
    ("DISCONNECT by the broker", disconnect_by_the_broker),
    ("enhanced authentication", enhanced_authentication),
];

/// A client with options of its own; Session Present.
fn admitted(
    cell: &Cell,
    name: &str,
    more: impl FnOnce(&mut MqttOptions) -> &mut MqttOptions,
) -> Result<(V5, bool), String> {
    let mut peer = V5::with(cell, name, Brings::default(), None, more)?;
    let present = peer.connected()?;
    Ok((peer, present))
}

fn peer(cell: &Cell, what: &str, more: impl FnOnce(&mut MqttOptions) -> &mut MqttOptions) -> Result<V5, String> {
    admitted(cell, &cell.name(what), more).map(|(peer, _)| peer)
}

fn stays(options: &mut MqttOptions, expiry_s: u32) -> &mut MqttOptions {
    options.set_clean_start(false).set_session_expiry_interval(Some(expiry_s))
}

/// It is over after its second. The twins are the sessions that are kept.
fn session_expiry(cell: &Cell) -> Went {
    let name = cell.name("-brief");
    let brief = || admitted(cell, &name, |options| stays(options, 1));
    brief()?.0.leave()?;
    sleep(Duration::from_millis(2200));
    equal(brief()?.1, false, "Session Present afterwards")
}

fn message_expiry(cell: &Cell) -> Went {
    let topic = cell.topic("ages");
    let mut publisher: V5 = connect(cell, "-pub")?;
    let mut away = peer(cell, "-ages", |options| stays(options, 1000))?;
    away.subscribe(&topic, 1)?;
    away.leave()?;
    for (payload, seconds) in [("goes", 1), ("stays", 60)] {
        let with = PublishProperties { message_expiry_interval: Some(seconds), ..Default::default() };
        publisher.publish_with(&topic, payload, with)?;
    }
    sleep(Duration::from_millis(2200));
    publisher.publish(&topic, 1, "end")?;
    let mut back = peer(cell, "-ages", |options| stays(options, 0))?;
    let (kept, end) = (back.message()?, back.message()?);
    equal((kept.text(), end.text()), ("stays".into(), "end".into()), "what waited")?;
    let left = kept.properties.message_expiry_interval;
    check(left.is_some_and(|left| left > 30 && left <= 58), &format!("{left:?} s remain of 60"))?;
    equal(end.properties.message_expiry_interval, None, "an expiry that nobody asked for")
}

/// Publishes with these properties and without; they must arrive as they are.
fn pass_on(cell: &Cell, what: &str, with: PublishProperties) -> Went {
    let topic = cell.topic(what);
    let pairs = |of: &str| vec![("of".to_owned(), of.to_owned())];
    let mut both = peer(cell, "-both", |options| options.set_user_properties(pairs("CONNECT")))?;
    let filter = Filter::new(&topic, qos(1)?);
    both.subscribe_with(filter, SubscribeProperties { id: None, user_properties: pairs("SUBSCRIBE") })?;
    for with in [with, PublishProperties::default()] {
        both.publish_with(&topic, "x", with.clone())?;
        equal(both.message()?.properties, with, "properties")?;
    }
    Ok(())
}

fn payload_format_indicator(cell: &Cell) -> Went {
    pass_on(cell, "format", PublishProperties { payload_format_indicator: Some(1), ..Default::default() })
}

fn content_type(cell: &Cell) -> Went {
    pass_on(cell, "type", PublishProperties { content_type: Some("text/plain".into()), ..Default::default() })
}

fn some_pairs() -> Vec<(String, String)> {
    [("b", "2"), ("a", "1"), ("b", "again"), ("ü", "")].map(|(name, value)| (name.into(), value.into())).to_vec()
}

fn user_properties(cell: &Cell) -> Went {
    pass_on(cell, "user", PublishProperties { user_properties: some_pairs(), ..Default::default() })
}

fn request_and_response(cell: &Cell) -> Went {
    let (topic, answers) = (cell.topic("request"), cell.topic("answers"));
    let data: Vec<u8> = (0..=255).collect();
    let (mut server, mut asks): (V5, V5) = (connect(cell, "-serves")?, connect(cell, "-asks")?);
    server.subscribe(&topic, 1)?;
    asks.subscribe(&answers, 1)?;
    let correlation_data = Some(data.clone().into());
    let request = PublishProperties { response_topic: Some(answers), correlation_data, ..PublishProperties::default() };
    asks.publish_with(&topic, "question", request)?;
    let asked = server.message()?.properties;
    let to = asked.response_topic.ok_or("no Response Topic")?;
    let answer = PublishProperties { correlation_data: asked.correlation_data, ..Default::default() };
    server.publish_with(&to, "answer", answer)?;
    let got = asks.message()?;
    equal((got.text(), got.properties.correlation_data), ("answer".into(), Some(data.into())), "the answer")
}

fn response_information(cell: &Cell) -> Went {
    let asks = peer(cell, "-asks", |options| options.set_request_response_info(Some(1)))?;
    equal(asks.connack()?.response_information, Some("answers/".into()), "Response Information")?;
    let silent = peer(cell, "-silent", |options| options)?;
    equal(silent.connack()?.response_information, None, "what is told to who does not ask")
}

fn subscription_identifiers(cell: &Cell) -> Went {
    let mut both: V5 = connect(cell, "-both")?;
    for (what, id) in [("identifier/#", 1), ("identifier/+", 268_435_455)] {
        let with = SubscribeProperties { id: Some(id), user_properties: Vec::new() };
        both.subscribe_with(Filter::new(cell.topic(what), qos(1)?), with)?;
    }
    both.publish(&cell.topic("identifier/x"), 1, "x")?;
    let mut got = [both.message()?, both.message()?].map(|message| message.properties.subscription_identifiers);
    got.sort();
    equal(got, [vec![1], vec![268_435_455]], "Subscription Identifiers")
}

fn subscribe_with_options(peer: &mut V5, filter: Filter) -> Went {
    peer.subscribe_with(filter, SubscribeProperties { id: None, user_properties: Vec::new() }).map(drop)
}

fn no_local(cell: &Cell) -> Went {
    let topic = cell.topic("no-local");
    let (mut one, mut two): (V5, V5) = (connect(cell, "-one")?, connect(cell, "-two")?);
    subscribe_with_options(&mut one, Filter { nolocal: true, ..Filter::new(&topic, qos(1)?) })?;
    one.publish(&topic, 1, "own")?;
    two.publish(&topic, 1, "other")?;
    equal(one.message()?.text(), "other".into(), "the first message")
}

/// At each SUBSCRIBE, at the first, never.
fn retain_handling(cell: &Cell) -> Went {
    let topic = cell.topic("handling");
    let mut both: V5 = connect(cell, "-both")?;
    both.publish_as(&topic, 1, true, b"retained")?;
    let rules = [RetainForwardRule::OnEverySubscribe, RetainForwardRule::OnNewSubscribe, RetainForwardRule::Never];
    for (rule, wanted) in rules.into_iter().zip([2, 1, 0]) {
        for _ in 0..2 {
            let filter = Filter { retain_forward_rule: rule.clone(), ..Filter::new(&topic, qos(1)?) };
            subscribe_with_options(&mut both, filter)?;
        }
        both.publish(&topic, 1, "live")?;
        let mut expected = vec!["retained".to_owned(); wanted];
        expected.push("live".into());
        equal(both.texts(wanted + 1)?, expected, &format!("what {rule:?} gives"))?;
        both.unsubscribe(&topic)?;
    }
    both.publish_as(&topic, 1, true, b"").map(drop)
}

fn retain_as_published(cell: &Cell) -> Went {
    let topic = cell.topic("published");
    let mut both: V5 = connect(cell, "-both")?;
    for preserve_retain in [true, false] {
        let retain_forward_rule = RetainForwardRule::Never;
        let filter = Filter { preserve_retain, retain_forward_rule, ..Filter::new(&topic, qos(1)?) };
        subscribe_with_options(&mut both, filter)?;
        both.publish_as(&topic, 1, true, b"x")?;
        equal(both.message()?.retain, preserve_retain, "RETAIN")?;
    }
    both.publish_as(&topic, 1, true, b"").map(drop)
}

fn topic_alias_to_the_broker(cell: &Cell) -> Went {
    let mut both: V5 = connect(cell, "-both")?;
    check(both.connack()?.topic_alias_max.is_some_and(|most| most >= 2), "aliases are allowed")?;
    both.subscribe(&cell.topic("alias/#"), 1)?;
    let topics = ["alias/a", "alias/b"].map(|what| cell.topic(what));
    for (topic, alias) in [(&*topics[0], 1), (&topics[1], 2), ("", 1), ("", 2), ("", 1)] {
        let with = PublishProperties { topic_alias: Some(alias), ..Default::default() };
        equal(both.publish_with(topic, "x", with)?, 0, "reason code")?;
        equal(both.message()?.topic, topics[usize::from(alias - 1)].clone(), "topic")?;
    }
    Ok(())
}

/// rumqttc hands out what is on the wire: an alias, and the topic the first time only.
fn topic_alias_to_the_client(cell: &Cell) -> Went {
    let topic = cell.topic("alias/of/the/broker");
    let mut both = peer(cell, "-alias", |options| options.set_topic_alias_max(Some(2)))?;
    both.subscribe(&topic, 1)?;
    let mut got = Vec::new();
    for payload in ["first", "second"] {
        both.publish(&topic, 1, payload)?;
        let message = both.message()?;
        got.push((message.text(), message.topic, message.properties.topic_alias));
    }
    let alias = got[0].2;
    check(alias.is_some(), "Topic Alias")?;
    equal(got, vec![("first".into(), topic, alias), ("second".into(), String::new(), alias)], "messages")
}

/// A client that takes one unacknowledged message at a time is sent one at a time.
fn receive_maximum(cell: &Cell) -> Went {
    let topic = cell.topic("receive-maximum");
    let mut publisher: V5 = connect(cell, "-pub")?;
    let mut slow = peer(cell, "-slow", |options| options.set_receive_maximum(Some(1)).set_manual_acks(true))?;
    slow.subscribe(&topic, 1)?;
    for n in 0..5 {
        publisher.publish(&topic, 1, &n.to_string())?;
    }
    for n in 0..5 {
        equal(slow.message()?.text(), n.to_string(), "message")?;
        // A round trip: what was sent meanwhile is here.
        slow.subscribe(&cell.topic("fence"), 1)?;
        let early = slow.kept().iter().any(|seen| matches!(seen, crate::peer::Seen::Message(_)));
        check(!early, "whether the next message waits for the acknowledgement")?;
        slow.acknowledge()?;
    }
    Ok(())
}

fn maximum_packet_size(cell: &Cell) -> Went {
    let topic = cell.topic("size");
    let mut publisher: V5 = connect(cell, "-pub")?;
    let mut small = peer(cell, "-small", |options| options.set_max_packet_size(Some(200)))?;
    small.subscribe(&topic, 1)?;
    for payload in ["x".repeat(200), "fits".into()] {
        publisher.publish(&topic, 1, &payload)?;
    }
    equal(small.message()?.text(), "fits".into(), "what arrived")
}

/// Enhanced authentication with the words that the broker's test plugin takes.
fn words<'o>(options: &'o mut MqttOptions, words: &str) -> &'o mut MqttOptions {
    options.set_authentication_method(Some("TEST".into()));
    options.set_authentication_data(Some(words.as_bytes().to_vec().into()))
}

/// It wanted 60 s, and pings every two seconds because the broker says so.
fn server_keep_alive(cell: &Cell) -> Went {
    let mut keeps =
        peer(cell, "-keep", |options| words(options, "accept keep_alive=2").set_keep_alive(Duration::from_secs(60)))?;
    equal(keeps.connack()?.server_keep_alive, Some(2), "Server Keep Alive")?;
    keeps.pinged()?;
    keeps.pinged()
}

fn assigned_client_identifier(cell: &Cell) -> Went {
    let (one, two) = (admitted(cell, "", |options| options)?.0, admitted(cell, "", |options| options)?.0);
    let names = [one.connack()?, two.connack()?].map(|connack| connack.assigned_client_identifier);
    check(names.iter().all(Option::is_some) && names[0] != names[1], &format!("two names in {names:?}"))
}

fn announced_limits(cell: &Cell) -> Went {
    let limited = peer(cell, "-limits", |options| words(options, "accept qos_max=1 retain=0"))?.connack()?;
    equal((limited.max_qos, limited.retain_available), (Some(1), Some(0)), "Maximum QoS, Retain Available")?;
    let ConnAckProperties { receive_max, max_packet_size, .. } = connect::<V5>(cell, "-free")?.connack()?;
    check(receive_max.is_some() && max_packet_size.is_some(), "Receive Maximum, Maximum Packet Size")
}

fn reason_codes(cell: &Cell) -> Went {
    let topic = cell.topic("codes");
    let mut peer: V5 = connect(cell, "-codes")?;
    equal(peer.subscribe_all(&[(&topic, 1), ("secret/x", 0)])?, vec![1, 0x87], "SUBACK")?;
    equal((peer.publish(&topic, 1, "x")?, peer.publish("secret/x", 1, "x")?), (0, 0x87), "PUBACK")?;
    equal((peer.unsubscribe(&topic)?, peer.unsubscribe(&topic)?), (0, 0x11), "UNSUBACK")?;
    refused(cell, &format!("fault-reject-aloud-{}", cell.name("")), "Banned")
}

fn refused(cell: &Cell, name: &str, code: &str) -> Went {
    match admitted(cell, name, |options| options) {
        Ok(_) => Err("admitted".into()),
        Err(why) => check(why.contains(code), &format!("no {code} in {why}")),
    }
}

fn redirection(cell: &Cell) -> Went {
    refused(cell, &format!("fault-redirect-{}", cell.name("")), "UseAnotherServer")
}

/// A client whose connection breaks, and whose session stays.
fn dies(cell: &Cell, what: &str, topic: &str, properties: LastWillProperties) -> Went {
    let brings = Brings { stays: true, will: Some((topic, what, 1, false)), ..Brings::default() };
    V5::with(cell, &cell.name(&format!("-{what}")), brings, Some(properties), |options| options)?.connected().map(drop)
}

fn no_will_properties() -> LastWillProperties {
    LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}

fn delayed(seconds: u32) -> LastWillProperties {
    LastWillProperties { delay_interval: Some(seconds), ..no_will_properties() }
}

/// It comes when it is due; or when its session ends, here by a clean start.
fn will_delay(cell: &Cell) -> Went {
    let topic = cell.topic("delay");
    let mut watch: V5 = connect(cell, "-watch")?;
    watch.subscribe(&topic, 1)?;
    dies(cell, "late", &topic, delayed(1))?;
    let began = Instant::now();
    equal(watch.message()?.text(), "late".into(), "the will")?;
    check(began.elapsed() > Duration::from_millis(800), "whether it waits")?;
    dies(cell, "ended", &topic, delayed(1000))?;
    let _back: V5 = connect(cell, "-ended")?;
    equal(watch.message()?.text(), "ended".into(), "the will of the session that ended")
}

/// Who is back before it is due takes it back. The twin is the scenario before.
fn will_delay_cancelled(cell: &Cell) -> Went {
    let topic = cell.topic("cancel");
    let mut watch: V5 = connect(cell, "-watch")?;
    watch.subscribe(&topic, 1)?;
    dies(cell, "back", &topic, delayed(4))?;
    let (_back, present) = connect_with::<V5>(cell, "-back", Brings { stays: true, ..Brings::default() })?;
    equal(present, true, "Session Present")?;
    sleep(Duration::from_millis(5500));
    watch.publish(&topic, 1, "end")?;
    equal(watch.message()?.text(), "end".into(), "what came")
}

fn will_properties(cell: &Cell) -> Went {
    let topic = cell.topic("will-properties");
    let mut watch: V5 = connect(cell, "-watch")?;
    watch.subscribe(&topic, 1)?;
    let given = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        content_type: Some("text/plain".into()),
        response_topic: Some("answer/to".into()),
        correlation_data: Some(vec![0, 1, 255].into()),
        user_properties: some_pairs(),
    };
    dies(cell, "rich", &topic, given.clone())?;
    let got = watch.message()?.properties;
    let left = got.message_expiry_interval.unwrap_or(0);
    check(left > 50 && left <= 60, &format!("{left} s remain of 60"))?;
    let wanted = PublishProperties {
        payload_format_indicator: given.payload_format_indicator,
        message_expiry_interval: Some(left),
        content_type: given.content_type,
        response_topic: given.response_topic,
        correlation_data: given.correlation_data,
        user_properties: given.user_properties,
        ..PublishProperties::default()
    };
    equal(got, wanted, "properties")
}

fn disconnect_by_the_broker(cell: &Cell) -> Went {
    let (mut first, _second): (V5, V5) = (connect(cell, "-twice")?, connect(cell, "-twice")?);
    let why = first.end()?;
    check(why.contains("SessionTakenOver"), &why)
}

/// In one step, with the data in CONNECT.
fn enhanced_authentication(cell: &Cell) -> Went {
    let ConnAckProperties { authentication_method, authentication_data, .. } =
        peer(cell, "-proves", |options| words(options, "accept"))?.connack()?;
    let got = (authentication_method.unwrap_or_default(), authentication_data.unwrap_or_default().to_vec());
    equal(got, ("TEST".into(), b"after 0".to_vec()), "Authentication Method and Data of CONNACK")?;
    match peer(cell, "-proves", |options| words(options, "reject")) {
        Ok(_) => Err("admitted".into()),
        Err(why) => check(why.contains("BadUserNamePassword"), &why),
    }
}
