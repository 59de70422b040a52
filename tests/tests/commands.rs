//! Commands that talk to a running broker: `gatemq clients`, `kick`, `deny`, `explain`.

use std::collections::BTreeSet;
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};

/// Exit code, standard output, standard error.
type Output = (Option<i32>, String, String);

fn gatemq(broker: &Broker, arguments: &[&str]) -> Output {
    let mut gatemq = Command::new(Artifacts::get().broker());
    let output = gatemq.args(arguments).arg("--config").arg(broker.directory().join("gatemq.toml")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a command prints for programs.
fn told(broker: &Broker, arguments: &[&str]) -> Value {
    let (code, out, err) = gatemq(broker, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

const GRANTS: &str =
    "config.grants = [{ deny = [\"publish\"], filter = \"own/secret\" }, { allow = [\"all\"], filter = \"own/#\" }]";

fn broker() -> Broker {
    Setup::new().mqtt("mqtt").faults(GRANTS).tape().start()
}

fn client(broker: &Broker, client_id: &str, user: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect_as(client_id, Some((user, ""))).unwrap(), 0, "{client_id}");
    client
}

/// Issue 5, item 5: who is there is listed with filters; a kicked client is told and gone and another stays; nobody is kicked by
/// mistake; what peers chose is escaped for people.
#[test]
fn clients_are_listed_and_kicked() {
    let mut broker = broker();
    let (mut one, mut two) = (client(&broker, "one", "alice"), client(&broker, "two\u{1b}[31m", "bob"));
    let all = told(&broker, &["clients"]);
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
    let alice = told(&broker, &["clients", "--user", "alice"]);
    assert_eq!(
        (&alice[0]["client_id"], &alice[1], &alice[0]["listener"]),
        (&"one".into(), &Value::Null, &"mqtt".into())
    );
    let (code, people, more) = gatemq(&broker, &["clients", "--rows", "1"]);
    assert!(code == Some(0) && people.lines().count() == 2 && more.contains("there are more"), "{people} {more}");
    let (code, people, _) = gatemq(&broker, &["clients"]);
    assert!(code == Some(0) && people.starts_with("CONNECTION") && people.contains("alice"), "{people}");
    assert!(!people.contains('\u{1b}') && people.contains("\\u{1b}"), "{people}");

    let (code, _, err) = gatemq(&broker, &["kick"]);
    assert!(code == Some(65) && err.contains("say who"), "{code:?} {err}");
    let (code, _, err) = gatemq(&broker, &["kick", "--client-id", "nobody"]);
    assert!(code == Some(66) && !err.is_empty(), "{code:?} {err}");
    one.ping();
    let kicked = told(&broker, &["kick", "--client-id", "one", "--reason", "too loud"]);
    assert_eq!(kicked["count"], 1);
    assert_eq!(one.expect_goodbye(), Some(0x98), "administrative action");
    two.ping();
    broker.tape().wait_for("ClientKicked", |e| e["event"] == "ClientKicked" && e["fields"]["why"] == "too loud");
    broker.tape().wait_for("AdminActed", |e| {
        e["event"] == "AdminActed" && e["fields"]["by"].as_str().unwrap().starts_with("uid ")
    });
    let _back = client(&broker, "one", "alice");
}

/// Issue 7, part 4: sessions whose clients are away are listed page by page, each once, with what waits for them; by name too; who comes
/// back is among those who are connected.
#[test]
fn sessions_that_are_away_are_listed() {
    const AWAY: usize = 600;
    // Of one address, as fast as they can.
    let limits = "address_connections_per_s_max = 100000\nconnections_per_s_max = 100000";
    let broker = Setup::new().mqtt("mqtt").toml(limits).faults(GRANTS).start();
    for number in 0..AWAY {
        let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
        let client_id = format!("away-{number}");
        client.greet(&Connect { user: Some("alice"), ..Connect::stays(Level::V5, &client_id) });
        if number == 7 {
            assert_eq!(client.subscribe("own/a", 1), 1);
        }
        client.disconnect();
    }
    let mut one = client(&broker, "one", "bob");
    assert_eq!(one.published("own/a", 1, false, b"x"), 0);
    let ids = |rows: &Value| -> BTreeSet<String> {
        rows.as_array().unwrap().iter().map(|row| row["client_id"].as_str().unwrap().to_owned()).collect()
    };
    let all = wait_for("all have gone", PATIENCE, || {
        let all = told(&broker, &["clients", "--away"]);
        (all.as_array().unwrap().len() == AWAY).then_some(all)
    });
    assert_eq!(ids(&all), (0..AWAY).map(|number| format!("away-{number}")).collect());
    let seven = told(&broker, &["clients", "--away", "--user", "alice", "--client-id", "away-7"]);
    assert_eq!((&seven[0]["waiting"], &seven[0]["subscriptions"], &seven[1]), (&1.into(), &1.into(), &Value::Null));
    assert!(seven[0]["expires_ms"].as_u64().is_some(), "{seven}");
    assert_eq!(told(&broker, &["clients", "--away", "--user", "bob"]), json!([]));
    let (code, people, more) = gatemq(&broker, &["clients", "--away", "--rows", "300"]);
    assert!(code == Some(0) && people.lines().count() == 301 && more.contains("there are more"), "{people} {more}");
    let (code, _, err) = gatemq(&broker, &["clients", "--away", "--tag", "x"]);
    assert!(code == Some(64) && err.contains("--client-id"), "{code:?} {err}");
    let mut back = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    back.greet(&Connect { user: Some("alice"), ..Connect::stays(Level::V5, "away-7") });
    assert_eq!(told(&broker, &["clients", "--away", "--client-id", "away-7"]), json!([]));
    assert_eq!(ids(&told(&broker, &["clients"])), ["away-7", "one"].map(str::to_owned).into());
}

/// Promise 7: an operator's denial ends the client at once, refuses it when it comes back, is listed, survives a restart, and is
/// over when it is lifted. Somebody else is served all the while.
#[test]
fn promise_7_an_operator_denies_and_lifts() {
    let broker = broker();
    let (mut bad, mut good) = (client(&broker, "bad", "mallory"), client(&broker, "good", "alice"));
    let denied = told(&broker, &["deny", "add", "user", "test", "mallory", "--for", "1h", "--reason", "floods"]);
    assert_eq!(denied["rows"][0]["subject"]["user"], "mallory", "{denied}");
    assert_eq!(bad.expect_goodbye(), Some(0x98), "administrative action: a DISCONNECT has no 0x8A (3.14.2.1)");
    good.ping();
    let refused = |broker: &Broker| {
        let mut again = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
        again.connect_as("bad", Some(("mallory", ""))).unwrap()
    };
    assert_eq!(refused(&broker), 0x8A);
    let (_, setup) = broker.stop_to_start_again();
    let broker = setup.start();
    assert_eq!(refused(&broker), 0x8A, "after a restart");
    let mut good = client(&broker, "good", "alice");
    let (_, people, _) = gatemq(&broker, &["deny", "list"]);
    assert!(
        people.contains("user test mallory") && people.contains("operator") && people.contains("floods"),
        "{people}"
    );
    let (code, _, err) = gatemq(&broker, &["deny", "lift", "user", "test", "nobody"]);
    assert_eq!(code, Some(66), "{err}");
    assert_eq!(told(&broker, &["deny", "lift", "user", "test", "mallory"])["count"], 1);
    let _back = client(&broker, "bad", "mallory");
    good.ping();
    for (wrong, code) in [
        (&["deny", "add", "user", "mallory"][..], 64),
        (&["deny", "add", "address", "1.2.3.4/x"], 64),
        (&["deny", "add", "address", "1.2.3.4/33"], 65),
        (&["deny", "add", "certificate", "00"], 65),
        (&["deny", "add", "nobody", "x"], 64),
        (&["deny", "add", "user", "t", "u", "--for", "soon"], 64),
    ] {
        let (exit, _, err) = gatemq(&broker, wrong);
        assert!(exit == Some(code) && !err.is_empty(), "{wrong:?}: {exit:?} {err}");
    }
}

/// Issue 5, item 5: `explain` says what the broker decides, by which grant, and who gave it; of a client that is not there it says
/// that; without a broker the command says what to do.
#[test]
fn explain_says_why() {
    let broker = broker();
    let mut client = client(&broker, "c", "alice");
    let asked = |action: &str, topic: &str| {
        told(&broker, &["explain", "--tenant", "test", "--user", "alice", "--client-id", "c", action, topic])
    };
    let open = asked("publish", "own/x");
    assert_eq!(
        (&open["verdict"], &open["grant"]["number"], &open["provider"]),
        (&"allow".into(), &2.into(), &"faults".into())
    );
    let secret = asked("publish", "own/secret");
    assert_eq!((&secret["verdict"], &secret["grant"]["number"]), (&"deny".into(), &1.into()));
    assert_eq!(asked("subscribe", "#")["verdict"], "deny");
    assert_eq!(client.subscribe("#", 0), 0x87, "as explained");
    assert_eq!(asked("subscribe", "own/#")["verdict"], "allow");
    assert_eq!(client.subscribe("own/#", 0), 0, "as explained");
    let of = |client_id: &str, topic: &str| {
        gatemq(&broker, &["explain", "--tenant", "test", "--user", "alice", "--client-id", client_id, "publish", topic])
    };
    let (_, people, _) = of("c", "own/x");
    assert!(people.contains("allow: grant 2") && people.contains("faults"), "{people}");
    let (code, _, err) = of("other", "own/x");
    assert!(code == Some(66) && err.contains("no session"), "{err}");
    let (code, _, err) = of("c", "own/+");
    assert!(code == Some(65) && err.contains("topic"), "{err}");
    let nowhere = broker.directory().join("nowhere.sock");
    let mut gatemq = Command::new(Artifacts::get().broker());
    let output = gatemq.arg("clients").arg("--socket").arg(&nowhere).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(69) && err.contains("--socket") && err.contains("nowhere.sock"), "{err}");
}

/// Issue 5, items 3 and 5: plugins are listed with their health; one is loaded again by name; a wrong configuration is refused with
/// its problem, and what is in force stays so.
#[test]
fn plugins_are_listed_and_reloaded() {
    let mut broker = broker();
    let mut client = client(&broker, "c", "alice");
    let plugins = told(&broker, &["plugin", "list"]);
    let faults = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "faults").unwrap();
    assert_eq!(
        (&faults["health"], &faults["breaker"], &faults["generation"]),
        (&"ready".into(), &"closed".into(), &1.into())
    );
    assert!(faults["calls"].as_u64().unwrap() >= 1 && faults["sha256"].as_str().unwrap().len() == 64, "{faults}");
    assert_eq!(told(&broker, &["plugin", "reload", "faults"])["result"], "unchanged");
    let (code, _, err) = gatemq(&broker, &["plugin", "reload", "nobody"]);
    assert!(code == Some(66) && err.contains("nobody"), "{err}");

    let file = broker.directory().join("gatemq.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let other = good.replace("filter = \"own/#\"", "filter = \"other/#\"");
    assert_ne!(other, good);
    std::fs::write(&file, &other).unwrap();
    assert_eq!(told(&broker, &["plugin", "reload", "faults"])["result"], "reconfigured");
    broker.tape().wait_for("PluginReconfigured", |e| e["event"] == "PluginReconfigured");
    let (_, people, _) = gatemq(&broker, &["plugin", "list"]);
    assert!(people.starts_with("NAME") && people.contains("faults"), "{people}");

    // The command reads the same file, so it is given the socket.
    std::fs::write(&file, format!("{other}\n[nonsense]\nkey = 1\n")).unwrap();
    let mut reload = Command::new(Artifacts::get().broker());
    let socket = broker.directory().join("data/admin.sock");
    let output = reload.args(["reload", "--socket"]).arg(&socket).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(65) && err.contains("nonsense") && err.contains("gatemq.toml"), "{err}");
    broker.tape().wait_for("ConfigRefused", |e| e["event"] == "ConfigRefused");
    client.ping();
}
