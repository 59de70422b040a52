//! `gatemq import mosquitto`: what it makes is good, and admits whom mosquitto admitted, to the same.

use std::path::Path;
use std::process::{Command, Output};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Version};

/// Made by `mosquitto_passwd -H sha512` and by `mosquitto_passwd`.
const PASSWORDS: &str = "\
pump:$6$NA5eq+O0RMy1Jd/t$zs652P14H1ie718NPMaCeWms/IsUOoY0RDWryjT6ml9qbjBb345oVRNNVKdv0Wbhws3KSfoMrBrGyAxpjM56mg==
valve:$7$101$DlHywGpZjbgo9a5Q$FsHug4y5KOA4yEngHgrGq1/7KI5sxg7ltNCVOxix64dyeZxpqwcpJ1kjUcr2o0+yuDzH39YDakuR6xolt2ib3A==
";
const RULES: &str = "\
topic read public/#
user pump
topic readwrite pumps/#
topic deny pumps/secret
pattern write devices/%c/%u/up
pattern read devices/%c/#
";
const NOT_AUTHORIZED: u8 = 0x87;

fn gatemq(arguments: &[&str]) -> Output {
    Command::new(Artifacts::get().broker()).args(arguments).output().unwrap()
}

fn import(conf: &Path, out: &Path) -> (Option<i32>, String, String) {
    let output = gatemq(&["import", "mosquitto", conf.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A mosquitto.conf with these lines, beside its password and ACL file.
fn conf(dir: &Path, lines: &str) -> std::path::PathBuf {
    let (passwords, rules, file) = (dir.join("passwd"), dir.join("acl"), dir.join("mosquitto.conf"));
    std::fs::write(&passwords, PASSWORDS).unwrap();
    std::fs::write(&rules, RULES).unwrap();
    let head = format!("password_file {}\nacl_file {}\n", passwords.display(), rules.display());
    std::fs::write(&file, head + lines).unwrap();
    file
}

/// Issue 7, item 3: every line is told, the result is good by `gatemq check`, its files are for nobody else, and nothing is ever
/// overwritten.
#[test]
fn what_is_imported_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "listener 1883 127.0.0.1\nmax_connections 500\nmax_inflight_messages 20\npersistence false\n\
                 max_queued_messages 0\nconnection bridge-1\naddress example.com\nlistener 9001\nprotocol websockets\n";
    let conf = conf(dir.path(), lines);
    let out = dir.path().join("out");
    let (code, told, err) = import(&conf, &out);
    assert_eq!(code, Some(0), "{err}");
    for line in 1..=lines.lines().count() + 2 {
        assert!(told.contains(&format!("mosquitto.conf:{line}: ")), "line {line} in\n{told}");
    }
    for says in [
        "mosquitto.conf:5: max_inflight_messages 20: limits.inflight_max = 20",
        "mosquitto.conf:8: connection bridge-1: NOT TAKEN",
        "passwd:2: user valve",
        "acl:4: topic deny pumps/secret",
        "2 lines have no counterpart",
    ] {
        assert!(told.contains(says), "{says} in\n{told}");
    }
    assert!(!told.contains("$6$") && !told.contains("$7$"), "hashes are not for terminals");
    let plugin = Artifacts::get().plugin("auth-file");
    let (config, library) = (out.join("gatemq.toml"), format!("plugins.people.library={}", plugin.display()));
    let config = config.to_str().unwrap();
    let nothing = format!("plugin_host.drop_in_dir={}", dir.path().join("none").display());
    std::fs::create_dir(dir.path().join("none")).unwrap();
    let more = ["--set", &library, "--set", &nothing, "--set", "plugin_host.owner_checked=false"];
    let checked = gatemq(&[&["check", "--config", config][..], &more].concat());
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(out.join("users.toml")).unwrap().permissions());
    assert_eq!(mode & 0o077, 0);

    let before = std::fs::read(config).unwrap();
    let (code, _, err) = import(&conf, &out);
    assert!(code == Some(73) && err.contains("is there already"), "{code:?} {err}");
    assert_eq!(std::fs::read(config).unwrap(), before);
}

/// Issue 7, item 3: who mosquitto admitted comes in with the same password, to what it might do there and nothing else; a wrong password
/// and whoever has none do not, and who is anonymous only where that was allowed.
#[test]
fn who_was_admitted_is_admitted() {
    let dir = tempfile::tempdir().unwrap();
    for anonymous in [false, true] {
        let out = dir.path().join(format!("out-{anonymous}"));
        let conf = conf(dir.path(), &format!("listener 1883 127.0.0.1\nallow_anonymous {anonymous}\n"));
        let (code, _, err) = import(&conf, &out);
        assert_eq!(code, Some(0), "{err}");
        // Its own listener has a port that somebody else may have: the rest of it is in this broker's conf.d.
        let text = std::fs::read_to_string(out.join("gatemq.toml")).unwrap();
        let text = text.replace("127.0.0.1:1883", "127.0.0.1:0");
        let library = format!("library = {:?}", Artifacts::get().plugin("auth-file"));
        let broker = Setup::new().toml(&text.replace("library = \"auth-file\"", &library)).start();
        let connect = |id: &str, user: Option<(&str, &str)>| {
            let mut client = Client::tcp(broker.address("listener-1883"), Version::V5).unwrap();
            let code = client.connect_as(id, user).unwrap();
            (client, code)
        };
        assert_eq!(connect("x", Some(("pump", "wrong"))).1, 0x86);
        assert_eq!(connect("x", Some(("nobody", "pumpenwort"))).1, 0x86);
        let (mut pump, code) = connect("p1", Some(("pump", "pumpenwort")));
        assert_eq!(code, 0);
        for (filter, allowed) in [
            ("pumps/1/#", true),
            ("pumps/#", false),
            ("devices/p1/#", true),
            ("devices/p2/#", false),
            ("public/#", false),
            ("#", false),
        ] {
            assert_eq!(pump.subscribe(filter, 0), if allowed { 0 } else { NOT_AUTHORIZED }, "{filter}");
        }
        let (mut valve, code) = connect("v1", Some(("valve", "p\u{e4}sswort 7")));
        assert_eq!(code, 0);
        assert_eq!(valve.subscribe("pumps/1/#", 0), NOT_AUTHORIZED);
        let is_denied = |client: &mut Client, topic: &str| client.published(topic, 1, false, b"x") == NOT_AUTHORIZED;
        for (topic, denied) in [("devices/v1/valve/up", false), ("devices/v1/pump/up", true), ("pumps/1", true)] {
            assert_eq!(is_denied(&mut valve, topic), denied, "{topic}");
        }
        for (topic, denied) in [("pumps/1/on", false), ("pumps/secret", true), ("devices/p1/pump/up", false)] {
            assert_eq!(is_denied(&mut pump, topic), denied, "{topic}");
        }
        let (mut nobody, code) = connect("n", None);
        assert_eq!(code == 0, anonymous);
        if anonymous {
            assert_eq!(nobody.subscribe("public/#", 0), 0);
            assert_eq!(nobody.subscribe("pumps/1/#", 0), NOT_AUTHORIZED);
        }
    }
}

/// Hostile or broken input: a line that is not understood ends it with its place, and nothing is written; so does a file that is not
/// there. The twin is above.
#[test]
fn what_is_not_understood_is_not_imported() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (line, code, says) in [
        ("listener 70000", 65, "mosquitto.conf:3: wants a port"),
        ("listener 1883\nprotocol http", 65, "mosquitto.conf:4: protocol is"),
        ("per_listener_settings true", 65, "mosquitto.conf:3: per_listener_settings"),
        ("allow_anonymous maybe", 65, "mosquitto.conf:3: wants true or false"),
        ("listener 8883\nrequire_certificate true", 65, "require_certificate without certfile"),
        ("certfile /x", 65, "mosquitto.conf:3: certfile comes before any listener"),
        ("persistent_client_expiration \u{e4}", 65, "mosquitto.conf:3: wants a number and"),
        ("acl_file /nothing/here", 66, "/nothing/here: cannot be read"),
    ] {
        let (had, _, err) = import(&conf(dir.path(), line), &out);
        assert!(had == Some(code) && err.contains(says), "{line}: {had:?} {err}");
        assert!(!out.join("gatemq.toml").exists() && !out.join("users.toml").exists(), "{line}");
    }
    let file = conf(dir.path(), "listener 1883");
    std::fs::write(dir.path().join("passwd"), "pump:hunter2\n").unwrap();
    let (code, _, err) = import(&file, &out);
    assert!(code == Some(65) && err.contains("passwd:1: ") && !err.contains("hunter2"), "{code:?} {err}");
}
