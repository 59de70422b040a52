//! What stops the start, and what does not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use gatemq_plugin_testkit::{CallFailure, Level};
use serde_json::json;

use crate::bench::{Bench, accepted, client, hash};

async fn why_not(bench: &Bench, more: serde_json::Value) -> String {
    match bench.try_start(more.clone()).await {
        Err(CallFailure::Failed(why)) => why,
        other => panic!("{more}: {:?}", other.err()),
    }
}

/// Guards that a wrong configuration stops the start and is named, and that its right twin starts.
#[tokio::test]
async fn a_wrong_configuration_is_named() {
    let bench = Bench::new(&format!("[users.pump]\npassword = \"{}\"\n", hash("p")));
    for (wrong, says, right) in [
        (json!({"cache": 1}), "cache: there is no such key", json!({"cache_s": 1})),
        (json!({"cache_s": 86_401}), "cache_s: is 86401; at most 86400", json!({"cache_s": 86_400})),
        (json!({"queue_max": 65_537}), "queue_max: is 65537; at most 65536", json!({"queue_max": 65_536})),
        (json!({"tenant": ""}), "tenant: is empty", json!({"tenant": "t"})),
        (json!({"tenant": null}), "users.toml:1: users.pump: has no tenant", json!({"tenant": "t"})),
        (json!({"users_file": "/nonexistent/u"}), "/nonexistent/u: cannot be read", json!({})),
        (json!({"users_file": "/dev"}), "/dev: is not a file", json!({})),
    ] {
        let why = why_not(&bench, wrong.clone()).await;
        assert!(why.contains(says), "{wrong}: {why}");
        let instance = bench.try_start(right).await.unwrap();
        accepted(&instance, &client("pump", "p")).await;
    }
}

/// Guards that all problems of configuration and file are told at once, each with file, line and key.
#[tokio::test]
async fn all_problems_are_told_at_once() {
    let bench = Bench::new("[users.a]\npassword = \"hunter2\"\n[users.b]\ngroups = [\"g\"]\n");
    let why = why_not(&bench, json!({"cache_s": 1_000_000, "tenant": ""})).await;
    let file = bench.file();
    let lines: Vec<&str> = why.lines().collect();
    let wanted = [
        "tenant: is empty".to_owned(),
        "cache_s: is 1000000; at most 86400".to_owned(),
        format!("{}:2: users.a.password: is not an argon2id hash", file.display()),
        format!("{}:3: users.b: has no password", file.display()),
        format!("{}:4: users.b.groups[0]: there is no group \"g\"", file.display()),
    ];
    assert_eq!(lines.len(), wanted.len(), "{why}");
    for (line, wanted) in lines.iter().zip(&wanted) {
        assert!(line.starts_with(wanted), "{line}");
    }
    assert!(!why.contains("hunter2"));
}

/// Guards that a file which others may write admits nobody, and that one which all may read is told.
#[tokio::test]
async fn a_file_that_others_may_write_stops_the_start() {
    let bench = Bench::new(&format!("[users.pump]\npassword = \"{}\"\n", hash("p")));
    let mode = |mode| std::fs::set_permissions(bench.file(), Permissions::from_mode(mode)).unwrap();
    for writable in [0o660, 0o602] {
        mode(writable);
        let why = why_not(&bench, json!({})).await;
        assert!(why.contains("may be written by group or others"), "{why}");
    }
    for (good, warnings) in [(0o640, 0), (0o644, 1)] {
        mode(good);
        let instance = bench.start().await;
        accepted(&instance, &client("pump", "p")).await;
        assert_eq!(bench.logged(Level::Warn, "may be read by everybody"), warnings, "{good:o}");
    }
}

/// Guards the owner of the file; needs root, who alone can give files away.
#[tokio::test]
async fn a_file_of_another_user_stops_the_start() {
    let bench = Bench::new("");
    if std::os::unix::fs::chown(bench.file(), Some(12_345), None).is_err() {
        return;
    }
    let why = why_not(&bench, json!({})).await;
    assert!(why.contains("belongs to user id 12345"), "{why}");
    std::os::unix::fs::chown(bench.file(), Some(0), None).unwrap();
    bench.start().await;
}
