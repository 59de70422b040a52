//! The plugin `auth-jwt`: who has a good token is admitted as whom it names, for as long as it says, and nobody else is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use gatemq_tests::http::{Http, Reply};
use gatemq_tests::properties::{AUTH_METHOD, Connect5, Properties, auth, told};
use gatemq_tests::{PATIENCE, wait_for};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// An issuer's key.
struct Signer {
    id: &'static str,
    key: EncodingKey,
}

impl Signer {
    fn new(id: &'static str) -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Signer { id, key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap() }
    }

    fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = self.id.into();
        jwk
    }

    /// A token for user `u` that is good for a minute, with these claims besides.
    fn token(&self, more: Value) -> String {
        let mut claims = json!({"iss": "https://issuer.example", "aud": "mqtt", "sub": "u", "exp": now_s() + 60});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        encode(&Header { kid: Some(self.id.into()), ..Header::new(Algorithm::ES256) }, &claims, &self.key).unwrap()
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn set(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}

/// Replaces the file in one step.
fn write_keys(directory: &Path, set: &Value) {
    fs::write(directory.join("new.json"), set.to_string()).unwrap();
    fs::rename(directory.join("new.json"), directory.join("keys.json")).unwrap();
}

/// With `auth-jwt` whose keys are as `keys` says: tenant `acme`, all below `u/USER`.
fn with_jwt(setup: Setup, keys: &str) -> Setup {
    let mut config = String::from(
        "config.iss = [\"https://issuer.example\"]\nconfig.aud = [\"mqtt\"]\nconfig.algorithms = [\"ES256\"]\n\
         config.tenant = \"acme\"\nconfig.leeway_s = 0\n\
         config.grants = [{ allow = [\"all\"], filter = \"u/${user}/#\" }, { allow = [\"all\"], filter = \"s/${claim.site}/#\" }]\n",
    );
    let _ = writeln!(config, "{keys}");
    setup.mqtt("plain").plugin("tokens", &Artifacts::get().plugin("auth-jwt"), &config).tape()
}

/// With its keys in a file.
fn start_with_file(signers: &[&Signer], more: &str) -> Broker {
    let setup = Setup::new().log("debug");
    write_keys(setup.directory(), &set(signers));
    let keys = format!("config.keys_file = {:?}\nconfig.refresh_s = 1\n{more}", setup.directory().join("keys.json"));
    with_jwt(setup, &keys).start()
}

fn open(broker: &Broker, version: Version) -> Client {
    Client::tcp(broker.address("plain"), version).unwrap()
}

fn code(broker: &Broker, client_id: &str, password: &str) -> u8 {
    open(broker, Version::V5).connect_as(client_id, Some(("ignored", password))).unwrap()
}

/// Waits until a client with this token gets this code.
fn until_code(broker: &Broker, token: &str, wanted: u8) {
    let what = format!("a client that gets {wanted:#04x}");
    wait_for(&what, PATIENCE, || {
        // Not more of them than an address may open in a second.
        std::thread::sleep(Duration::from_millis(50));
        (code(broker, "c", token) == wanted).then_some(())
    });
}

/// Promise 1: bad tokens are refused as wrong passwords are, with an event that says why; a good one is served, within its
/// grants. A claim that would widen a grant opens nothing. No token is in a log or an event.
#[test]
fn promise_1_good_tokens_are_served_and_bad_ones_refused() {
    let (signer, stranger) = (Signer::new("k"), Signer::new("k"));
    let mut broker = start_with_file(&[&signer], "");
    let good = signer.token(json!({"site": "north"}));
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let bad = [
        ("forged", stranger.token(json!({})), "signature"),
        ("unsigned", none, "no JSON Web Token"),
        ("expired", signer.token(json!({"exp": now_s() - 1})), "time is over"),
        ("early", signer.token(json!({"nbf": now_s() + 60})), "not good yet"),
        ("elsewhere", signer.token(json!({"aud": "web"})), "somebody else"),
        ("other-issuer", signer.token(json!({"iss": "https://evil.example"})), "issuer"),
    ];
    for (client_id, token, says) in &bad {
        for version in Version::ALL {
            let found = open(&broker, version).connect_as(client_id, Some(("ignored", token))).unwrap();
            assert_eq!(found, version.connack(0x86), "{client_id}");
        }
        let refused = broker.tape().wait_for_client("ClientRefused", client_id);
        assert!(refused["fields"]["reason"].as_str().unwrap().contains(says), "{refused}");
    }
    assert_eq!(code(&broker, "password", "correct horse"), 0x87, "some other provider's, and there is none");
    for version in Version::ALL {
        let mut client = open(&broker, version);
        assert_eq!(client.connect_as("good", Some(("ignored", &good))).unwrap(), 0);
        for (filter, granted) in [("u/u/#", true), ("s/north/#", true), ("s/south/#", false), ("#", false)] {
            assert_eq!(client.subscribe(filter, 0) == 0, granted, "{filter}");
        }
        client.publish("u/u/x", 0, b"m").unwrap();
        assert_eq!(client.message().0, "u/u/x");
    }
    let wide = signer.token(json!({"site": "+", "sub": "w"}));
    let mut client = open(&broker, Version::V5);
    assert_eq!(client.connect_as("wide", Some(("ignored", &wide))).unwrap(), 0);
    assert_ne!(client.subscribe("s/north/#", 0), 0);
    assert_eq!(client.subscribe("u/w/#", 0), 0);
    let events = broker.tape().events().iter().map(ToString::to_string).collect::<String>();
    for token in bad.iter().map(|(_, token, _)| token).chain([&good, &wide]) {
        for part in token.split('.').filter(|part| part.len() > 20).skip(1) {
            assert!(!broker.log().contains(part) && !events.contains(part), "a token is told");
        }
    }
}

/// A client is disconnected when its token's time is over, with an event; one whose token lasts longer is not.
#[test]
fn a_client_goes_when_its_token_does() {
    let signer = Signer::new("k");
    let mut broker = start_with_file(&[&signer], "");
    let mut stays = open(&broker, Version::V5);
    assert_eq!(stays.connect_as("stays", Some(("x", &signer.token(json!({}))))).unwrap(), 0);
    let mut goes = open(&broker, Version::V5);
    assert_eq!(goes.connect_as("goes", Some(("x", &signer.token(json!({"exp": now_s() + 3}))))).unwrap(), 0);
    let goodbye = goes.packet();
    assert_eq!((goodbye.first, goodbye.body.first()), (0xE0, Some(&0x87)));
    let event = broker.tape().wait_for_client("ClientDisconnected", "goes");
    assert_eq!(event["fields"]["reason"], "IdentityExpired", "{event}");
    stays.ping();
}

/// Keys change while the broker runs: a token of a new key is good as soon as the server of keys has it, one of a key that was
/// taken back no more. A server that fails changes nothing, until the keys are too old; when it is back, so are the clients.
#[test]
fn keys_are_rotated() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let answer = Arc::new(Mutex::new(Reply::status("503 Not yet", &set(&[&old]))));
    let answering = answer.clone();
    let server = Http::start(move |_| answering.lock().unwrap().clone());
    let says = |reply: Reply| *answer.lock().unwrap() = reply;
    let keys = format!(
        "config.keys_server.url = {:?}\nconfig.refresh_s = 1\nconfig.keys_age_s_max = 8\nconfig.keys_server.timeout_ms = 1000",
        server.url()
    );
    let broker = std::thread::scope(|all| {
        let broker = all.spawn(|| with_jwt(Setup::new(), &keys).start());
        // It does not open its listeners without keys.
        server.wait_for_count(2);
        assert!(!broker.is_finished());
        says(Reply::json(set(&[&old])));
        broker.join().unwrap()
    });
    let (of_old, of_new) = (old.token(json!({})), new.token(json!({})));
    assert_eq!((code(&broker, "c", &of_old), code(&broker, "c", &of_new)), (0, 0x86));
    says(Reply::json(set(&[&old, &new])));
    until_code(&broker, &of_new, 0);
    assert_eq!(code(&broker, "c", &of_old), 0);
    says(Reply::json(set(&[&new])));
    until_code(&broker, &of_old, 0x86);
    for reply in [
        Reply::status("404 Not Found", &set(&[&old])),
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_vec()),
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{\"keys\"".to_vec()),
        Reply::Bytes(
            format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", server.url()).into_bytes(),
        ),
        Reply::json(json!({"keys": [old.jwk()], "much": "x".repeat(1024 * 1024)})),
    ] {
        says(reply.clone());
        let before = server.count();
        server.wait_for_count(before + 2);
        assert_eq!((code(&broker, "c", &of_new), code(&broker, "c", &of_old)), (0, 0x86), "{reply:?}");
        says(Reply::json(set(&[&new])));
        let before = server.count();
        server.wait_for_count(before + 2);
    }
    says(Reply::Hang);
    until_code(&broker, &of_new, 0x88);
    says(Reply::json(set(&[&new])));
    server.release();
    until_code(&broker, &of_new, 0);
}

/// A new configuration is taken while the broker runs; one whose server of keys does not answer changes nothing.
#[test]
fn another_server_of_keys_is_taken_when_it_answers() {
    let (first, second) = (Signer::new("k"), Signer::new("k"));
    let serve = |set: Value, ready: &Arc<AtomicBool>| {
        let ready = ready.clone();
        Http::start(move |_| match ready.load(Ordering::SeqCst) {
            true => Reply::json(set.clone()),
            false => Reply::status("503 Not yet", &set),
        })
    };
    let ready = Arc::new(AtomicBool::new(false));
    let before = serve(set(&[&first]), &Arc::new(AtomicBool::new(true)));
    let after = serve(set(&[&second]), &ready);
    let mut broker = with_jwt(Setup::new(), &format!("config.keys_server.url = {:?}", before.url())).start();
    let (of_first, of_second) = (first.token(json!({})), second.token(json!({})));
    let codes = |broker: &Broker| (code(broker, "first", &of_first), code(broker, "second", &of_second));
    assert_eq!(codes(&broker), (0, 0x86));
    broker.reload(|text| text.replace(&before.url(), &after.url()));
    broker.wait_for_log("it is refused", |line| line.contains("there are no keys") && line.contains("503"));
    assert_eq!(codes(&broker), (0, 0x86));
    ready.store(true, Ordering::SeqCst);
    broker.reload(|text| format!("{text}\n"));
    broker.tape().wait_for("it is taken", |e| e["event"] == "PluginReconfigured");
    assert_eq!(codes(&broker), (0x86, 0));
    broker.reload(|text| text.replace("aud = [\"mqtt\"]", "aud = [\"web\"]"));
    until_code(&broker, &of_second, 0x86);
    assert_eq!(code(&broker, "c", &second.token(json!({"aud": "web"}))), 0);
}

/// Promise 6: tokens that name keys which do not exist have the server asked once, not once each, and no client waits for it
/// that need not.
#[test]
fn promise_6_unknown_keys_do_not_flood_the_server() {
    let (known, stranger) = (Signer::new("known"), Signer::new("unknown"));
    let published = set(&[&known]);
    let server = Http::start(move |_| Reply::json(published.clone()));
    let keys = format!("config.keys_server.url = {:?}", server.url());
    let broker = with_jwt(Setup::new(), &keys).start();
    let bogus = stranger.token(json!({}));
    for n in 0..50 {
        assert_eq!(code(&broker, &format!("c-{n}"), &bogus), 0x86);
    }
    assert_eq!(code(&broker, "good", &known.token(json!({}))), 0);
    // Once at the start, and at most once in ten seconds afterwards.
    assert!(server.count() <= 3, "{} requests", server.count());
}

/// A file of keys that changes is read again; one that is damaged changes nothing.
#[test]
fn a_file_of_keys_is_read_again() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let broker = start_with_file(&[&old], "");
    let (of_old, of_new) = (old.token(json!({})), new.token(json!({})));
    assert_eq!((code(&broker, "c", &of_old), code(&broker, "c", &of_new)), (0, 0x86));
    write_keys(broker.directory(), &json!("damaged"));
    broker.wait_for_log("the file is damaged", |line| line.contains("those of before stay in force"));
    assert_eq!(code(&broker, "c", &of_old), 0);
    write_keys(broker.directory(), &set(&[&new]));
    until_code(&broker, &of_new, 0);
    assert_eq!(code(&broker, "c", &of_old), 0x86);
}

/// Tokens in Authentication Data: a client shows a new one before the old one's time is over, and stays; a bad one, or one of
/// somebody else, ends its connection. A password is some other provider's.
#[test]
fn a_new_token_prolongs_a_connection() {
    const AGAIN: u8 = 0x19;
    let signer = Signer::new("k");
    let mut broker = start_with_file(&[&signer], "config.token_from = \"auth_data\"\n");
    let admitted = |client_id: &str, token: &str| {
        let mut client = open(&broker, Version::V5);
        client.send(&Connect5::new(client_id, Properties::new().method("JWT", token)).bytes()).unwrap();
        let connack = client.packet();
        (connack.body[1], client)
    };
    assert_eq!(admitted("bad", &Signer::new("k").token(json!({}))).0, 0x87);
    let (code_of_password, (code, mut client)) = (
        code(&broker, "password", &signer.token(json!({}))),
        admitted("c", &signer.token(json!({"exp": now_s() + 3}))),
    );
    assert_eq!((code_of_password, code), (0x87, 0));
    client.send(&auth(AGAIN, "JWT", &signer.token(json!({})))).unwrap();
    let (code, properties) = told(&client.packet());
    assert_eq!((code, properties[&AUTH_METHOD].as_slice()), (0, &["JWT".to_owned()][..]));
    // Another whose token is as old as the first was is gone; this one is not.
    let (_, mut old) = admitted("old", &signer.token(json!({"exp": now_s() + 3})));
    assert_eq!(old.packet().first, 0xE0);
    client.ping();
    for (client_id, token) in
        [("forged", Signer::new("k").token(json!({}))), ("other", signer.token(json!({"sub": "v"})))]
    {
        let (code, mut client) = admitted(client_id, &signer.token(json!({})));
        assert_eq!(code, 0);
        client.send(&auth(AGAIN, "JWT", &token)).unwrap();
        let goodbye = client.packet();
        assert_eq!((goodbye.first, goodbye.body.first()), (0xE0, Some(&0x87)), "{client_id}");
    }
    broker.tape().wait_for_client("ReauthenticationFailed", "forged");
}
