//! Retained messages: the last one of each topic, for those who subscribe later (3.3.1.3, 3.8.3.1).

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Message, Will};
use gatemq_tests::{Kind, at_once};

/// Each kind of listener, each version as publisher and as subscriber.
const PAIRS: [(Kind, Level, Level); 4] = [
    (Kind::Mqtt, Level::V31, Level::V5),
    (Kind::Mqtts, Level::V5, Level::V311),
    (Kind::Ws, Level::V311, Level::V31),
    (Kind::Wss, Level::V5, Level::V5),
];

/// The option Retain As Published.
const AS_PUBLISHED: u8 = 1 << 3;

/// A broker with a listener of each kind, guarded by `test-faults`.
struct Field {
    broker: Broker,
    tls: Tls,
}

impl Field {
    fn start(more: &str, set: &[&str]) -> Field {
        let pki = Pki::new("Acme");
        let setup = Setup::new().every_listener(&pki).faults(more).tape_with_traffic();
        let setup = set.iter().fold(setup, |setup, set| setup.argument("--set").argument(set));
        Field { broker: setup.start(), tls: Tls::new(&pki, None) }
    }

    fn client(&self, kind: Kind, level: Level, client_id: &str) -> Client {
        self.broker.joined(kind, &self.tls, &Connect::new(level, client_id)).0
    }
}

/// Retains it, at any QoS, and is sure that the broker has.
fn retain(client: &mut Client, topic: &str, qos: u8, payload: &str) {
    match qos {
        0 => {
            client.publish_as(1, topic, 0, payload.as_bytes()).unwrap();
            client.ping();
        }
        qos => assert_eq!(client.published(topic, qos, true, payload.as_bytes()), 0, "{topic}"),
    }
}

/// QoS, RETAIN, payload.
fn told(message: &Message) -> (u8, bool, &str) {
    (message.qos, message.retain, message.text())
}

/// The last retained message comes to who subscribes later, with RETAIN, at the lower QoS (MQTT-3.3.1-5, -8, MQTT-3.8.4-4).
/// Whoever had subscribed before gets each as it comes, without RETAIN (MQTT-3.3.1-9). One without RETAIN replaces nothing;
/// one without payload clears, and is not kept (MQTT-3.3.1-6, -7). Each is an event.
#[test]
fn the_last_retained_message_comes_at_subscribe() {
    let mut field = Field::start("", &[]);
    at_once(&PAIRS, |&(kind, from, to)| {
        for qos in 0..=2 {
            let (topic, name) = (format!("{}/{qos}", kind.name()), |who: &str| format!("{who}-{}-{qos}", kind.name()));
            let mut publisher = field.client(kind, from, &name("publisher"));
            let mut before = field.client(kind, to, &name("before"));
            assert_eq!(before.subscribe(&topic, 2), 2);
            retain(&mut publisher, &topic, qos, "first");
            retain(&mut publisher, &topic, qos, "second");
            publisher.publish(&topic, 0, b"third").unwrap();
            for (payload, qos) in [("first", qos), ("second", qos), ("third", 0)] {
                assert_eq!(told(&before.take_message()), (qos, false, payload), "{topic}");
            }
            let mut later = field.client(kind, to, &name("later"));
            // A subscription that is made again is answered again (MQTT-3.8.4-3).
            for _ in 0..2 {
                assert_eq!(later.subscribe(&topic, 1), 1);
                assert_eq!(told(&later.take_message()), (qos.min(1), true, "second"), "{topic}");
            }
            retain(&mut publisher, &topic, qos, "");
            assert_eq!(told(&before.take_message()), (qos, false, ""), "{topic}");
            assert_eq!(told(&later.take_message()), (qos.min(1), false, ""), "{topic}");
            let mut last = field.client(kind, to, &name("last"));
            assert_eq!(last.subscribe(&topic, 1), 1);
            for client in [&mut before, &mut later, &mut last] {
                client.nothing_came(&mut field.client(Kind::Mqtt, Level::V311, &name("fence")));
            }
        }
    });
    for (kind, ..) in PAIRS {
        for (event, topic) in ["RetainedStored", "RetainedCleared"].into_iter().flat_map(|e| [(e, 0), (e, 1), (e, 2)]) {
            let topic = format!("{}/{topic}", kind.name());
            let is = |e: &serde_json::Value| e["event"] == event && e["fields"]["topic"] == topic.as_str();
            field.broker.tape().wait_for(event, is);
        }
    }
}

/// A filter with wildcards finds all retained messages that it matches, and no others.
#[test]
fn wildcards_find_retained_messages() {
    let field = Field::start(r##"config.grants = [{ allow = ["all"], filter = "#" }]"##, &[]);
    let mut client = field.client(Kind::Mqtt, Level::V5, "publisher");
    for topic in ["a", "a/b", "a/c/d", "a//d", "x/b", "/a"] {
        retain(&mut client, topic, 1, topic);
    }
    for (filter, found) in [
        ("a", &["a"][..]),
        ("a/+", &["a/b"]),
        ("a/#", &["a", "a//d", "a/b", "a/c/d"]),
        ("+/b", &["a/b", "x/b"]),
        ("a/+/d", &["a//d", "a/c/d"]),
        ("+/+", &["/a", "a/b", "x/b"]),
        ("/#", &["/a"]),
        ("#", &["/a", "a", "a//d", "a/b", "a/c/d", "x/b"]),
        ("b/#", &[]),
    ] {
        let mut subscriber = field.client(Kind::Mqtt, Level::V5, "subscriber");
        assert_eq!(subscriber.subscribe(filter, 1), 1);
        let mut got: Vec<Message> = found.iter().map(|_| subscriber.take_message()).collect();
        got.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert_eq!(got.iter().map(|m| m.topic.as_str()).collect::<Vec<_>>(), found, "{filter}");
        assert!(got.iter().all(|message| message.retain && message.text() == message.topic), "{filter}: {got:?}");
        assert_eq!(subscriber.unsubscribe(filter), Some(0));
        subscriber.nothing_came(&mut client);
    }
}

/// Retain Handling (MQTT-3.3.1-9 to -11): 0 sends them at each SUBSCRIBE, 1 only where there was no such subscription, 2 never.
#[test]
fn retain_handling_says_whether_they_are_sent() {
    let field = Field::start("", &[]);
    at_once(&Kind::ALL, |&kind| {
        let mut client = field.client(kind, Level::V5, &format!("publisher-{}", kind.name()));
        let topic = format!("t/{}", kind.name());
        retain(&mut client, &topic, 1, "kept");
        for (handling, at_first, again) in [(0, true, true), (1, true, false), (2, false, false)] {
            let mut subscriber = field.client(kind, Level::V5, &format!("{handling}-{}", kind.name()));
            for (round, sent) in [("first", at_first), ("again", again), ("after UNSUBSCRIBE", at_first)] {
                if round == "after UNSUBSCRIBE" {
                    assert_eq!(subscriber.unsubscribe(&topic), Some(0));
                }
                assert_eq!(subscriber.subscribe(&topic, handling << 4 | 1), 1);
                if sent {
                    let message = subscriber.take_message();
                    assert_eq!(told(&message), (1, true, "kept"), "{handling}, {round}");
                }
                subscriber.nothing_came(&mut client);
            }
        }
    });
}

/// Retain As Published (MQTT-3.3.1-12, -13): a message that comes to a subscription keeps its RETAIN with it, and loses it
/// without; what is sent because of the SUBSCRIBE has it in both cases (MQTT-3.3.1-8).
#[test]
fn retain_as_published_keeps_the_flag() {
    let field = Field::start("", &[]);
    at_once(&Kind::ALL, |&kind| {
        let name = |who: &str| format!("{who}-{}", kind.name());
        let mut publisher = field.client(kind, Level::V5, &name("publisher"));
        let topic = name("t");
        retain(&mut publisher, &topic, 1, "before");
        for (who, options) in [("as-published", AS_PUBLISHED), ("plain", 0)] {
            let mut client = field.client(kind, Level::V5, &name(who));
            assert_eq!(client.subscribe(&topic, options | 1), 1);
            assert_eq!(told(&client.take_message()), (1, true, "before"));
            retain(&mut publisher, &topic, 1, "before");
            assert_eq!(publisher.published(&topic, 1, false, b"not retained"), 0);
            assert_eq!(told(&client.take_message()), (1, options == AS_PUBLISHED, "before"), "{who}");
            assert_eq!(told(&client.take_message()), (1, false, "not retained"), "{who}");
        }
    });
}

/// Promise 1: what a plugin did not allow is not retained either, be it denied or not answered.
#[test]
fn promise_1_without_a_verdict_nothing_is_retained() {
    let grants = r##"config.grants = [
        { ask = ["publish"], filter = "ask/#" },
        { allow = ["publish"], filter = "plain/#", retain = false },
        { allow = ["publish"], filter = "fence/#" },
        { allow = ["subscribe"], filter = "#" },
    ]
    timeout_ms = 1000"##;
    let field = Field::start(grants, &[]);
    at_once(&Kind::ALL, |&kind| {
        let name = |who: &str| format!("{who}-{}", kind.name());
        for topic in ["ask/panic", "ask/slow-hang", "ask/unknown"] {
            let mut client = field.client(kind, Level::V5, &name("no-answer"));
            client.publish_as(3, topic, 1, b"no").unwrap();
            assert_eq!(client.expect_goodbye(), Some(0x83), "{topic}");
        }
        let mut client = field.client(kind, Level::V5, &name("publisher"));
        let plain = format!("plain/{}", kind.name());
        for topic in ["ask/deny", &plain] {
            assert_eq!(client.published(topic, 1, true, b"no"), 0x87, "{topic}");
        }
        // The twins: without RETAIN, or with leave.
        assert_eq!(client.published(&plain, 1, false, b"yes"), 0);
        let allowed = format!("ask/{}/allow", kind.name());
        retain(&mut client, &allowed, 1, "yes");
        let mut subscriber = field.client(kind, Level::V5, &name("subscriber"));
        for filter in ["ask/+", &plain, &allowed] {
            assert_eq!(subscriber.subscribe(filter, 1), 1);
        }
        assert_eq!(subscriber.take_message().topic, allowed);
        subscriber.nothing_came(&mut client);
    });
}

/// Starts a broker with two tenants.
fn two_tenants(set: &[&str]) -> Broker {
    let setup = Setup::new().two_tenants(&Pki::new("Acme"));
    set.iter().fold(setup, |setup, set| setup.argument("--set").argument(set)).tape().start()
}

fn of_tenant(broker: &Broker, tenant: &str, level: Level, client_id: &str) -> Client {
    let mut client = Client::tcp(broker.address(&format!("{tenant}-mqtt")), level.version()).unwrap();
    // The same user in both tenants: with the same client id only the tenant differs.
    let connect = Connect { user: Some("user"), ..Connect::new(level, client_id) };
    assert_eq!(client.greet(&connect).code, 0);
    client
}

/// Promise 8: what one tenant retains, another neither gets, nor replaces, nor clears.
#[test]
fn promise_8_retained_messages_stay_in_their_tenant() {
    let broker = two_tenants(&[]);
    for level in Level::ALL {
        let mut one = of_tenant(&broker, "one", level, "publisher");
        let mut two = of_tenant(&broker, "two", level, "publisher");
        let sees = |tenant: &str, other: &mut Client| -> Option<String> {
            let mut client = of_tenant(&broker, tenant, level, "subscriber");
            assert_eq!(client.subscribe("#", 1), 1);
            assert_eq!(other.published("end", 1, false, b""), 0);
            let message = client.take_message();
            (message.topic != "end").then(|| message.text().to_owned())
        };
        retain(&mut one, "t", 1, "of one");
        assert_eq!((sees("one", &mut one), sees("two", &mut two)), (Some("of one".into()), None), "{level:?}");
        retain(&mut two, "t", 1, "");
        assert_eq!(sees("one", &mut one), Some("of one".into()), "{level:?}: cleared by the other");
        retain(&mut two, "t", 1, "of two");
        let both = (sees("one", &mut one), sees("two", &mut two));
        assert_eq!(both, (Some("of one".into()), Some("of two".into())), "{level:?}");
        retain(&mut one, "t", 1, "");
        retain(&mut two, "t", 1, "");
    }
}

/// A tenant's bound: what exceeds it goes to nobody, and the publisher is told (0x97), or closed where its version has no
/// word for it. A replacement is not one more, and what is cleared makes room. The other tenant has a bound of its own.
#[test]
fn a_tenants_retained_messages_are_bounded() {
    let topics = ["limits.tenant_retained_messages_max=2"];
    let bytes = ["limits.tenant_retained_bytes_max=40"];
    for (which, set, large) in [("tenant_retained_messages_max", topics, 1), ("tenant_retained_bytes_max", bytes, 20)] {
        let mut broker = two_tenants(&set);
        let payload = "x".repeat(large);
        let mut client = of_tenant(&broker, "one", Level::V5, "publisher");
        let mut watch = of_tenant(&broker, "one", Level::V5, "watch");
        assert_eq!(watch.subscribe("c", 1), 1);
        retain(&mut client, "a", 1, "x");
        retain(&mut client, "b", 1, &payload);
        let more = "x".repeat(large);
        for qos in [1, 2] {
            assert_eq!(client.published("c", qos, true, more.as_bytes()), 0x97, "{which} at QoS {qos}");
        }
        client.publish_as(1, "c", 0, more.as_bytes()).unwrap();
        let mut old = of_tenant(&broker, "one", Level::V311, "old");
        old.publish_as(3, "c", 1, more.as_bytes()).unwrap();
        old.expect_closed();
        watch.nothing_came(&mut client);
        let is = |e: &serde_json::Value| e["event"] == "LimitExceeded" && e["fields"]["which"] == which;
        assert_eq!(broker.tape().wait_for(which, is)["client_id"], "publisher");
        // The twins.
        assert_eq!(client.published("c", 1, false, more.as_bytes()), 0, "not to be retained");
        assert_eq!(watch.take_message().topic, "c");
        retain(&mut client, "b", 2, &payload);
        retain(&mut of_tenant(&broker, "two", Level::V5, "publisher"), "c", 1, &more);
        retain(&mut client, "b", 1, "");
        retain(&mut client, "c", 1, &more);
        assert_eq!(watch.take_message().topic, "c");
    }
}

/// An identity that may not retain is told so in CONNACK (Retain Available, 3.2.2.3.5); who does it all the same is closed
/// with 0x9A (MQTT-3.2.2-14), and a CONNECT whose will is to be retained is refused with it (MQTT-3.2.2-13).
#[test]
fn an_identity_that_may_not_retain() {
    let field = Field::start("config.limits = { retain_allowed = 0 }", &[]);
    let twin = Field::start("", &[]);
    at_once(&Kind::ALL, |&kind| {
        let name = |who: &str| format!("{who}-{}", kind.name());
        for level in Level::ALL {
            let (id, watch_id) = (name("publisher"), name("watch"));
            let connect = Connect::new(level, &id);
            let (mut client, greeting) = field.broker.greeted(kind, &field.tls, &connect);
            assert_eq!(greeting.number(0x25), (level == Level::V5).then_some(0), "{level:?}");
            let mut watch = field.client(kind, level, &watch_id);
            assert_eq!(watch.subscribe(&name("t"), 1), 1);
            client.publish_as(3, &name("t"), 1, b"no").unwrap();
            assert_eq!(client.expect_goodbye().unwrap_or(0x9A), 0x9A, "{level:?}");
            let mut client = field.client(kind, level, &id);
            watch.nothing_came(&mut client);
            assert_eq!(client.published(&name("t"), 1, false, b"yes"), 0);
            assert_eq!(told(&watch.take_message()), (1, false, "yes"));
            let will = Will { retain: true, ..Will::new("w", b"x") };
            let refused = field.broker.greeted(kind, &field.tls, &connect.will(will)).1.code;
            let codes: &[u8] = if level == Level::V5 { &[0x9A] } else { &[3, 5] };
            assert!(codes.contains(&refused), "{level:?}: a will to be retained: {refused:#04x}");
            field.broker.joined(kind, &field.tls, &connect.will(Will { retain: false, ..will }));

            let (mut client, greeting) = twin.broker.greeted(kind, &twin.tls, &connect.will(will));
            assert_eq!(greeting.number(0x25).unwrap_or(1), 1, "available");
            retain(&mut client, &name("t"), 1, "yes");
        }
    });
}
