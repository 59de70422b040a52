//! What the host holds every plugin to: breaker, bounds, veto, health, what file it may be.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Tls, Version};
use gatemq_tests::pki::Pki;
use sha2::{Digest, Sha256};

/// A listener on which one address may come as often as it likes.
const LISTENER: &str = "[listeners.mqtt]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\naddress_connections_per_s_max = 0\n";

/// A client of address 127.0.0.`n`: the code of its CONNACK.
fn connect_from(broker: &Broker, n: u8, version: Version, client_id: &str) -> (Client, u8) {
    let mut client = Client::tcp_from(Ipv4Addr::new(127, 0, 0, n), broker.address("mqtt"), version).unwrap();
    let code = client.connect(client_id).unwrap();
    (client, code)
}

fn code_from(broker: &Broker, n: u8, client_id: &str) -> u8 {
    connect_from(broker, n, Version::V5, client_id).1
}

/// The code of a PUBACK; 0 is none.
fn publish(client: &mut Client, topic: &str) -> u8 {
    client.publish(topic, 1, b"x").unwrap();
    match client.packet() {
        Packet { first: 0x40, body } => body.get(2).copied().unwrap_or(0),
        other => panic!("{other:?}"),
    }
}

/// Promise 3: a plugin that keeps failing is fenced by a breaker: clients are refused without asking it, until it is tried
/// again; who is admitted goes on. Both changes are events. One address alone opens nothing.
#[test]
fn promise_3_a_breaker_fences_a_plugin_that_keeps_failing() {
    let breaker = "breaker_calls = 6\nbreaker_open_ms = 4000\n";
    let mut broker = Setup::new().toml(LISTENER).faults(breaker).tape().start();
    let (mut admitted, code) = connect_from(&broker, 1, Version::V5, "admitted");
    assert_eq!(code, 0);
    for n in 0..20 {
        assert_eq!(code_from(&broker, 2, &format!("fault-panic-{n}")), 0x88);
        assert_eq!(code_from(&broker, 3, "twin"), 0, "one address has failed {n} times");
    }
    for n in 4..7 {
        assert_eq!(code_from(&broker, n, "fault-panic"), 0x88);
    }
    broker.tape().wait_for("the breaker opens", |e| {
        e["event"] == "BreakerOpened" && e["fields"]["calls"] == "strangers" && e["fields"]["failed"] == 3
    });
    for version in Version::ALL {
        assert_eq!(connect_from(&broker, 9, version, "too-early").1, version.connack(0x88));
    }
    let refused = broker.tape().wait_for_client("ClientRefused", "too-early");
    assert!(refused["fields"]["reason"].as_str().unwrap().contains("breaker"), "{refused}");
    assert_eq!(publish(&mut admitted, "ask/allow"), 0, "its provider is asked");
    gatemq_tests::wait_for("the breaker lets one through", gatemq_tests::PATIENCE, || {
        (code_from(&broker, 9, "sensor") == 0).then_some(())
    });
    broker.tape().wait_for("the breaker closes", |e| e["event"] == "BreakerClosed");
    assert_eq!(code_from(&broker, 9, "sensor"), 0);
}

/// Promise 6: strangers can fill three quarters of a plugin's calls, no more: the next one is told that it is busy, and who is
/// admitted is answered.
#[test]
fn promise_6_strangers_leave_calls_for_the_admitted() {
    let broker = Setup::new().mqtt("mqtt").faults("calls_max = 4").start();
    let (mut admitted, code) = connect_from(&broker, 1, Version::V5, "admitted");
    assert_eq!(code, 0);
    let hang = |n: u8| {
        let mut client = Client::tcp_from(Ipv4Addr::new(127, 0, 0, n), broker.address("mqtt"), Version::V5).unwrap();
        client.send(&gatemq_tests::client::connect(Version::V5, &format!("fault-hang-{n}"), None)).unwrap();
        client
    };
    let held: Vec<Client> = (2..5).map(hang).collect();
    let seen = |n: u8| {
        let text = std::fs::read_to_string(broker.directory().join("seen.json")).unwrap_or_default();
        text.contains(&format!("fault-hang-{n}"))
    };
    gatemq_tests::wait_for("all three are asked about", gatemq_tests::PATIENCE, || (2..5).all(seen).then_some(()));
    for version in Version::ALL {
        assert_eq!(connect_from(&broker, 9, version, "one-more").1, version.connack(0x89));
    }
    assert_eq!(publish(&mut admitted, "ask/allow"), 0);
    held.into_iter().for_each(Client::break_off);
    gatemq_tests::wait_for("their places are free", gatemq_tests::PATIENCE, || {
        (code_from(&broker, 9, "sensor") == 0).then_some(())
    });
}

/// Promise 1: a plugin with a veto in front admits nobody, and what it lets pass the next one decides. A chain of nothing but
/// vetoes is refused at the start.
#[test]
fn promise_1_a_veto_only_denies() {
    let pki = Pki::new("Acme");
    let setup = |chain: &str| {
        let setup = Setup::new().mqtts("mqtts", &pki, "required", "").fleet(&pki).faults("veto = true");
        setup.toml(&format!("[auth]\nchain = {chain}\n")).tape()
    };
    let mut broker = setup(r#"["faults", "fleet"]"#).start();
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    for (client_id, wanted) in [("fault-next", 0), ("fault-reject", 0x86), ("wants-in", 0x88), ("fault-panic", 0x88)] {
        let code = Client::try_admitted(broker.address("mqtts"), &tls, Version::V5, client_id).err().unwrap_or(0);
        assert_eq!(code, wanted, "{client_id}");
    }
    let refused = broker.tape().wait_for_client("ClientRefused", "wants-in");
    assert!(refused["fields"]["reason"].as_str().unwrap().contains("veto"), "{refused}");
    let ended = setup(r#"["fleet"]"#).toml("[listeners.mqtts.auth]\nchain = [\"faults\"]").try_start();
    let ended = ended.err().expect("it must not start");
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("listeners.mqtts.auth.chain: all in it have a veto"), "{}", ended.log);
}

/// Promise 1: while an auth provider says that it does not work, nobody new is admitted, and both ends of that are events; who
/// is there stays. The provider is told by SIGHUP, which reaches its running instance.
#[test]
fn promise_1_a_provider_that_is_not_ready_admits_nobody() {
    let setup = Setup::new().mqtt("mqtt").faults("config.health = \"ok\"").tape();
    let mut broker = setup.argument("--set").argument("plugin_host.health_interval_ms=100").start();
    let (mut admitted, code) = connect_from(&broker, 1, Version::V5, "admitted");
    assert_eq!(code, 0);
    broker.reload(|text| text.replace("config.health = \"ok\"", "config.health = \"error\""));
    broker.tape().wait_for("it takes its configuration", |e| e["event"] == "PluginReconfigured");
    let failed = broker.tape().wait_for("it says that it does not work", |e| e["event"] == "PluginFailed");
    assert_eq!(
        (&failed["fields"]["plugin"], &failed["fields"]["why"]),
        (&"faults".into(), &"an error on demand".into())
    );
    for version in Version::ALL {
        assert_eq!(connect_from(&broker, 2, version, "too-early").1, version.connack(0x88));
    }
    let refused = broker.tape().wait_for_client("ClientRefused", "too-early");
    assert!(refused["fields"]["reason"].as_str().unwrap().starts_with("not ready"), "{refused}");
    assert_eq!(publish(&mut admitted, "ask/allow"), 0, "who is there is asked about all the same");
    broker.reload(|text| text.replace("config.health = \"error\"", "config.health = \"ok\""));
    broker.tape().wait_for("it works again", |e| e["event"] == "PluginRecovered");
    assert_eq!(code_from(&broker, 2, "sensor"), 0);
}

/// Promise 1: a provider that is not required and does not start denies where a chain names it, and is never passed by; when
/// its file is mended, a reload has it serve.
#[test]
fn promise_1_a_missing_provider_in_a_chain_denies() {
    let setup = Setup::new();
    let library = setup.directory().join("libspare.so");
    std::fs::write(&library, "garbage").unwrap();
    let chain = |name: &str, chain: &str| {
        format!("[listeners.{name}]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\nauth.chain = {chain}\n")
    };
    let setup = setup.toml(&chain("mqtt", r#"["spare", "faults"]"#)).toml(&chain("other", r#"["faults"]"#));
    let mut broker = setup.plugin("spare", &library, "required = false").faults("").tape().start();
    broker.tape().wait_for("it is refused", |e| e["event"] == "PluginRefused" && e["fields"]["plugin"] == "spare");
    assert_eq!(code_from(&broker, 1, "sensor"), 0x88);
    let mut twin = Client::tcp(broker.address("other"), Version::V5).unwrap();
    assert_eq!(twin.connect("sensor").unwrap(), 0, "the chain without it");
    std::fs::copy(Artifacts::get().plugin("test-faults"), &library).unwrap();
    broker.reload(str::to_owned);
    broker.tape().wait_for("it is loaded", |e| e["event"] == "PluginLoaded" && e["fields"]["plugin"] == "spare");
    assert_eq!(code_from(&broker, 1, "sensor"), 0);
}

/// Guards `Connect::failures`: a provider is told how often clients of that address were refused lately.
#[test]
fn a_provider_is_told_of_failures() {
    let broker = Setup::new().mqtt("mqtt").faults("").start();
    for n in 0..3 {
        assert_eq!(code_from(&broker, 2, "fault-reject"), 0x86);
        assert_eq!(broker.seen("fault-reject")["failures"], n);
    }
    assert_eq!(code_from(&broker, 2, "fault-panic"), 0x88);
    for (n, failures) in [(2, 3), (3, 0)] {
        assert_eq!(code_from(&broker, n, "sensor"), 0);
        assert_eq!(broker.seen("sensor")["failures"], failures, "a plugin's failure is not the client's");
    }
}

/// A plugin's file in a directory of its own, and a configuration with it that looks at owners.
fn guarded() -> (Setup, PathBuf) {
    let setup = Setup::new().mqtt("mqtt").argument("--set").argument("plugin_host.owner_checked=true");
    let directory = setup.directory().join("plugins");
    std::fs::create_dir(&directory).unwrap();
    let library = directory.join("libgate.so");
    std::fs::copy(Artifacts::get().plugin("test-faults"), &library).unwrap();
    std::fs::set_permissions(&library, PermissionsExt::from_mode(0o644)).unwrap();
    (setup, library)
}

/// Guards section 4.3: a library that others can write to, or whose directory they can, is refused with one clear line before
/// any of its code runs; so is one that is not the pinned one. The twins are loaded.
#[test]
fn a_library_that_is_not_the_operators_is_refused() {
    let sha256 = |text: &[u8]| Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let good = sha256(&std::fs::read(Artifacts::get().plugin("test-faults")).unwrap());
    for (file_mode, directory_mode, pin, says) in [
        (0o644, 0o755, String::new(), None),
        (0o644, 0o755, format!("sha256 = {:?}", good.to_uppercase()), None),
        (0o666, 0o755, String::new(), Some("libgate.so to belong to root or to user")),
        (0o644, 0o775, String::new(), Some("plugins to belong to root or to user")),
        (0o644, 0o755, format!("sha256 = {:?}", sha256(b"")), Some("if this library is meant, change the pin")),
    ] {
        let (setup, library) = guarded();
        std::fs::set_permissions(&library, PermissionsExt::from_mode(file_mode)).unwrap();
        std::fs::set_permissions(library.parent().unwrap(), PermissionsExt::from_mode(directory_mode)).unwrap();
        match (setup.plugin("gate", &library, &pin).try_start(), says) {
            (Ok(broker), None) => assert_eq!(code_from(&broker, 1, "sensor"), 0),
            (Err(ended), Some(says)) => {
                assert_eq!(ended.code, Some(69), "{}", ended.log);
                let lines =
                    ended.log.lines().filter(|line| line.contains(says) && line.contains("plugin gate refused"));
                assert_eq!(lines.count(), 1, "{}", ended.log);
            }
            (found, wanted) => panic!("{file_mode:o} {directory_mode:o} {pin}: {:?}, {wanted:?}", found.err()),
        }
    }
}
