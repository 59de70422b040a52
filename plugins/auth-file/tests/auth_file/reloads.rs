//! The file changes while the broker runs.

use gatemq_plugin_testkit::AuthOutcome;
use gatemq_plugin_testkit::{Health, Level};
use serde_json::json;

use crate::bench::{Bench, accepted, ask, client, hash, hash_costing, until, until_accepted};

fn user(name: &str, password: &str, more: &str) -> String {
    format!("[users.{name}]\npassword = \"{}\"\n{more}\n", hash(password))
}

/// Promise 7: who is added may come, who is removed, disabled or has another password may not, within seconds, remembered
/// or not; the broker is told to ask again for those who changed, and only for those.
#[tokio::test]
async fn promise_7_a_changed_file_is_taken() {
    let stays = user("stays", "p", "");
    let bench =
        Bench::new(&format!("{stays}{}{}{}", user("gone", "p", ""), user("off", "p", ""), user("new", "p", "")));
    let instance = bench.start().await;
    for name in ["stays", "gone", "off", "new"] {
        accepted(&instance, &client(name, "p")).await;
    }
    let off = user("off", "p", "disabled = true");
    bench.write(&format!("{stays}{off}{}{}", user("new", "q", ""), user("added", "p", "")));
    until_accepted(&instance, &client("added", "p"), true).await;
    for (name, password, wanted) in
        [("stays", "p", true), ("gone", "p", false), ("off", "p", false), ("new", "p", false), ("new", "q", true)]
    {
        until_accepted(&instance, &client(name, password), wanted).await;
    }
    until("the broker is told", || bench.revoked() == ["gone", "new", "off"]).await;
    assert_eq!(bench.logged(Level::Info, "4 users"), 2, "at the start and after the change");
    assert_eq!(instance.health().await, Health::Ready);
}

/// Promise 1: a file with a mistake, one that others may write, and none at all change nothing and are told, once; the next
/// good one is taken.
#[tokio::test]
async fn promise_1_a_bad_file_changes_nothing() {
    let bench = Bench::new(&user("pump", "p", ""));
    let instance = bench.start().await;
    let writable = || {
        bench.write(&user("evil", "p", ""));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(bench.file(), mode).unwrap();
    };
    let spoils: [(&str, &dyn Fn()); 3] = [
        ("3: users.evil.x: there is no such key", &|| bench.write(&user("evil", "p", "x = 1"))),
        ("may be written by group or others", &writable),
        ("cannot be read", &|| std::fs::remove_file(bench.file()).unwrap()),
    ];
    for (n, (says, spoil)) in spoils.into_iter().enumerate() {
        spoil();
        until(says, || bench.logged(Level::Error, says) == 1).await;
        match instance.health().await {
            Health::Degraded(why) => assert!(why.contains(says), "{why}"),
            other => panic!("{says}: {other:?}"),
        }
        accepted(&instance, &client("pump", "p")).await;
        until_accepted(&instance, &client("evil", "p"), false).await;
        assert_eq!(bench.counted("reloads_refused"), n as u64 + 1);
    }
    bench.write(&user("good", "p", ""));
    until_accepted(&instance, &client("good", "p"), true).await;
    until_accepted(&instance, &client("pump", "p"), false).await;
    assert_eq!(instance.health().await, Health::Ready);
}

/// Guards that a new configuration takes the file as it is at that moment, and that a wrong one changes nothing.
#[tokio::test]
async fn a_new_configuration_takes_the_file_at_once() {
    let bench = Bench::new(&user("pump", "p", ""));
    let instance = bench.start().await;
    bench.write(&user("second", "p", ""));
    instance.reconfigure(bench.config(json!({"tenant": "other"}))).await.unwrap();
    assert_eq!(accepted(&instance, &client("second", "p")).await.tenant, "other");
    let nowhere = bench.config(json!({"users_file": "/nonexistent/users.toml"}));
    assert!(instance.reconfigure(nowhere).await.is_err());
    assert_eq!(accepted(&instance, &client("second", "p")).await.tenant, "other");
    assert!(!matches!(ask(&instance, &client("pump", "p")).await, AuthOutcome::Accept(_)));
}

/// Promise 1: what counts is the file at the moment of the answer: a client whose password was changed while it was verified
/// is refused, and one whose other keys were changed gets those of now.
#[tokio::test]
async fn promise_1_a_change_during_the_verification_counts() {
    let slow = |more: &str| format!("[users.pump]\npassword = \"{}\"\n{more}\n", hash_costing("p", 32 * 1024, 64));
    let before = slow("");
    for (after, admitted) in [(slow(""), false), (format!("{before}tenant = \"other\"\n"), true)] {
        let bench = Bench::new(&before);
        let instance = bench.start().await;
        let asking = instance.clone();
        let answer = tokio::spawn(async move { ask(&asking, &client("pump", "p")).await });
        until("it is being verified", || bench.counted("verifications") == 1).await;
        bench.write(&after);
        instance.reconfigure(bench.config(json!({}))).await.unwrap();
        assert!(!answer.is_finished(), "the verification is too quick for this test");
        match answer.await.unwrap() {
            AuthOutcome::Accept(identity) if admitted => assert_eq!(identity.tenant, "other"),
            AuthOutcome::Reject { code, .. } if !admitted => assert_eq!(code.0, 0x86),
            other => panic!("admitted should be {admitted}: {other:?}"),
        }
    }
}
