//! What must not be possible: to have somebody else denied. Each attack is a request of a plugin that was fooled; its twin is what
//! the same plugin may ask.

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use serde_json::{Value, json};

use super::*;

fn start(more: &str) -> Broker {
    let setup = Setup::new().mqtt("plain").toml(more).faults("").requests().tape();
    setup.toml("[auth]\nchain = [\"faults\"]").start()
}

/// A stranger who gives a victim's name and fails, and a client of another tenant who has the same name, do not get the victim
/// denied. What somebody did here who has the name does.
#[test]
fn promise_7_a_name_is_not_denied_for_what_others_did() {
    let broker = start("");
    let address = broker.address("plain");
    let mut stranger = Client::tcp(address, Version::V5).unwrap();
    assert_eq!(stranger.connect_as("fault-reject-victim", Some(("victim", "guess"))).unwrap(), 0x86);
    let victim = user("test", "victim");
    let its_client = client("test", "victim", "fault-reject-victim");
    for subject in [&victim, &its_client, &user("other", "victim")] {
        assert_eq!(broker.not_done("deny", json!({"subject": subject})), "NotFound");
    }
    let mut is_here = Client::tcp(address, Version::V5).unwrap();
    assert_eq!(is_here.connect_as("v", Some(("victim", "x"))).unwrap(), 0, "it may come");
    assert_eq!(broker.not_done("deny", json!({"subject": user("other", "victim")})), "NotFound");
    assert_eq!(broker.not_done("deny", json!({"subject": client("test", "victim", "w")})), "NotFound");
    is_here.ping();
    is_here.disconnect();
    broker.done("deny", json!({"subject": client("test", "victim", "v")}));
    broker.done("deny", json!({"subject": victim}));
}

/// Promise 8 with it: a tenant's user is not denied for one of the same name in another tenant.
#[test]
fn promise_7_tenants_do_not_share_denials() {
    let pki = Pki::new("Acme");
    let broker = Setup::new().two_tenants(&pki).requests().start();
    let come = |listener: &str| {
        let mut client = Client::tcp(broker.address(listener), Version::V5).unwrap();
        (client.connect_as("c", Some(("alice", "x"))).unwrap(), client)
    };
    let (one, two) = (come("one-mqtt"), come("two-mqtt"));
    assert_eq!((one.0, two.0), (0, 0));
    broker.done("deny", json!({"subject": user("one", "alice")}));
    let (mut one, mut two) = (one.1, two.1);
    one.expect_goodbye();
    two.ping();
    assert_eq!((come("one-mqtt").0, come("two-mqtt").0), (BANNED, 0));
}

/// A certificate shown without its key is anybody's: its owner is not denied for it. Twin: the owner has come.
#[test]
fn promise_7_a_certificate_without_its_key_is_nobodys() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtts("secure", &pki, "required", "").faults("").requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let owner = pki.client("owner");
    for stolen in [Tls::v1_2(&pki, Some(&owner.stolen())), Tls::v1_3(&pki, Some(&owner.stolen()))] {
        let client = Client::tls(broker.address("secure"), &stolen, Version::V5);
        assert!(client.and_then(|mut client| client.connect("thief")).is_err());
    }
    let event = broker.tape().wait_for("the theft", |e| e["event"] == "TlsHandshakeFailed");
    assert_eq!(event["fields"]["proven"], false);
    for subject in [leaf(&owner), key(&owner)] {
        assert_eq!(broker.not_done("deny", json!({"subject": subject})), "NotFound");
    }
    let tls = Tls::new(&pki, Some(&owner));
    let mut refused = Client::tls(broker.address("secure"), &tls, Version::V5).unwrap();
    assert_eq!(refused.connect("fault-reject").unwrap(), 0x86, "proven, though not admitted");
    for subject in [leaf(&owner), key(&owner)] {
        broker.done("deny", json!({"subject": subject}));
    }
}

/// Addresses that a plugin may not deny: where nobody failed, a trusted proxy's, and a whole network; nor an authority. Twin: one
/// address where somebody failed.
#[test]
fn promise_7_not_every_address_is_a_plugins() {
    let mut broker = start(
        "[listeners.proxied]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n[listeners.proxied.proxy]\nnetworks = [\"127.0.0.1\"]",
    );
    let network = |text: &str, bits: u8| json!({"kind": "address", "address": text, "bits": bits});
    // What an authenticated session does is no failure of its address.
    let (mut here, _) = code_from(&broker, OTHER, "here").unwrap();
    here.send_packet(0xF0, b"").unwrap();
    assert_eq!(here.expect_goodbye(), Some(0x82));
    assert_eq!(broker.not_done("deny", json!({"subject": address(OTHER)})), "NotFound");
    fail_from(&mut broker, ONE);
    fail_from(&mut broker, OTHER);
    for subject in [
        address(ONE),
        network("::ffff:127.0.0.1", 128),
        network("127.0.0.2", 31),
        network("127.0.0.0", 8),
        network("0.0.0.0", 0),
        network("2001:db8::", 63),
        network("2001:db8::1", 128),
        json!({"kind": "issuer", "sha256": "00".repeat(32)}),
    ] {
        assert_eq!(broker.not_done("deny", json!({"subject": subject})), "NotAllowed", "{subject}");
    }
    assert_eq!(broker.not_done("deny", json!({"subject": network("127.0.0.2", 33)})), "Invalid");
    assert_eq!(broker.done("denials", json!({}))["count"], 0);
    code_from(&broker, OTHER, "twin").expect("nobody is denied yet");
    broker.done("deny", json!({"subject": address(OTHER)}));
    assert!(code_from(&broker, OTHER, "twin").is_none());
}

/// Behind a shared address a stranger who fails does not shut the others out: with three clients connected its connections are
/// slowed down, the reply says so, and who is there stays. Twin: with two it is denied.
#[test]
fn promise_7_a_shared_address_is_slowed_down_instead() {
    let mut broker = start("");
    let (one, two) = (admitted_soon(&broker, OTHER, "one"), admitted_soon(&broker, OTHER, "two"));
    let three = admitted_soon(&broker, OTHER, "three");
    fail_from(&mut broker, OTHER);
    let action = |broker: &Broker| -> Value {
        let answer = broker.done("deny", json!({"subject": address(OTHER), "reason": "guesses"}));
        serde_json::from_str(answer["rows"][0].as_str().unwrap()).unwrap()
    };
    let row = action(&broker);
    assert_eq!((&row["action"], &row["connections_per_s"]), (&"slow".into(), &1.into()));
    broker.tape().wait_for("it is said", |e| e["event"] == "DenialAdded" && e["fields"]["action"] == "slow");
    for mut client in [one, two] {
        client.ping();
        client.disconnect();
    }
    // One a second comes through.
    let codes: Vec<_> = (0..20).map(|n| code_from(&broker, OTHER, &format!("n{n}"))).collect();
    let come = codes.iter().flatten().count();
    assert!((1..10).contains(&come), "{come} of 20 at once");
    drop(codes);
    admitted_soon(&broker, OTHER, "patient").disconnect();
    three.disconnect();
    wait_for("they have left", PATIENCE, || (broker.done("sessions", json!({}))["count"] == 0).then_some(()));
    assert_eq!(action(&broker)["action"], "refuse", "twin: nobody shares it any more");
    assert!(code_from(&broker, OTHER, "late").is_none());
    broker.done("allow", json!({"subject": address(OTHER)}));
    assert_eq!(broker.done("denials", json!({}))["count"], 0, "one raiser has one denial of a subject");
}

/// A plugin does not lift, shorten or use up what another one raised.
#[test]
fn promise_7_plugins_do_not_undo_one_another() {
    let setup = Setup::new().mqtt("plain").faults("").requests().requests_as("second").tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]\n[denials]\nper_raiser_max = 2").start();
    for name in ["a", "b", "c"] {
        admitted_soon(&broker, ONE, name).disconnect();
    }
    let subject = |name| json!({"subject": user("test", name)});
    broker.done("deny", subject("a"));
    assert_eq!(broker.ask_as("second", "allow", subject("a"))["error"], "NotAllowed");
    assert_eq!(
        broker.ask_as("second", "deny", json!({"subject": user("test", "a"), "ttl_ms": 1}))["error"],
        Value::Null
    );
    broker.tape().wait_for("the short one is over", |e| e["event"] == "DenialExpired");
    let rows = broker.done("denials", json!({}))["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    broker.done("deny", subject("b"));
    assert_eq!(broker.not_done("deny", subject("c")), "Busy");
    let event = broker.tape().wait_for("its bound", |e| e["event"] == "LimitExceeded");
    assert_eq!((&event["fields"]["which"], &event["fields"]["max"]), (&"denials.per_raiser_max".into(), &2.into()));
    assert_eq!(broker.ask_as("second", "deny", subject("c"))["error"], Value::Null, "twin: another's bound");
    broker.done("allow", subject("a"));
    broker.done("deny", subject("c"));
}
