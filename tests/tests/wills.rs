//! Wills: left with a CONNECT, published when the connection ends without goodbye (3.1.2.5, 3.1.3.2, 3.14).

use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Message, Will};
use gatemq_tests::{Kind, at_once};
use serde_json::Value;

/// Each kind of listener, each version.
const PAIRS: [(Kind, Level); 4] =
    [(Kind::Mqtt, Level::V31), (Kind::Mqtts, Level::V5), (Kind::Ws, Level::V5), (Kind::Wss, Level::V311)];

/// A broker with a listener of each kind, guarded by `test-faults`.
struct Field {
    broker: Broker,
    tls: Tls,
}

impl Field {
    fn start(more: &str) -> Field {
        let pki = Pki::new("Acme");
        let broker = Setup::new().every_listener(&pki).faults(more).tape().start();
        Field { broker, tls: Tls::new(&pki, None) }
    }

    fn join(&self, kind: Kind, connect: &Connect<'_>) -> Client {
        self.broker.joined(kind, &self.tls, connect).0
    }

    /// Somebody who subscribes to this filter.
    fn watch(&self, client_id: &str, filter: &str) -> Client {
        let mut watch = self.join(Kind::Mqtt, &Connect::new(Level::V311, client_id));
        assert_eq!(watch.subscribe(filter, 2), 2, "{filter}");
        watch
    }

    /// Somebody who publishes.
    fn other(&self, client_id: &str) -> Client {
        self.join(Kind::Mqtt, &Connect::new(Level::V311, client_id))
    }
}

/// QoS, RETAIN, payload.
fn told(message: &Message) -> (u8, bool, &str) {
    (message.qos, message.retain, message.text())
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The socket closes without a word.
    Broken,
    /// The client falls silent.
    Silent,
    /// Another connection of the same session.
    TakenOver,
    /// The client breaks a rule.
    Breach,
    /// Bytes that are no packet.
    Malformed,
    /// DISCONNECT 0x04: Disconnect with Will Message.
    GoodbyeWithWill,
    /// DISCONNECT 0x00.
    Goodbye,
}

impl End {
    /// Those that publish the will.
    const PUBLISHES: [End; 6] =
        [End::Broken, End::Silent, End::TakenOver, End::Breach, End::Malformed, End::GoodbyeWithWill];

    /// Lets the connection of `client`, which came with `connect`, end.
    fn happen(self, field: &Field, kind: Kind, mut client: Client, connect: &Connect<'_>) {
        match self {
            End::Broken => client.break_off(),
            End::Silent => assert_eq!(client.expect_goodbye().unwrap_or(0x8D), 0x8D),
            End::TakenOver => {
                field.join(kind, &Connect { will: None, ..*connect }).disconnect();
                assert_eq!(client.expect_goodbye().unwrap_or(0x8E), 0x8E);
            }
            End::Breach => {
                client.send(&connect.bytes()).unwrap();
                assert_eq!(client.expect_goodbye().unwrap_or(0x82), 0x82);
            }
            End::Malformed => {
                // A PUBLISH at QoS 3.
                client.send_packet(0x36, b"\0\x01a\0\x01\0").unwrap();
                assert_eq!(client.expect_goodbye().unwrap_or(0x81), 0x81);
            }
            End::GoodbyeWithWill => {
                client.say_goodbye(4, None).unwrap();
                client.expect_closed();
            }
            End::Goodbye => match connect.level {
                Level::V5 => {
                    client.say_goodbye(0, None).unwrap();
                    client.expect_closed();
                }
                _ => {
                    client.send_packet(0xE0, &[]).unwrap();
                    client.expect_closed();
                }
            },
        }
    }
}

/// A will is published when the connection ends in any way but a DISCONNECT with 0x00 (MQTT-3.1.2-8, -10): when it breaks, when
/// nothing is heard for one and a half times the keep alive, when the session is taken over, after a breach, and when the
/// client asks for it. Each is an event.
#[test]
fn a_will_is_published_when_there_was_no_goodbye() {
    let mut field = Field::start("");
    let ends =
        |level: Level| End::PUBLISHES.into_iter().filter(move |end| level == Level::V5 || *end != End::GoodbyeWithWill);
    let cells: Vec<_> =
        PAIRS.iter().flat_map(|&(kind, level)| ends(level).map(move |end| (kind, level, end))).collect();
    at_once(&cells, |&(kind, level, end)| {
        let name = format!("{}-{end:?}", kind.name());
        let topic = format!("wills/{name}");
        let mut watch = field.watch(&format!("watch-{name}"), &topic);
        let will = Will { qos: end as u8 % 3, ..Will::new(&topic, b"the will") };
        let keep_alive_s = if end == End::Silent { 1 } else { 60 };
        let connect = Connect { keep_alive_s, ..Connect::new(level, &name) }.will(will);
        let client = field.join(kind, &connect);
        if end != End::Silent {
            // Nothing before the end, unless it is coming anyway.
            watch.nothing_came(&mut field.other(&format!("other-{name}")));
        }
        end.happen(&field, kind, client, &connect);
        assert_eq!(told(&watch.take_message()), (end as u8 % 3, false, "the will"), "{name}");
        watch.nothing_came(&mut field.other(&format!("other-{name}")));
    });
    for (kind, _, end) in cells {
        let name = format!("{}-{end:?}", kind.name());
        let event = field.broker.tape().wait_for_client("WillPublished", &name);
        assert_eq!(event["fields"]["topic"], format!("wills/{name}"));
    }
}

/// A DISCONNECT with 0x00 takes the will back (MQTT-3.1.2-10), also for a session that stays. The twin differs in how it
/// ends, and its will is what comes first.
#[test]
fn a_goodbye_takes_the_will_back() {
    let field = Field::start("");
    at_once(&PAIRS, |&(kind, level)| {
        for stays in [false, true] {
            let name = format!("{}-{stays}", kind.name());
            let topic = format!("wills/{name}");
            let mut watch = field.watch(&format!("watch-{name}"), &topic);
            for (end, payload) in [(End::Goodbye, "taken back"), (End::Broken, "of the twin")] {
                let client_id = format!("{end:?}-{name}");
                let plain = if stays { Connect::stays(level, &client_id) } else { Connect::new(level, &client_id) };
                let connect = plain.will(Will::new(&topic, payload.as_bytes()));
                end.happen(&field, kind, field.join(kind, &connect), &connect);
                if stays && end == End::Goodbye {
                    // It is not left over for the next connection either.
                    field.join(kind, &plain).break_off();
                }
            }
            assert_eq!(watch.take_message().text(), "of the twin", "{name}");
            watch.nothing_came(&mut field.other(&format!("other-{name}")));
        }
    });
}

/// A will that the client may not publish is not accepted: the client is refused (0x87, 5), takes nobody's session over and
/// publishes nothing; its twin, whose will is allowed, is admitted. An event names the topic.
#[test]
fn a_denied_will_refuses_the_client() {
    let grants = r##"config.grants = [
        { deny = ["will"], filter = "wills/never" },
        { allow = ["will"], filter = "wills/#", qos_max = 1, retain = false },
        { allow = ["publish"], filter = "publish-only" },
        { allow = ["subscribe"], filter = "#" },
        { allow = ["publish"], filter = "fence/#" },
    ]"##;
    let mut field = Field::start(grants);
    let allowed = Will::new("wills/x", b"x");
    let denied = [
        Will { topic: "wills/never", ..allowed },
        Will { topic: "publish-only", ..allowed },
        Will { topic: "elsewhere", ..allowed },
        Will { topic: "$SYS/x", ..allowed },
        Will { qos: 2, ..allowed },
        Will { retain: true, ..allowed },
    ];
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("client-{}", kind.name());
        let topic = format!("wills/{name}");
        let mut watch = field.watch(&format!("watch-{name}"), &topic);
        let mut first = field.join(kind, &Connect::new(level, &name));
        for will in denied {
            let connect = Connect::new(level, &name).will(will);
            let (mut client, answer) = field.broker.greeted(kind, &field.tls, &connect);
            assert_eq!(answer.code, level.version().connack(0x87), "{will:?}");
            client.expect_closed();
        }
        // Who has the session was not disturbed.
        first.ping();
        let connect = Connect::new(level, &name).will(Will { topic: &topic, ..allowed });
        let twin = field.join(kind, &connect);
        first.expect_goodbye();
        drop(twin);
        assert_eq!(watch.take_message().text(), "x");
    });
    for (kind, _) in PAIRS {
        for will in denied {
            let is = |e: &Value| {
                e["event"] == "WillDenied"
                    && e["client_id"] == format!("client-{}", kind.name())
                    && e["fields"]["topic"] == will.topic
            };
            field.broker.tape().wait_for(will.topic, is);
        }
    }
}

/// Topics whose question gets no answer; the last one holds a thread.
const NO_VERDICT: [&str; 8] = [
    "ask/panic",
    "ask/panic-payload",
    "ask/unknown",
    "ask/bad-status",
    "ask/allow-but-failed",
    "ask/slow-panic",
    "ask/slow-hang",
    "ask/hang",
];

/// Promise 1: a client is admitted only when its will is allowed. A question about it that gets no answer refuses the client
/// with 0x88 (3), a denied one with 0x87 (5); who is asked about and allowed is admitted, and the will published.
#[test]
fn promise_1_a_will_without_a_verdict_admits_nobody() {
    let grants = r##"timeout_ms = 1000
    config.grants = [{ ask = ["will"], filter = "ask/#" }, { allow = ["all"], filter = "#" }]"##;
    at_once(&PAIRS, |&(kind, level)| {
        let mut field = Field::start(grants);
        let mut watch = field.watch("watch", "ask/#");
        for topic in NO_VERDICT {
            let connect = Connect::new(level, "asking").will(Will::new(topic, b"no"));
            let (mut client, answer) = field.broker.greeted(kind, &field.tls, &connect);
            assert_eq!(answer.code, level.version().connack(0x88), "{topic}");
            client.expect_closed();
            let is = |e: &Value| e["event"] == "AuthorizationFailed" && e["fields"]["topic"] == topic;
            assert_eq!(field.broker.tape().wait_for(topic, is)["fields"]["plugin"], "faults");
        }
        for topic in ["ask/deny", "ask/next", "ask/slow-deny"] {
            let connect = Connect::new(level, "asking").will(Will::new(topic, b"no"));
            let (mut client, answer) = field.broker.greeted(kind, &field.tls, &connect);
            assert_eq!(answer.code, level.version().connack(0x87), "{topic}");
            client.expect_closed();
            let is = |e: &Value| e["event"] == "WillDenied" && e["fields"]["topic"] == topic;
            field.broker.tape().wait_for(topic, is);
        }
        for topic in ["ask/allow", "ask/slow-allow"] {
            drop(field.join(kind, &Connect::new(level, "asking").will(Will::new(topic, b"yes"))));
            // Of all these wills it is the only one that is published.
            assert_eq!(watch.take_message().topic, topic);
        }
    });
}

/// A will with a delay comes when the delay is over, and not before (3.1.3.2.2); not at all when its client is back in time
/// (MQTT-3.1.3-9), of which the twin, who left after it and does not come back, gives proof.
#[test]
fn a_delayed_will_comes_later_or_not_at_all() {
    let field = Field::start("");
    at_once(&Kind::ALL, |&kind| {
        let topic = format!("wills/{}", kind.name());
        let mut watch = field.watch(&format!("watch-{}", kind.name()), &topic);
        let (back, away) = (format!("back-{}", kind.name()), format!("away-{}", kind.name()));
        let with_will = |client_id| {
            let will = Will { delay_s: 3, ..Will::new(&topic, b"late") };
            Connect::stays(Level::V5, client_id).will(will)
        };
        drop(field.join(kind, &with_will(&back)));
        let client = field.join(kind, &with_will(&away));
        let left = Instant::now();
        drop(client);
        // Without a will: what came after these three seconds would be the one of before.
        let mut back = field.join(kind, &Connect::stays(Level::V5, &back));
        assert_eq!(watch.take_message().text(), "late");
        // The broker's clock has a resolution of 0.1 s.
        assert!(left.elapsed() >= Duration::from_millis(2800), "too early: {:?}", left.elapsed());
        watch.nothing_came(&mut back);
    });
    let mut field = field;
    for kind in Kind::ALL {
        field.broker.tape().wait_for_client("WillPublished", &format!("away-{}", kind.name()));
    }
    assert!(!field.broker.tape().events().iter().any(|e| {
        e["event"] == "WillPublished" && e["client_id"].as_str().is_some_and(|id| id.starts_with("back"))
    }));
}

/// The end of the session does not wait for the delay (MQTT-3.1.3-9): be it that there was nothing to outlive the connection,
/// that it expires, that a clean start ends it, or that a DISCONNECT with the will ends it.
#[test]
fn a_delayed_will_comes_when_its_session_ends() {
    let mut field = Field::start("");
    let names = ["no expiry", "expires", "clean start", "goodbye"];
    at_once(&names, |&how| {
        let topic = format!("wills/{how}");
        let mut watch = field.watch(&format!("watch {how}"), &topic);
        let will = Will { delay_s: 1000, ..Will::new(&topic, b"in the end") };
        let expiry_s = match how {
            "no expiry" => None,
            "expires" => Some(1),
            _ => Some(1000),
        };
        let connect = Connect { expiry_s, ..Connect::new(Level::V5, how) }.will(will);
        let mut client = field.join(Kind::Mqtt, &connect);
        match how {
            "clean start" => {
                drop(client);
                field.join(Kind::Mqtt, &Connect::new(Level::V5, how));
            }
            "goodbye" => client.say_goodbye(4, Some(0)).unwrap(),
            _ => drop(client),
        }
        assert_eq!(told(&watch.take_message()), (1, false, "in the end"), "{how}");
    });
    field.broker.tape().wait_for_client("SessionExpired", "expires");
    field.broker.tape().wait_for_client("SessionEnded", "clean start");
    field.broker.tape().wait_for_client("SessionEnded", "goodbye");
}

/// A will with RETAIN becomes the retained message of its topic (MQTT-3.1.2-17); one without does not (MQTT-3.1.2-16), and one
/// that is taken back neither.
#[test]
fn a_will_is_retained_where_it_says_so() {
    let field = Field::start("");
    at_once(&PAIRS, |&(kind, level)| {
        for (how, retain, end) in
            [("retained", true, End::Broken), ("plain", false, End::Broken), ("back", true, End::Goodbye)]
        {
            let topic = format!("wills/{}/{how}", kind.name());
            let mut watch = field.watch(&format!("watch-{}-{how}", kind.name()), &topic);
            let will = Will { retain, ..Will::new(&topic, how.as_bytes()) };
            let client_id = format!("{}-{how}", kind.name());
            let connect = Connect::new(level, &client_id).will(will);
            end.happen(&field, kind, field.join(kind, &connect), &connect);
            if end == End::Broken {
                assert_eq!(told(&watch.take_message()), (1, false, how));
            }
            let mut other = field.other(&format!("other-{}-{how}", kind.name()));
            let mut later = field.watch(&format!("later-{}-{how}", kind.name()), &topic);
            if how == "retained" {
                assert_eq!(told(&later.take_message()), (1, true, how));
            }
            later.nothing_came(&mut other);
        }
    });
}

/// A client whose connection a verdict ended leaves no will (section 5 of the design); its twin's publish is denied without
/// that, so it stays and its will comes.
#[test]
fn who_is_kicked_leaves_no_will() {
    let mut field = Field::start(
        r##"config.grants = [
        { ask = ["publish"], filter = "ask/#" }, { allow = ["all"], filter = "#" },
    ]"##,
    );
    at_once(&Kind::ALL, |&kind| {
        let (kicked, twin) = (format!("kicked-{}", kind.name()), format!("twin-{}", kind.name()));
        let topic = format!("wills/{}", kind.name());
        let mut watch = field.watch(&format!("watch-{}", kind.name()), &topic);
        let mut client =
            field.join(kind, &Connect::new(Level::V5, &kicked).will(Will::new(&topic, b"of who is kicked")));
        client.publish("ask/deny-disconnect", 1, b"x").unwrap();
        client.expect_goodbye();
        let mut client = field.join(kind, &Connect::new(Level::V5, &twin).will(Will::new(&topic, b"of the twin")));
        assert_eq!(client.published("ask/deny", 1, false, b"x"), 0x87);
        drop(client);
        assert_eq!(watch.take_message().text(), "of the twin");
    });
    for kind in Kind::ALL {
        let event = field.broker.tape().wait_for_client("ClientDisconnected", &format!("kicked-{}", kind.name()));
        assert_eq!(event["fields"]["reason"], "Kicked");
    }
}

/// Promise 8: a will of one tenant is published in it alone.
#[test]
fn promise_8_wills_stay_in_their_tenant() {
    let pki = Pki::new("Acme");
    let broker = Setup::new().two_tenants(&pki).start();
    let tls = Tls::new(&pki, None);
    at_once(&Kind::ALL, |&kind| {
        let topic = format!("wills/{}", kind.name());
        let join = |tenant: &str, connect: Connect<'_>| {
            let address = broker.address(&format!("{tenant}-{}", kind.name()));
            let mut client = Client::open(address, kind, &tls, connect.level.version()).unwrap();
            // The same user in both: with the same client id only the tenant differs.
            assert_eq!(client.greet(&Connect { user: Some("user"), ..connect }).code, 0);
            client
        };
        let watch_id = format!("watch-{}", kind.name());
        let mut watches = ["one", "two"].map(|tenant| join(tenant, Connect::new(Level::V5, &watch_id)));
        for watch in &mut watches {
            assert_eq!(watch.subscribe(&topic, 1), 1);
        }
        for (at, tenant) in ["one", "two"].into_iter().enumerate() {
            let client_id = format!("client-{}", kind.name());
            drop(join(tenant, Connect::new(Level::V5, &client_id).will(Will::new(&topic, tenant.as_bytes()))));
            assert_eq!(watches[at].take_message().text(), tenant);
            let other = ["two", "one"][at];
            let mut publisher = join(other, Connect::new(Level::V5, &format!("other-{}", kind.name())));
            watches[1 - at].nothing_came(&mut publisher);
        }
    });
}

/// An identity that may leave no will is refused with one (0x87, 5), whatever its grants say, and admitted without.
#[test]
fn an_identity_that_may_leave_no_will() {
    let field = Field::start("config.limits = { will_allowed = 0 }");
    for (kind, level) in PAIRS {
        let connect = Connect::new(level, "client");
        let refused = field.broker.greeted(kind, &field.tls, &connect.will(Will::new("w", b"x"))).1;
        assert_eq!(refused.code, level.version().connack(0x87));
        field.join(kind, &connect);
    }
}
