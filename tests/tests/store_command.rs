//! `gatemq store check` and `gatemq store stats`, from the command line.

use std::path::Path;
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Version};
use serde_json::Value;

fn gatemq(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut gatemq = Command::new(Artifacts::get().broker());
    let output =
        gatemq.arg("store").args(arguments).arg("--config").arg(directory.join("gatemq.toml")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Issue 4, item 3: a store that a broker has is left alone (75), one at rest is shown to people and programs, a damaged one
/// is named with what to do (65), and none is not made by looking (66). All say what to do next.
#[test]
fn a_store_can_be_looked_into() {
    let broker = Setup::new().mqtt("mqtt").faults("config.grants = [{ allow = [\"all\"], filter = \"#\" }]").start();
    let mut client = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
    assert_eq!(client.connect("c").unwrap(), 0);
    // A retained message, acknowledged.
    let _ = client.send_packet(0x33, b"\0\x01t\0\x01value");
    assert_eq!(client.packet().kind(), 4, "PUBACK");
    let kept = tempfile::tempdir().unwrap();
    for command in ["check", "stats"] {
        let (code, out, err) = gatemq(broker.directory(), &[command]);
        assert_eq!((code, &*out), (Some(75), ""), "{err}");
        assert!(err.contains("held by another process") && err.contains("stop that broker first"), "{err}");
    }
    // The directory goes with the broker.
    let directory = kept.path().join("broker");
    let (from, pid) = (broker.directory().to_owned(), broker.pid().to_string());
    let copied = Command::new("cp").arg("-r").arg(&from).arg(&directory).status().unwrap();
    assert!(copied.success() && !pid.is_empty());
    drop(broker);
    let text = std::fs::read_to_string(directory.join("gatemq.toml")).unwrap();
    let text = text.replace(from.to_str().unwrap(), directory.to_str().unwrap());
    std::fs::write(directory.join("gatemq.toml"), text).unwrap();

    let (code, out, err) = gatemq(&directory, &["check", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["retained_messages"], &found["denials"]), (&1.into(), &0.into()), "{out}");
    assert!(found["commit"].as_u64().unwrap() >= found["commit_high"].as_u64().unwrap(), "{out}");
    let (code, out, err) = gatemq(&directory, &["stats", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["commit"], found["commit"]);
    let (code, out, _) = gatemq(&directory, &["check"]);
    assert!(code == Some(0) && out.contains("retained messages") && out.contains("file  "), "{out}");

    let store = directory.join("data/store");
    std::fs::write(store.join("commit.high"), b"nothing of the kind").unwrap();
    for command in ["check", "stats"] {
        let (code, out, err) = gatemq(&directory, &[command, "--json"]);
        assert_eq!((code, &*out), (Some(65), ""), "{err}");
        assert!(err.contains("commit.high is damaged") && err.contains("bring the file back from a copy"), "{err}");
    }
    std::fs::remove_dir_all(&store).unwrap();
    for command in ["check", "stats"] {
        let (code, _, err) = gatemq(&directory, &[command]);
        assert!(code == Some(66) && err.contains("there is no store"), "{err}");
        assert!(!store.exists(), "{command} made one");
    }
}
