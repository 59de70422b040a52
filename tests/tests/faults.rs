//! The fault suite of the testkit with every plugin of this project: cancelled calls, thousands at once, reconfiguration under load,
//! odd input, a stop while calls run.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::{Argon2, Params, PasswordHasher};
use gatemq_plugin_testkit::{Authority, Counts, FaultSuite, Options, connect, connect_as, publish, subscribe};
use gatemq_tests::PATIENCE;
use gatemq_tests::artifacts::{Artifacts, plugin_packages};
use gatemq_tests::http::{Http, Reply, Request};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The plugins, each with a test below.
const PLUGINS: [&str; 8] =
    ["auth-certificate", "auth-file", "auth-http", "auth-jwt", "events-json", "guard", "test-faults", "test-requests"];

/// Guards that none is left out, also none that is new.
#[test]
fn every_plugin_has_a_row() {
    assert_eq!(plugin_packages(), PLUGINS.map(|name| format!("gatemq-{name}")));
}

/// All of it with `cargo xtask test --long`; otherwise as much as takes seconds.
fn counts() -> Counts {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok());
    if cases.is_some_and(|cases| cases >= 10_000) { Counts::FULL } else { Counts::SHORT }
}

fn suite(plugin: &str, config: Value) -> FaultSuite {
    assert!(PLUGINS.contains(&plugin));
    let options = Options { timeout: PATIENCE, start_timeout: PATIENCE, ..Options::default() };
    FaultSuite::new(Artifacts::get().plugin(plugin), config).counts(counts()).options(options)
}

fn passes(suite: &FaultSuite) {
    let report = suite.run();
    println!("{report}");
    report.assert_passed();
}

fn written(directory: &Path, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Promises 1 and 3: certificates of its anchors and of others, verified or not, and garbage for certificates.
#[test]
fn auth_certificate_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    let (acme, other) = (Authority::new("Acme"), Authority::new("Other"));
    let anchor = written(directory.path(), "acme.crt", &acme.root_pem());
    let lost = acme.client_with("sensor-2", |params| params.serial_number = Some(vec![0x4d, 0x2f].into()));
    let revoked = "serial acme 4d2f CN=Acme Intermediate, O=Acme";
    let revoked = written(directory.path(), "revoked", revoked);
    let config = |user: &str| {
        json!({"anchors": {"acme": anchor}, "revoked_file": revoked, "rules": [
            {"common_name": "sensor-*", "user": user, "exclusive": "certificate",
                "grants": [{"allow": ["all"], "filter": "devices/${client_id}/#"}]},
        ]})
    };
    let unverified = gatemq_plugin_testkit::Connect {
        tls: Some(acme.client("sensor-1").unverified()),
        ..acme.client("sensor-1").shown_by(connect("unverified"))
    };
    passes(
        &suite("auth-certificate", config("${cert.cn}"))
            .other_config(config("someone"))
            .client(acme.client("sensor-1").shown_by(connect("sensor-1")))
            .client(acme.client("pump-1").shown_by(connect("pump-1")))
            .client(lost.shown_by(connect("sensor-2")))
            .client(other.client("sensor-1").shown_by(connect("sensor-1")))
            .client(unverified)
            .client(connect("plain")),
    );
}

/// Promises 1 and 3: right and wrong passwords, while the file is read again and again.
#[test]
fn auth_file_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    let argon2 = Argon2::from(Params::new(64, 1, 1, None).unwrap());
    let hash = argon2.hash_password(b"right").unwrap();
    let users = format!("[users.ada]\npassword = \"{hash}\"\n[users.bob]\npassword = \"{hash}\"\ndisabled = true\n");
    let users = written(directory.path(), "users.toml", &users);
    passes(
        &suite("auth-file", json!({"users_file": users, "tenant": "acme"}))
            .other_config(json!({"users_file": users, "tenant": "other", "cache_s": 0}))
            .client(connect_as("c-1", "ada", "right"))
            .client(connect_as("c-2", "ada", "wrong"))
            .client(connect_as("c-3", "bob", "right"))
            .client(connect_as("c-4", "nobody", "right"))
            .client(connect("c-5")),
    );
}

/// Who has the password is allowed; topics that end in `/yes` are.
fn decide(request: &Request) -> Reply {
    let body = &request.body;
    Reply::json(match body["call"].as_str() {
        Some("authorize") => match body["action"]["topic"].as_str().is_some_and(|topic| topic.ends_with("/yes")) {
            true => json!({"result": "allow"}),
            false => json!({"result": "deny", "reason": "no"}),
        },
        _ if body["password"] == "right" => {
            json!({"result": "allow", "tenant": "acme", "user": "ada", "grants": [{"ask": ["all"], "filter": "ask/#"}]})
        }
        _ => json!({"result": "deny", "reason": "no"}),
    })
}

/// Promises 1 and 3: every client is a question to a server, and so is every action.
#[test]
fn auth_http_bears_it() {
    let server = Http::start(decide);
    let config = |kept_max: u64| json!({"server": {"url": server.url(), "timeout_ms": 15_000}, "kept_max": kept_max});
    passes(
        &suite("auth-http", config(0))
            .other_config(config(100))
            .client(connect_as("c-1", "ada", "right"))
            .client(connect_as("c-2", "ada", "wrong"))
            .client(connect("c-3"))
            .action(publish("ask/yes"))
            .action(subscribe("ask/no")),
    );
}

/// Promises 1 and 3: good, forged and cut off tokens, while the keys are read again and again.
#[test]
fn auth_jwt_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    let key = || {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap()
    };
    let (issuer, stranger) = (key(), key());
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&issuer, Algorithm::ES256).unwrap()).unwrap();
    jwk["kid"] = "k".into();
    let keys = written(directory.path(), "keys.json", &json!({"keys": [jwk]}).to_string());
    let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let token = |key: &EncodingKey, audience: &str| {
        let claims = json!({"iss": "https://issuer.example", "aud": audience, "sub": "ada", "exp": expires.as_secs()});
        encode(&Header { kid: Some("k".into()), ..Header::new(Algorithm::ES256) }, &claims, key).unwrap()
    };
    let good = token(&issuer, "mqtt");
    let config = |tenant: &str| {
        json!({"iss": ["https://issuer.example"], "aud": ["mqtt"], "algorithms": ["ES256"], "tenant": tenant,
            "keys_file": keys, "grants": [{"allow": ["all"], "filter": "u/${user}/#"}]})
    };
    passes(
        &suite("auth-jwt", config("acme"))
            .other_config(config("other"))
            .client(connect_as("c-1", "", &good))
            .client(connect_as("c-2", "", &good[..good.len() / 2]))
            .client(connect_as("c-3", "", &token(&stranger, "mqtt")))
            .client(connect_as("c-4", "", &token(&issuer, "web")))
            .client(connect("c-5")),
    );
}

/// Promises 3 and 6: events of every kind, also while its files are rotated and exchanged.
#[test]
fn events_json_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let config = json!({"file": file("a"), "rotate_bytes": 100_000, "keep_files": 2, "chain": "pem"});
    passes(&suite("events-json", config).other_config(json!({"file": file("b"), "classes": ["security"]})));
}

/// Promises 3 and 7: it has a say about clients and sees events, in one library.
#[test]
fn guard_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({"report_file": directory.path().join("report"), "report_interval_s": 1, "subjects_max": 1000});
    passes(&suite("guard", config).other_config(json!({"dry_run": true})).client(connect("c-1")));
}

/// Promises 1 and 3: this one misbehaves on demand only; what it denies, and what it is slow with, is among the demands.
#[test]
fn test_faults_bears_it() {
    let actions = ["ask/allow", "ask/deny", "ask/slow-allow", "ask/slow-deny", "ask/deny-disconnect"].map(publish);
    let suite = suite("test-faults", json!({})).other_config(json!({"late_ms": 1}));
    let clients = ["sensor", "fault-reject", "fault-next", "fault-unavailable", "fault-redirect", "fault-twice"];
    let suite = clients.into_iter().fold(suite, |suite, client| suite.client(connect(client)));
    passes(&actions.into_iter().fold(suite, FaultSuite::action));
}

/// Promise 3: a collector that wants nothing, with a task of its own in the background.
#[test]
fn test_requests_bears_it() {
    let directory = tempfile::tempdir().unwrap();
    passes(&suite("test-requests", json!({"directory": directory.path()})));
}
