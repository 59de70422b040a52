//! `gatemq plugin check` and `gatemq plugin try`: a library without a broker.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use argon2::{Argon2, Params, PasswordHasher};
use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::outside;
use gatemq_tests::pki::Pki;
use serde_json::{Value, json};

/// Runs `gatemq plugin` with this on its standard input: exit code, standard output, standard error.
fn gatemq(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut gatemq = Command::new(Artifacts::get().broker());
    let pipes =
        gatemq.arg("plugin").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // Who needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn told(arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, out, err) = gatemq(&[arguments, &["--json"]].concat(), "");
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}{err}")))
}

fn written(directory: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

fn plugin(name: &str) -> String {
    Artifacts::get().plugin(name).display().to_string()
}

/// Issue 5, item 8: of a good library everything is told that its operator wants to know, and it passes its self test.
#[test]
fn check_tells_what_a_library_is() {
    let (code, report) = told(&["check", &plugin("test-faults")]);
    assert_eq!((code, &report["usable"], &report["config"]), (Some(0), &json!(true), &json!("good")), "{report}");
    assert_eq!((&report["interface"], &report["roles"]), (&json!("1.0.0"), &json!("auth, events")));
    assert_eq!((&report["name"], report["sha256"].as_str().map(str::len)), (&json!("gatemq-test-faults"), Some(64)));
    assert!(report["compiler"].as_str().unwrap().starts_with("rustc version 1."), "{report}");
    let steps = report["self_test"].as_array().unwrap();
    assert!(steps.len() == 5 && steps.iter().all(|step| step["passed"] == true), "{report}");

    // Nothing is started where the configuration is needed, and that is said.
    let (code, report) = told(&["check", &plugin("auth-certificate")]);
    assert_eq!((code, &report["self_test"]), (Some(0), &Value::Null), "{report}");
    let keys = report["keys"].as_array().unwrap();
    for (key, takes, needed) in [
        ("anchors", "table of any keys", true),
        ("anchors.*", "text", false),
        ("rules", "list of table", true),
        ("rules[].common_name", "text", false),
        ("rules[].grants", "list of table", false),
        ("rules[].grants[].filter", "text", true),
    ] {
        let wanted = json!({"key": key, "takes": takes, "needed": needed});
        assert!(keys.contains(&wanted), "{wanted} is not in {keys:?}");
    }
    let (_, people, _) = gatemq(&["check", &plugin("auth-certificate")], "");
    for says in ["interface      1.0.0", "rules[].grants[].filter", "missing field `anchors`", "--plugin-config"] {
        assert!(people.contains(says), "{says}: {people}");
    }
}

/// Issue 5, item 8: why a library would be refused, what is wrong with its configuration, and what fails when it runs, each with an
/// exit code of its own. `check_tells_what_a_library_is` has the twins.
#[test]
fn check_tells_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let text = written(directory.path(), "libtext.so", "no library");
    let other = outside::other_major().display().to_string();
    for (file, says) in
        [(text.as_str(), "wanted a dynamic library"), (&other, "found 2.0.0"), ("/nowhere", "cannot be read")]
    {
        let (code, report) = told(&["check", file]);
        assert_eq!((code, &report["usable"]), (Some(69), &json!(false)), "{report}");
        assert!(report["refused"].as_str().unwrap().contains(says), "{report}");
    }
    let faults = plugin("test-faults");
    for (config, code, says) in [
        ("tenantt = \"x\"", 78, "tenantt: there is no such key"),
        ("late_ms = \"soon\"", 78, "late_ms: invalid type"),
        ("late_ms = ", 78, "config.toml"),
        ("start = \"error\"", 69, "an error on demand"),
        ("collect = \"panic\"", 69, "panicked: a panic on demand"),
        ("stop = \"panic\"", 69, "panicked: a panic on demand"),
    ] {
        let file = written(directory.path(), "config.toml", config);
        let (found, people, err) = gatemq(&["check", &faults, "--plugin-config", &file], "");
        assert_eq!(found, Some(code), "{config}: {people}{err}");
        assert!(people.contains(says) && people.contains("it cannot be used"), "{config}: {people}");
    }
}

/// Issue 5, item 8, and promise 1: a client with a certificate is tried against a plugin, and its actions against the grants; whatever
/// is no admission is a denial.
#[test]
fn try_asks_about_a_client() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new("Acme");
    let root = pki.write_root(directory.path()).display().to_string();
    let chain = pki.client("sensor-1").write(directory.path(), "sensor").certificate.display().to_string();
    let config = format!(
        "anchors = {{ acme = {root:?} }}\n[[rules]]\ncommon_name = \"sensor-*\"\n\
         grants = [{{ allow = [\"all\"], filter = \"devices/${{cert.cn}}/#\" }}]\n"
    );
    let config = written(directory.path(), "config.toml", &config);
    let library = plugin("auth-certificate");
    let with = |trust: &[&str], wants: &[&str]| {
        let client = ["try", &library, "--plugin-config", &config, "--certificate", &chain];
        told(&[&client[..], trust, wants].concat())
    };
    let trust = ["--trust", root.as_str()];
    let (code, report) = with(&trust, &["publish", "devices/sensor-1/t"]);
    assert_eq!((code, &report["action"]["grant"]["number"]), (Some(0), &json!(1)), "{report}");
    let identity = &report["connect"]["identity"];
    assert_eq!((&identity["tenant"], &identity["user"]), (&json!("acme"), &json!("sensor-1")), "{report}");
    assert_eq!(with(&trust, &["connect"]).0, Some(0));
    assert_eq!(with(&trust, &["publish", "devices/sensor-2/t"]).0, Some(77));
    assert_eq!(with(&trust, &["subscribe", "devices/sensor-1/#"]).0, Some(0));
    assert_eq!(with(&trust, &["subscribe", "devices/#"]).0, Some(77));
    let (code, report) = with(&[], &["connect"]);
    assert_eq!((code, &report["connect"]["outcome"]), (Some(77), &json!("next")), "{report}");
    assert!(report["note"].as_str().unwrap().contains("not verified"), "{report}");
}

/// Promise 1: so it is with whatever else a plugin says, or does not say; where a grant says Ask, it is asked.
#[test]
fn promise_1_try_grants_nothing_without_an_answer() {
    let library = plugin("test-faults");
    for (client, wants, code, says) in [
        ("sensor", &["connect"][..], 0, "CONNECT: accept"),
        ("fault-reject", &["connect"], 77, "CONNECT: reject, code 134"),
        ("fault-panic", &["connect"], 77, "gives no answer: panicked: a panic on demand"),
        ("fault-bad-grant", &["connect"], 77, "the broker refuses it"),
        ("fault-empty-tenant", &["connect"], 77, "the broker refuses it"),
        ("sensor", &["publish", "ask/allow"], 0, "the plugin says: allow"),
        ("sensor", &["publish", "ask/slow-allow"], 0, "the plugin says: allow"),
        ("sensor", &["publish", "ask/deny"], 77, "the plugin says: deny"),
        ("sensor", &["subscribe", "ask/panic"], 77, "panicked: a panic on demand"),
        ("sensor", &["publish", "$SYS/x"], 77, "begin with $"),
        ("sensor", &["publish", "a/+"], 77, "the topic"),
        ("sensor", &["publish"], 65, "to which topic"),
    ] {
        let (found, people, err) = gatemq(&[&["try", &library, "--client-id", client], wants].concat(), "");
        assert_eq!(found, Some(code), "{client} {wants:?}: {people}{err}");
        assert!(people.contains(says) || err.contains(says), "{client} {wants:?}: {people}{err}");
    }
    let (code, _, err) = gatemq(&["try", &plugin("events-json"), "connect"], "");
    assert!(code == Some(65) && err.contains("no auth provider"), "{err}");
}

/// Guards that a password is shown to the plugin alone: it is read from a file or from standard input, and told to nobody.
#[test]
fn try_reads_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let argon2 = Argon2::from(Params::new(64, 1, 1, None).unwrap());
    let hash = argon2.hash_password(b"right-1").unwrap();
    let users = written(directory.path(), "users.toml", &format!("[users.ada]\npassword = \"{hash}\"\n"));
    let config = written(directory.path(), "config.toml", &format!("users_file = {users:?}\ntenant = \"acme\"\n"));
    let library = plugin("auth-file");
    let file = written(directory.path(), "password", "right-1\n");
    for (password_file, input, code) in [("-", "right-1\nx", 0), (&file, "", 0), ("-", "wrong-1", 77)] {
        let client = ["--user", "ada", "--password-file", password_file];
        let arguments = [&["try", &library, "--plugin-config", &config][..], &client, &["connect"]].concat();
        let (found, out, err) = gatemq(&arguments, input);
        assert_eq!(found, Some(code), "{out}{err}");
        assert!(!out.contains("t-1") && !out.contains("g-1") && err.is_empty(), "{out}{err}");
    }
}
