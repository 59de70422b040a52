//! What becomes of the retained messages of those whose identity is revoked: they are kept, withheld or removed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use serde_json::{Value, json};

/// A broker that keeps what is retained, and whose identities have a tag and may be asked for again, with that in the table
/// `refresh`.
fn setup(refresh: &str) -> Setup {
    let grants = "[{ ask = [\"publish\"], filter = \"ask/#\" }, { allow = [\"all\"], filter = \"#\" }]";
    let faults = format!("config.tags = [\"line 1\"]\nconfig.grants = {grants}\nconfig.refresh = {{ {refresh} }}\n");
    let setup = Setup::new().mqtt("mqtt").faults(&faults).requests().tape_with_traffic();
    setup.toml("[auth]\nchain = [\"faults\"]")
}

fn client(broker: &Broker, client_id: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect(client_id).unwrap(), 0);
    client
}

/// Has each topic retained.
fn retain(client: &mut Client, topics: &[&str]) {
    for topic in topics {
        assert_eq!(client.published(topic, 1, true, topic.as_bytes()), 0, "{topic}");
    }
}

/// The topics whose retained messages come to somebody who subscribes to everything now.
fn delivered(broker: &Broker) -> BTreeSet<String> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let mut reader = client(broker, &format!("reader {}", LAST.fetch_add(1, Ordering::Relaxed)));
    assert_eq!(reader.subscribe("#", 0), 0);
    reader.publish("end", 0, b"end").unwrap();
    std::iter::from_fn(|| Some(reader.next_message()).filter(|message| message.topic != "end"))
        .map(|m| m.topic)
        .collect()
}

fn topics(topics: &[&str]) -> BTreeSet<String> {
    topics.iter().map(|topic| (*topic).to_owned()).collect()
}

fn revoke(broker: &Broker, selector: Value, retained: &str) -> Value {
    broker.done("revoke", json!({"selector": selector, "retained": retained}))["count"].clone()
}

/// How many of each there were.
fn counts<const N: usize>(event: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| event["fields"][field].as_u64().unwrap())
}

fn restarted(broker: Broker) -> Broker {
    broker.stop_to_start_again().1.start()
}

/// Promise 7: what is withheld of a client that is away comes to nobody who subscribes, after a restart too, until the client is
/// admitted again; nobody else's is. What takes its place meanwhile comes.
#[test]
fn promise_7_withheld_until_its_publisher_is_admitted_again() {
    let mut broker = setup("valid_ms = 0").start();
    let mut publisher = client(&broker, "p");
    retain(&mut publisher, &["a/1", "a/2", "b/1"]);
    publisher.disconnect();
    broker.tape().wait_for_client("ClientDisconnected", "p");
    let mut other = client(&broker, "other");
    retain(&mut other, &["a/3"]);
    assert_eq!(delivered(&broker), topics(&["a/1", "a/2", "a/3", "b/1"]));
    assert_eq!(revoke(&broker, json!({"client_id": "p", "tenant": "test"}), "withhold"), 0);
    let told = broker.tape().wait_for("withheld", |e| e["event"] == "RetainedRevoked");
    assert_eq!(counts(&told, ["withheld", "removed"]), [3, 0]);
    assert_eq!((&told["fields"]["by"], &told["fields"]["in_tenant"]), (&json!("plugin requests"), &json!("test")));
    assert_eq!(delivered(&broker), topics(&["a/3"]));
    retain(&mut other, &["a/2"]);
    assert_eq!(delivered(&broker), topics(&["a/2", "a/3"]));
    // Nothing that is not withheld yet.
    assert_eq!(broker.not_done("revoke", json!({"selector": {"user": "p"}, "retained": "withhold"})), "NotFound");

    let mut broker = restarted(broker);
    assert_eq!(delivered(&broker), topics(&["a/2", "a/3"]));
    let _publisher = client(&broker, "p");
    let told = broker.tape().wait_for_client("RetainedReadmitted", "p");
    assert_eq!(counts(&told, ["delivered", "withheld", "removed"]), [2, 0, 0]);
    let all = topics(&["a/1", "a/2", "a/3", "b/1"]);
    assert_eq!(delivered(&broker), all);
    assert_eq!(delivered(&restarted(broker)), all, "that is stored too");
}

/// Promise 7: a provider's answer decides over what is withheld of a client that is there: what its new grants allow comes again,
/// what they deny is removed, and what they only ask about stays withheld. With `keep` all stays as it is.
#[test]
fn promise_7_what_new_grants_say_of_what_is_retained() {
    let grants = "grants = [{ allow = [\"all\"], filter = \"a/#\" }, { ask = [\"publish\"], filter = \"ask/#\" }]";
    for (retained, left) in [("keep", &["a/1", "ask/allow", "b/1"][..]), ("withhold", &["a/1"])] {
        let mut broker = setup(grants).start();
        let mut publisher = client(&broker, "p");
        retain(&mut publisher, &["a/1", "ask/allow", "b/1"]);
        assert_eq!(delivered(&broker), topics(&["a/1", "ask/allow", "b/1"]));
        assert_eq!(revoke(&broker, json!({"client_id": "p"}), retained), 1);
        broker.tape().wait_for_client("ClientRefreshed", "p");
        if retained == "withhold" {
            let told = broker.tape().wait_for_client("RetainedReadmitted", "p");
            assert_eq!(counts(&told, ["delivered", "withheld", "removed"]), [1, 1, 1]);
            let cleared = broker.tape().wait_for_client("RetainedCleared", "p");
            assert_eq!((&cleared["fields"]["topic"], &cleared["fields"]["by"]), (&json!("b/1"), &json!("grants")));
        }
        assert_eq!(delivered(&broker), topics(left), "{retained}");
        let broker = restarted(broker);
        assert_eq!(delivered(&broker), topics(left), "{retained}, after a restart");
        if retained == "withhold" {
            // Whatever is published to it is its own.
            retain(&mut publisher_again(&broker), &["ask/allow"]);
            assert_eq!(delivered(&broker), topics(&["a/1", "ask/allow"]));
        }
    }
}

fn publisher_again(broker: &Broker) -> Client {
    client(broker, "somebody else")
}

/// Promise 1: while a provider has not answered nothing of it is delivered, and nothing when it does not stand for its client.
#[test]
fn promise_1_no_answer_delivers_nothing() {
    let mut broker = setup("answer = \"hang\"").start();
    let (mut publisher, mut other) = (client(&broker, "p"), client(&broker, "other"));
    retain(&mut publisher, &["a/1"]);
    retain(&mut other, &["a/2"]);
    assert_eq!(revoke(&broker, json!({"user": "p"}), "withhold"), 1);
    assert_eq!(delivered(&broker), topics(&["a/2"]));
    publisher.ping();
    assert_eq!(publisher.expect_goodbye(), Some(0x87));
    broker.tape().wait_for_client("RefreshFailed", "p");
    assert_eq!(delivered(&broker), topics(&["a/2"]));
}

/// Promise 7: what is removed is gone, in the store too, whether its publishers are there or away: those that a name or a tag of when
/// they published selects. Who else published, and what a plugin published, stays; each is told with who wanted it.
#[test]
fn promise_7_removed() {
    let mut broker = setup("valid_ms = 0").start();
    let (mut publisher, mut other) = (client(&broker, "p"), client(&broker, "other"));
    retain(&mut publisher, &["a/1", "a/2"]);
    retain(&mut other, &["a/3"]);
    broker.done("publish", json!({"tenant": "test", "topic": "plugin", "payload": "x", "retain": true}));
    assert_eq!(revoke(&broker, json!({"client_id": "p"}), "remove"), 1);
    for topic in ["a/1", "a/2"] {
        let cleared =
            broker.tape().wait_for(topic, |e| e["event"] == "RetainedCleared" && e["fields"]["topic"] == topic);
        assert_eq!(cleared["fields"]["by"], "plugin requests");
    }
    assert_eq!(delivered(&broker), topics(&["a/3", "plugin"]));
    let broker = restarted(broker);
    assert_eq!(delivered(&broker), topics(&["a/3", "plugin"]));
    assert_eq!(broker.not_done("revoke", json!({"selector": {"tag": "line 2"}, "retained": "remove"})), "NotFound");
    assert_eq!(revoke(&broker, json!({"tag": "line 1"}), "remove"), 0);
    assert_eq!(delivered(&broker), topics(&["plugin"]));
}
