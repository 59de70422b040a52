//! What a client may do is asked for again: shortly before its time is over, and when a plugin has its identity revoked.

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use gatemq_tests::properties::{Connect5, Properties, auth, told};
use gatemq_tests::session::{Connect, Level};
use serde_json::{Value, json};

const NOT_AUTHORIZED: u8 = 0x87;

/// A broker whose identities may be asked for again, with that in the table `refresh`.
fn start(refresh: &str) -> Broker {
    let faults = format!("timeout_ms = 1000\nconfig.refresh = {{ {refresh} }}\n");
    Setup::new().mqtt("mqtt").faults(&faults).requests().tape().toml("[auth]\nchain = [\"faults\"]").start()
}

fn client(broker: &Broker, client_id: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect(client_id).unwrap(), 0);
    client
}

/// Guards that an identity that ends is renewed while its client stays, over and over, until its provider refuses; then it is told
/// so and gone, with an event that has the provider's words.
#[test]
fn grants_are_asked_for_again_before_they_end() {
    let mut broker = start("valid_ms = 3000");
    let mut stays = client(&broker, "c");
    for times in 1..=3 {
        gatemq_tests::wait_for("it is asked for again", gatemq_tests::PATIENCE, || {
            let is = |e: &&Value| e["event"] == "ClientRefreshed" && e["client_id"] == "c";
            (broker.tape().events().iter().filter(is).count() >= times).then_some(())
        });
        stays.ping();
    }
    broker.reload(|text| text.replace("valid_ms = 3000", "answer = \"reject\""));
    assert_eq!(stays.expect_goodbye(), Some(NOT_AUTHORIZED));
    let failed = broker.tape().wait_for_client("RefreshFailed", "c");
    assert!(failed["fields"]["reason"].as_str().unwrap().contains("it is gone"), "{failed}");
    let ended = broker.tape().wait_for_client("ClientDisconnected", "c");
    assert_eq!(ended["fields"]["reason"], "IdentityRevoked");
    let _next = client(&broker, "next");
}

/// Promise 7: what a revoked identity does not allow any more is over at once: subscriptions, what waits for them, publishing.
/// What it still allows goes on, and somebody else loses nothing.
#[test]
fn promise_7_revoked_grants_end() {
    let mut broker = start("grants = [{ allow = [\"all\"], filter = \"b/#\" }]");
    let (mut other, mut publisher) = (client(&broker, "other"), client(&broker, "publisher"));
    assert_eq!(other.subscribe("a/#", 0), 0);
    let mut revoked = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    revoked.greet(&Connect { receive_max: Some(1), ..Connect::new(Level::V5, "c") });
    assert_eq!((revoked.subscribe("a/#", 1), revoked.subscribe("b/#", 1)), (1, 1));
    // The first one is in flight, the others wait.
    for topic in ["b/1", "a/1", "a/2", "b/2"] {
        publisher.publish(topic, 1, topic.as_bytes()).unwrap();
        assert_eq!(publisher.packet().first, 0x40);
        if topic.starts_with("a/") {
            assert_eq!(other.message().0, topic);
        }
    }
    assert_eq!(broker.not_done("revoke", json!({})), "Invalid");
    assert_eq!(broker.not_done("revoke", json!({"selector": {"client_id": "nobody"}})), "NotFound");
    assert_eq!(broker.done("revoke", json!({"selector": {"client_id": "c", "tenant": "test"}}))["count"], 1);
    let removed = broker.tape().wait_for_client("SubscriptionRemoved", "c");
    assert_eq!(removed["fields"]["filter"], "a/#");
    broker.tape().wait_for_client("ClientRefreshed", "c");
    assert_eq!(broker.tape().wait_for_client("IdentityRevoked", "c")["fields"]["by"], "plugin requests");
    publisher.publish("a/3", 0, b"no").unwrap();
    assert_eq!(other.message().0, "a/3");
    let first = revoked.next_message();
    assert_eq!(first.topic, "b/1");
    revoked.send_ack(0x40, first.id).unwrap();
    assert_eq!(revoked.next_message().topic, "b/2", "what came by a subscription that it has no more does not come");
    assert_eq!(revoked.subscribe("a/#", 0), NOT_AUTHORIZED);
    assert_eq!(revoked.subscribe("b/+", 0), 0);
    other.ping();
}

/// Promise 1: whatever a provider answers, but that it is the same client, ends the client; also no answer. The next one is served.
#[test]
fn promise_1_only_the_same_client_stays() {
    let mut broker = start("valid_ms = 0");
    for (n, answer) in ["another", "reject", "next", "unavailable", "panic", "hang"].into_iter().enumerate() {
        let id = format!("c{n}");
        let mut ends = client(&broker, &id);
        let before = broker.tape().events().iter().filter(|e| e["event"] == "PluginReconfigured").count();
        broker.reload(|text| {
            let (head, rest) = text.split_once("config.refresh = { ").unwrap();
            let (_, rest) = rest.split_once(" }").unwrap();
            format!("{head}config.refresh = {{ answer = {answer:?} }}{rest}")
        });
        gatemq_tests::wait_for("it is reconfigured", gatemq_tests::PATIENCE, || {
            let events = broker.tape().events();
            (events.iter().filter(|e| e["event"] == "PluginReconfigured").count() > before).then_some(())
        });
        broker.done("revoke", json!({"selector": {"client_id": id}}));
        assert_eq!(ends.expect_goodbye(), Some(NOT_AUTHORIZED), "{answer}");
        broker.tape().wait_for_client("RefreshFailed", &id);
        let _next = client(&broker, "next");
    }
}

/// Promise 1: who cannot be asked about again does not stay when he is revoked; somebody else does.
#[test]
fn promise_1_who_cannot_be_asked_about_does_not_stay() {
    let grants = "config.grants = [{ allow = [\"all\"], filter = \"#\" }]";
    let setup = Setup::new().mqtt("mqtt").faults(grants).requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let (mut revoked, mut other) = (client(&broker, "c"), client(&broker, "other"));
    broker.done("revoke", json!({"selector": {"user": "c"}}));
    assert_eq!(revoked.expect_goodbye(), Some(NOT_AUTHORIZED));
    let ended = broker.tape().wait_for_client("ClientDisconnected", "c");
    assert_eq!(ended["fields"]["reason"], "IdentityRevoked");
    other.ping();
}

/// Guards auth-file's reload: a change of the users file holds for who is connected, within seconds. Who keeps his rules stays, who
/// gets others has them without a new connection, and who is gone from the file is disconnected.
#[test]
fn a_changed_users_file_holds_for_who_is_connected() {
    let anonymous = |grants: &str| format!("[anonymous]\nuser = \"guest\"\ngrants = [{grants}]\n");
    let rule = |filter: &str| format!("{{ allow = [\"all\"], filter = \"{filter}\" }}");
    let setup = Setup::new().mqtt("mqtt").tape();
    let file = setup.directory().join("users.toml");
    let write = |text: &str| {
        let beside = file.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    write(&anonymous(&rule("a/#")));
    let library = gatemq_tests::artifacts::Artifacts::get().plugin("auth-file");
    let mut broker =
        setup.plugin("file", &library, &format!("config.users_file = {file:?}\nconfig.tenant = \"t\"\n")).start();
    let mut guest = client(&broker, "guest");
    assert_eq!((guest.subscribe("a/1", 0), guest.subscribe("b/1", 0)), (0, NOT_AUTHORIZED));
    write(&anonymous(&rule("b/#")));
    broker.tape().wait_for_client("ClientRefreshed", "guest");
    let removed = broker.tape().wait_for_client("SubscriptionRemoved", "guest");
    assert_eq!(removed["fields"]["filter"], "a/1");
    assert_eq!((guest.subscribe("b/1", 0), guest.subscribe("a/1", 0)), (0, NOT_AUTHORIZED));
    write("[users]\n");
    assert_eq!(guest.expect_goodbye(), Some(NOT_AUTHORIZED));
    broker.tape().wait_for_client("RefreshFailed", "guest");
}

/// Promise 1: who is being admitted when he is revoked was perhaps admitted with what held before. He is found when he begins.
#[test]
fn promise_1_who_is_being_admitted_is_revoked_too() {
    let grants = "config.grants = [{ allow = [\"all\"], filter = \"#\" }]\nconfig.late_ms = 2000";
    let setup = Setup::new().mqtt("mqtt").faults(grants).requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let address = broker.address("mqtt");
    let coming = std::thread::spawn(move || {
        let mut late = Client::tcp(address, Version::V5).unwrap();
        assert_eq!(late.connect("fault-late").unwrap(), 0);
        late.expect_goodbye()
    });
    let record = broker.directory().join(gatemq_tests::broker::RECORD);
    gatemq_tests::wait_for("its provider is asked", gatemq_tests::PATIENCE, || {
        std::fs::read_to_string(&record).ok().filter(|text| text.contains("fault-late"))
    });
    // Perhaps it is there already, where the machine is slow: then it is found by the look.
    broker.ask("revoke", json!({"selector": {"client_id": "fault-late"}}));
    assert_eq!(coming.join().unwrap(), Some(NOT_AUTHORIZED));
    assert_eq!(broker.tape().wait_for_client("IdentityRevoked", "fault-late")["fields"]["by"], "plugin requests");
    let _next = client(&broker, "next");
}

/// Promise 1: a client that authenticates again while its provider is asked about it does not escape by that: what the provider says
/// to it may be what held before. It is asked about once more.
#[test]
fn promise_1_who_authenticates_again_meanwhile_is_asked_about_once_more() {
    let faults = "timeout_ms = 5000\nconfig.refresh = { answer = \"hang\" }\n";
    let setup = Setup::new().mqtt("mqtt").faults(faults).requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let mut revoked = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    revoked.send(&Connect5::new("c", Properties::new().method("TEST", "accept")).bytes()).unwrap();
    assert_eq!(told(&revoked.packet()).0, 0);
    broker.done("revoke", json!({"selector": {"client_id": "c"}}));
    revoked.send(&auth(0x19, "TEST", "accept")).unwrap();
    let answer = revoked.packet();
    assert_eq!((answer.first, told(&answer).0), (0xF0, 0), "{answer:?}");
    assert_eq!(revoked.expect_goodbye(), Some(NOT_AUTHORIZED));
    broker.tape().wait_for_client("RefreshFailed", "c");
    let _next = client(&broker, "next");
}
