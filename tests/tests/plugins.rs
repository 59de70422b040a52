//! Plugins come and go while the broker serves, and its chains of auth providers change: by SIGHUP, or `gatemq plugin reload`.

use std::path::PathBuf;
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use serde_json::{Value, json};

const CHAIN: &str = "[auth]\nchain = [\"faults\"]\n";

/// A broker that `faults` alone guards.
fn setup() -> Setup {
    Setup::new().toml(CHAIN).mqtt("mqtt").faults("").tape()
}

/// Where a library that is dropped in has the name `second`.
fn drop_in(broker: &Broker) -> PathBuf {
    broker.directory().join("nothing-in-here/libsecond.so")
}

fn drop_library(broker: &Broker, name: &str) {
    let beside = drop_in(broker).with_extension("new");
    std::fs::copy(Artifacts::get().plugin(name), &beside).unwrap();
    std::fs::rename(&beside, drop_in(broker)).unwrap();
}

fn chain(names: &str) -> impl FnOnce(&str) -> String + use<> {
    let chain = format!("[auth]\nchain = [{names}]\n");
    move |text| {
        let (head, rest) = text.split_once("[auth]\nchain = [").unwrap();
        let (_, rest) = rest.split_once("]\n").unwrap();
        format!("{head}{chain}{rest}")
    }
}

/// A client, and which plugin has admitted it.
fn admitted(broker: &mut Broker, client_id: &str) -> (Client, String) {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect(client_id).unwrap(), 0);
    let told = broker.tape().wait_for_client("ClientConnected", client_id);
    (client, told["fields"]["plugin"].as_str().unwrap().to_owned())
}

fn wait_for(broker: &mut Broker, event: &str, field: &str, value: &str, times: usize) -> Value {
    gatemq_tests::wait_for(event, gatemq_tests::PATIENCE, || {
        let is = |e: &&Value| e["event"] == event && e["fields"][field].as_str().unwrap().contains(value);
        broker.tape().events().iter().filter(is).nth(times - 1).cloned()
    })
}

fn asks(client: &mut Client) {
    for (topic, code) in [("ask/allow", 0), ("ask/deny", 0x87)] {
        assert_eq!(client.published(topic, 1, false, b"x"), code, "{topic}");
    }
}

/// Issue 5: a library that is dropped in serves after a signal, in the chain that names it. Gone again, it admits and answers
/// nobody any more: whom it has admitted is disconnected, and comes back through who is left. Who was admitted by another one notices
/// nothing. It may come once more.
#[test]
fn a_plugin_comes_and_goes() {
    let mut broker = setup().start();
    let (mut stays, by) = admitted(&mut broker, "stays");
    assert_eq!(by, "faults");
    for times in 1..=2 {
        drop_library(&broker, "test-faults");
        broker.reload(chain("\"second\", \"faults\""));
        wait_for(&mut broker, "PluginLoaded", "plugin", "second", times);
        let (id, next) = (format!("c{times}"), format!("next{times}"));
        let (mut client, by) = admitted(&mut broker, &id);
        assert_eq!(by, "second");
        asks(&mut client);
        asks(&mut stays);

        std::fs::remove_file(drop_in(&broker)).unwrap();
        broker.reload(chain("\"faults\""));
        wait_for(&mut broker, "PluginRemoved", "plugin", "second", times);
        assert_eq!(client.expect_goodbye(), Some(0x87));
        let revoked = broker.tape().wait_for_client("IdentityRevoked", &id);
        assert_eq!(revoked["fields"]["by"], "reload: plugin second is gone");
        assert_eq!(admitted(&mut broker, &next).1, "faults");
        asks(&mut stays);
    }
    let reloaded = wait_for(&mut broker, "ConfigReloaded", "restart", "", 4);
    assert_eq!(reloaded["fields"]["restart"], "", "nothing of it waits for a restart");
}

/// Promise 3: what does not work of a new set leaves everything as it was, and is named: a library that is none, one that does not
/// start beside one that would, an auth provider in no chain, a chain whose plugin is gone. The twin is taken.
#[test]
fn promise_3_a_failing_new_plugin_leaves_everything() {
    let mut broker = setup().start();
    let (mut stays, _) = admitted(&mut broker, "stays");
    let library = Artifacts::get().plugin("test-faults");
    let section = |name: &str, more: &str| format!("[plugins.{name}]\nlibrary = {library:?}\n{more}\n");
    let with = |names: &str, sections: String| {
        let change = chain(names);
        move |text: &str| change(text) + &sections
    };
    let before = std::fs::read_to_string(broker.directory().join("gatemq.toml")).unwrap();
    let both = section("good", "") + &section("bad", "config.start = \"error\"");
    let garbage = drop_in(&broker);
    for (n, (says, names, sections)) in [
        ("plugin second refused", "\"second\", \"faults\"", String::new()),
        ("plugin bad", "\"good\", \"bad\", \"faults\"", both),
        ("\"good\" is loaded but in no chain", "\"faults\"", section("good", "")),
        ("\"nobody\" is not an auth provider that is loaded", "\"nobody\"", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        if n == 0 {
            std::fs::write(&garbage, "garbage").unwrap();
        }
        broker.reload(with(names, sections));
        wait_for(&mut broker, "ConfigRefused", "why", says, 1);
        if n == 0 {
            std::fs::remove_file(&garbage).unwrap();
        }
        assert_eq!(admitted(&mut broker, &format!("c{n}")).1, "faults", "{says}");
        asks(&mut stays);
        broker.configure(|_| before.clone());
    }
    // The only one that could admit anybody.
    broker.reload(|text| {
        let (head, rest) = text.split_once("[plugins.faults]").unwrap();
        let (_, rest) = rest.split_once("[plugins.").unwrap();
        format!("{head}[plugins.{rest}")
    });
    wait_for(&mut broker, "ConfigRefused", "why", "\"faults\" is not an auth provider", 1);
    asks(&mut stays);
    assert!(!broker.tape().events().iter().any(|e| e["event"] == "PluginRemoved"));
    broker.configure(|_| before);
    broker.reload(with("\"good\", \"faults\"", section("good", "")));
    wait_for(&mut broker, "PluginLoaded", "plugin", "good", 1);
    assert_eq!(admitted(&mut broker, "twin").1, "good");
}

/// Guards collectors: one that comes gets what happens from then on, `gatemq plugin reload` brings it alone, and when it is gone it
/// has had everything that happened before. The other one loses nothing.
#[test]
fn a_collector_comes_and_goes() {
    let mut broker = setup().start();
    let file = broker.directory().join("later.json");
    let section =
        format!("[plugins.later]\nlibrary = {:?}\nconfig.file = {file:?}\n", Artifacts::get().plugin("events-json"));
    let before = std::fs::read_to_string(broker.directory().join("gatemq.toml")).unwrap();
    admitted(&mut broker, "early").0.disconnect();
    broker.tape().wait_for_client("ClientDisconnected", "early");
    broker.configure(|text| format!("{text}{section}"));
    let reload = |broker: &Broker| {
        let config = broker.directory().join("gatemq.toml");
        let mut command = Command::new(Artifacts::get().broker());
        let ended = command.args(["plugin", "reload", "later", "--config"]).arg(config).output().unwrap();
        String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr)
    };
    assert_eq!(reload(&broker), "later: started\n");
    assert_eq!(reload(&broker), "later: unchanged\n");
    admitted(&mut broker, "while").0.disconnect();
    broker.tape().wait_for_client("ClientDisconnected", "while");
    broker.configure(|_| before);
    assert_eq!(reload(&broker), "later: stopped\n");
    assert!(reload(&broker).contains("there is no plugin"));
    admitted(&mut broker, "late");
    let mut later = gatemq_tests::tape::Tape::new(file);
    later.wait_for_client("ClientDisconnected", "while");
    let others: Vec<_> =
        later.events().iter().filter(|e| ["early", "late"].map(|id| json!(id)).contains(&e["client_id"])).collect();
    assert!(others.is_empty(), "{others:?}");
}
