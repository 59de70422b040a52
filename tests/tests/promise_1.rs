//! Promise 1: never fails open. Each refusal stands beside a twin that succeeds.

use std::time::Duration;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Received, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::{Kind, at_once};

/// Long for a plugin, short for a test.
const TIMEOUT: &str = "timeout_ms = 1000\n";

/// Every answer of `authenticate` that is none, by the client id that `test-faults` knows.
const NO_ANSWER: &[&str] = &[
    "fault-panic",
    "fault-panic-payload",
    "fault-drop-panic",
    "fault-hang",
    "fault-late",
    "fault-unavailable",
    "fault-drop-completer",
    "fault-never",
    "fault-unknown-code",
    "fault-zero-code",
    "fault-accept-nobody",
    "fault-block",
    "fault-loop",
];

/// Topics whose question gets no answer. The last two hold a thread each.
const NO_VERDICT: &[&str] = &[
    "ask/panic",
    "ask/panic-payload",
    "ask/unknown",
    "ask/bad-status",
    "ask/allow-but-failed",
    "ask/slow-panic",
    "ask/slow-hang",
    "ask/slow-pending",
    "ask/hang",
    "ask/loop",
];

/// Each kind of listener, and each version with and without TLS, with and without WebSocket.
const PAIRS: [(Kind, Version); 4] =
    [(Kind::Mqtt, Version::V3), (Kind::Mqtts, Version::V5), (Kind::Ws, Version::V5), (Kind::Wss, Version::V3)];

/// A broker with one listener, guarded by `test-faults`.
struct Faulty {
    broker: Broker,
    tls: Tls,
    kind: Kind,
}

impl Faulty {
    fn start(kind: Kind, more: &str) -> Faulty {
        let pki = Pki::new("Acme");
        let setup = Setup::new().listener(kind, &pki).faults(&format!("{TIMEOUT}{more}"));
        Faulty { broker: setup.tape().start(), tls: Tls::new(&pki, Some(&pki.client("tester"))), kind }
    }

    fn connect(&self, version: Version, client_id: &str) -> Result<Client, u8> {
        self.broker.try_admitted(self.kind, &self.tls, version, client_id)
    }

    fn admitted(&self, version: Version, client_id: &str) -> Client {
        self.broker.admitted(self.kind, &self.tls, version, client_id)
    }

    fn code(&self, version: Version, client_id: &str) -> u8 {
        self.connect(version, client_id).err().unwrap_or(0)
    }
}

/// Without an auth provider, be there collectors or not, nobody could be refused: the broker does not start.
#[test]
fn promise_1_without_an_auth_plugin_the_broker_does_not_start() {
    let pki = Pki::new("Acme");
    let bare = || Setup::new().mqtts("secure", &pki, "required", "");
    for setup in [bare(), bare().tape()] {
        let ended = setup.try_start().err().expect("it must not start");
        assert_eq!(ended.code, Some(78), "{}", ended.log);
        assert!(ended.log.contains("no auth provider"), "{}", ended.log);
    }
    let twin = bare().fleet(&pki).start();
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    Client::admitted(twin.address("secure"), &tls, Version::V5, "sensor-1");
}

/// `--dev` alone starts without an auth provider, and only where nobody but this machine can come.
#[test]
fn promise_1_dev_listens_on_loopback_only() {
    let listener =
        |address: &str| Setup::new().toml(&format!("[listeners.plain]\nkind = \"mqtt\"\nbind = \"{address}:0\""));
    let ended = listener("0.0.0.0").argument("--dev").try_start().err().expect("it must not start");
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("loopback"), "{}", ended.log);
    let twin = listener("127.0.0.1").argument("--dev").start();
    let mut client = Client::tcp(twin.address("plain"), Version::V5).unwrap();
    assert_eq!(client.connect("anybody").unwrap(), 0);
}

/// A provider that errs, panics, hangs, loops, drops its completer or answers nonsense admits nobody, in either version, and
/// each refusal is an event.
#[test]
fn promise_1_no_answer_admits_nobody() {
    at_once(&PAIRS, |&(kind, version)| {
        let mut faulty = Faulty::start(kind, "config.late_ms = 3000");
        for fault in NO_ANSWER {
            assert_eq!(faulty.code(version, fault), version.connack(0x88), "{fault}");
            let refused = faulty.broker.tape().wait_for_client("ClientRefused", fault);
            assert_eq!(
                (&refused["fields"]["code"], &refused["fields"]["plugin"]),
                (&0x88.into(), &"faults".into()),
                "{fault}"
            );
            assert_eq!(faulty.code(version, "twin"), 0, "the next client after {fault}");
        }
    });
}

/// Only the first answer counts: whoever was refused is not admitted by a second thought, and the other way round.
#[test]
fn promise_1_the_first_answer_counts() {
    at_once(&Kind::ALL, |&kind| {
        let faulty = Faulty::start(kind, "");
        for version in Version::ALL {
            assert_eq!(faulty.code(version, "fault-twice"), version.connack(0x87));
            assert_eq!(faulty.code(version, "fault-accept-then-reject"), 0);
        }
    });
}

/// A refusal is one whatever its code says, and a client that no provider knows is refused.
#[test]
fn promise_1_a_refusal_is_a_refusal() {
    at_once(&Kind::ALL, |&kind| {
        let faulty = Faulty::start(kind, "");
        for version in Version::ALL {
            assert_eq!(faulty.code(version, "fault-reject"), version.connack(0x86));
            assert_eq!(faulty.code(version, "fault-reject-success-code"), version.connack(0x87));
            assert_eq!(faulty.code(version, "fault-next"), version.connack(0x87));
            assert_eq!(faulty.code(version, "twin"), 0);
        }
    });
}

/// An identity that cannot be enforced as it is written admits nobody: no tenant, a filter that is none, a Deny that would
/// silently vanish.
#[test]
fn promise_1_an_identity_that_makes_no_sense_admits_nobody() {
    at_once(&Kind::ALL, |&kind| {
        let mut faulty = Faulty::start(kind, "");
        for version in Version::ALL {
            for fault in ["fault-empty-tenant", "fault-bad-grant", "fault-deny-template"] {
                assert_eq!(faulty.code(version, fault), version.connack(0x87), "{fault}");
                let refused = faulty.broker.tape().wait_for_client("ClientRefused", fault);
                assert_eq!(refused["fields"]["stage"], "identity", "{fault}");
            }
            assert_eq!(faulty.code(version, "twin"), 0);
        }
    });
}

/// A question about a filter that gets no answer is 0x83 (3.1.1: 0x80), a denied one 0x87; neither subscribes.
#[test]
fn promise_1_no_verdict_subscribes_nobody() {
    at_once(&PAIRS, |&(kind, version)| {
        let mut faulty = Faulty::start(kind, "");
        let mut client = faulty.admitted(version, "asking");
        let failed = if version == Version::V5 { 0x83 } else { 0x80 };
        let denied = if version == Version::V5 { 0x87 } else { 0x80 };
        for filter in NO_VERDICT {
            assert_eq!(client.subscribe(filter, 0), failed, "{filter}");
            let event = faulty.broker.tape().wait_for(filter, |e| {
                e["event"] == "AuthorizationFailed" && e["fields"]["topic"] == *filter && e["client_id"] == "asking"
            });
            assert_eq!(event["fields"]["plugin"], "faults", "{filter}");
        }
        for filter in ["ask/deny", "ask/next", "ask/slow-deny"] {
            assert_eq!(client.subscribe(filter, 0), denied, "{filter}");
        }
        for filter in ["ask/allow", "ask/slow-allow", "free"] {
            assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
        }
    });
}

/// A PUBLISH whose question gets no answer is not routed and not acknowledged: DISCONNECT 0x83 (3.1.1: closed), so that the
/// client sends it again.
#[test]
fn promise_1_no_verdict_publishes_nothing() {
    let grants = r##"config.grants = [{ ask = ["publish"], filter = "ask/#" }, { allow = ["all"], filter = "#" }]"##;
    at_once(&PAIRS, |&(kind, version)| {
        let faulty = Faulty::start(kind, grants);
        let mut all = faulty.admitted(version, "all");
        assert_eq!(all.subscribe("#", 0), 0);
        for topic in NO_VERDICT {
            let mut client = faulty.admitted(version, "asking");
            client.publish(topic, 1, b"no").unwrap();
            if version == Version::V5 {
                let packet = client.packet();
                assert!(packet.first == 0xE0 && packet.body.first() == Some(&0x83), "{topic}: {packet:?}");
            }
            client.expect_closed();
        }
        let mut client = faulty.admitted(version, "asking");
        for topic in ["ask/allow", "ask/slow-allow"] {
            client.publish(topic, 0, b"yes").unwrap();
            // Of all that was published, only this arrives.
            assert_eq!(all.message(), (topic.to_owned(), b"yes".to_vec()));
        }
    });
}

/// A *denied* PUBLISH is another thing: QoS 0 is dropped, QoS 1 is told by 0x87, and a 3.1.1 client, which cannot be told, is
/// closed.
#[test]
fn promise_1_a_denied_publish_is_dropped_or_told() {
    let grants = r##"config.grants = [
        { allow = ["all"], filter = "devices/${client_id}/#" },
        { allow = ["subscribe"], filter = "devices/#" },
    ]"##;
    let pairs: Vec<_> = Kind::ALL.into_iter().flat_map(|kind| Version::ALL.map(|version| (kind, version))).collect();
    at_once(&pairs, |&(kind, version)| {
        let mut faulty = Faulty::start(kind, grants);
        let admitted = |name: &str| faulty.admitted(version, name);
        let mut all = admitted("all");
        assert_eq!(all.subscribe("devices/#", 0), 0);
        let mut client = admitted("sensor-1");
        client.publish("devices/sensor-2/t", 0, b"no").unwrap();
        client.publish("devices/sensor-1/t", 0, b"yes").unwrap();
        assert_eq!(all.message(), ("devices/sensor-1/t".to_owned(), b"yes".to_vec()));
        let id = client.publish("devices/sensor-2/t", 1, b"no").unwrap().unwrap().to_be_bytes();
        match version {
            Version::V5 => {
                let puback = Packet { first: 0x40, body: vec![id[0], id[1], 0x87] };
                assert_eq!(without_properties(client.packet()), puback);
                client.ping();
            }
            Version::V3 => client.expect_closed(),
        }
        let denied = faulty.broker.tape().wait_for_client("PublishDenied", "sensor-1");
        assert_eq!(denied["fields"]["topic"], "devices/sensor-2/t");
        let patience = Duration::from_millis(50);
        assert!(!matches!(all.receive(patience), Ok(Received::Packet(_))), "a denied message is delivered");
    });
}

/// A PUBACK without the empty property list that it may end with.
fn without_properties(mut packet: Packet) -> Packet {
    if packet.body.len() == 4 && packet.body[3] == 0 {
        packet.body.pop();
    }
    packet
}

/// While a question is open its client is heard (section 7): a ping is answered, an acknowledgement frees the window for the next
/// message, and the packets behind it keep their order.
#[test]
fn an_open_question_leaves_its_client_heard() {
    let grants = r##"config.grants = [{ ask = ["publish"], filter = "ask/#" }, { allow = ["all"], filter = "#" }]"##;
    at_once(&PAIRS, |&(kind, version)| {
        let faulty = Faulty::start(kind, grants);
        let mut other = faulty.admitted(version, "other");
        let mut client = faulty.admitted(version, "asking");
        assert_eq!(client.subscribe("to/asking", 1), 1);
        other.publish("to/asking", 1, b"1").unwrap();
        let first = client.packet();
        assert_eq!(first.first & 0xF0, 0x30);
        // Never answered: until its deadline this packet asks.
        client.publish("ask/slow-hang", 1, b"no").unwrap();
        client.publish("to/other", 0, b"behind it").unwrap();
        let id_at = 2 + "to/asking".len();
        client.send(&[0x40, 2, first.body[id_at], first.body[id_at + 1]]).unwrap();
        client.send(&[0xC0, 0]).unwrap();
        assert_eq!(client.packet().first, 0xD0, "answered before the question");
        if version == Version::V5 {
            assert_eq!(client.packet().body.first(), Some(&0x83), "and then it fails");
        }
        client.expect_closed();
    });
}

/// What a client sent before it closed counts, also when a question was open meanwhile.
#[test]
fn a_question_outlives_the_farewell_behind_it() {
    let grants = r##"config.grants = [{ ask = ["publish"], filter = "ask/#" }, { allow = ["all"], filter = "#" }]"##;
    at_once(&PAIRS, |&(kind, version)| {
        let faulty = Faulty::start(kind, grants);
        let mut all = faulty.admitted(version, "all");
        assert_eq!(all.subscribe("#", 0), 0);
        let mut client = faulty.admitted(version, "asking");
        client.publish("ask/slow-allow", 0, b"first").unwrap();
        client.publish("free", 0, b"second").unwrap();
        client.send(&[0xE0, 0]).unwrap();
        drop(client);
        assert_eq!(all.message(), ("ask/slow-allow".to_owned(), b"first".to_vec()));
        assert_eq!(all.message(), ("free".to_owned(), b"second".to_vec()));
    });
}
