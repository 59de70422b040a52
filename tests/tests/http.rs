//! The plugin `auth-http`: whom its server allows is admitted, and whatever its server does wrong admits nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Tls, Version};
use gatemq_tests::http::{Http, Reply, Request};
use gatemq_tests::pki::{self, Pki};
use rcgen::date_time_ymd;
use serde_json::{Value, json};

/// Time that the server has, in milliseconds. Long for a server, short for a test.
const TIMEOUT_MS: u64 = 1500;

/// Allows user `u` everything.
fn allow() -> Value {
    json!({"result": "allow", "tenant": "acme", "user": "u", "grants": [{"allow": ["all"], "filter": "#"}]})
}

/// With `auth-http` under this name, which asks this URL; `more` are further lines of its configuration.
fn with_server(setup: Setup, name: &str, url: &str, more: &str) -> Setup {
    let config = format!("config.server.url = {url:?}\nconfig.server.timeout_ms = {TIMEOUT_MS}\n{more}");
    setup.plugin(name, &Artifacts::get().plugin("auth-http"), &config)
}

fn start(server: &Http, more: &str) -> Broker {
    with_server(Setup::new().mqtt("plain").tape(), "web", &server.url(), more).start()
}

fn open(broker: &Broker) -> Client {
    Client::tcp(broker.address("plain"), Version::V5).unwrap()
}

fn code(broker: &Broker, client_id: &str, password: &str) -> u8 {
    open(broker).connect_as(client_id, Some((client_id, password))).unwrap()
}

/// A client that shows a certificate: the server is shown the whole chain, byte for byte, what of it was verified and by whom,
/// and everything else that is asked; what it answers holds. Over HTTPS, with a certificate and a secret of the plugin's own.
#[test]
fn the_server_is_shown_the_client_and_decides() {
    let (pki, own) = (Pki::new("Acme"), Pki::new("Auth"));
    let server = Http::start_tls(&own.server(), Some(&own), |request| match request.body["client_id"].as_str() {
        Some("bad") => {
            Reply::json(json!({"result": "deny", "code": 0x86, "reason": "no such pump", "reason_string": "go away"}))
        }
        Some("other") => Reply::json(json!({"result": "next"})),
        _ => Reply::json(json!({
            "result": "allow", "tenant": "acme", "user": "pump", "attributes": {"site": "north"},
            "grants": [{"allow": ["all"], "filter": "sites/${attr.site}/#"}], "limits": {"qos_max": 0},
        })),
    });
    let setup = Setup::new().mqtts("secure", &pki, "optional", "").tape();
    let shown = own.client("broker").write(setup.directory(), "auth-client");
    let secret = setup.directory().join("auth.secret");
    std::fs::write(&secret, "Bearer of-the-broker\n").unwrap();
    let more = format!(
        "config.server.ca_file = {:?}\nconfig.server.certificate_file = {:?}\nconfig.server.private_key_file = {:?}\n\
         config.server.authorization_file = {secret:?}",
        own.write_root(setup.directory()),
        shown.certificate,
        shown.key,
    );
    let mut broker = with_server(setup, "web", &server.url(), &more).start();
    let credentials = pki.client("pump-1");
    let tls = Tls::new(&pki, Some(&credentials));
    let mut client = Client::tls(broker.address("secure"), &tls, Version::V5).unwrap();
    assert_eq!(client.connect_as("pump-1", Some(("name", "secret"))).unwrap(), 0);
    assert_eq!((client.subscribe("sites/north/#", 0), client.subscribe("sites/south/#", 0)), (0, 0x87));
    let asked = server.requests().remove(0);
    assert_eq!((asked.what.as_str(), asked.certificate), ("POST /asked", true));
    assert_eq!(asked.headers["authorization"], "Bearer of-the-broker");
    assert_eq!(asked.headers["content-type"], "application/json");
    let (body, tls_seen) = (&asked.body, &asked.body["tls"]);
    assert_eq!(pki::from_pem(tls_seen["chain_pem"].as_str().unwrap()), credentials.chain);
    assert_eq!((&tls_seen["verified"], &tls_seen["path"]), (&json!(true), &json!([0, 1, 2])));
    assert_eq!(tls_seen["server_name"], "localhost");
    assert!(tls_seen["anchor"]["subject"].as_str().unwrap().contains("Acme Root"), "{tls_seen}");
    for (name, wanted) in
        [("client_id", "pump-1"), ("user_name", "name"), ("password", "secret"), ("listener", "secure")]
    {
        assert_eq!(body[name], wanted);
    }
    for (client_id, code, says) in [("bad", 0x86, "no such pump"), ("other", 0x87, "no auth provider")] {
        assert_eq!(Client::try_admitted(broker.address("secure"), &tls, Version::V5, client_id).err(), Some(code));
        let refused = broker.tape().wait_for_client("ClientRefused", client_id);
        assert!(refused["fields"]["reason"].as_str().unwrap().contains(says), "{refused}");
    }
    client.ping();
    assert!(!broker.log().contains("of-the-broker"));
}

/// Promise 1: whatever the server does wrong refuses the client that was asked about, with an event, and nobody else: the next
/// one is served.
#[test]
fn promise_1_a_faulty_server_admits_nobody() {
    let elsewhere = Http::start(|_| Reply::json(allow()));
    let there = elsewhere.url();
    let server = Http::start(move |request| faulty(request, &there));
    let mut broker = start(&server, "");
    for fault in [
        "404",
        "500",
        "503",
        "201",
        "redirect-302",
        "redirect-307",
        "garbage",
        "html",
        "empty",
        "half",
        "huge",
        "huge-chunked",
        "slow",
        "cut",
        "unknown-name",
        "no-user",
        "no-result",
        "twice",
        "not-http",
    ] {
        assert_eq!(code(&broker, fault, "p"), 0x88, "{fault}");
        let refused = broker.tape().wait_for_client("ClientRefused", fault);
        assert_eq!(refused["fields"]["code"], 0x88, "{refused}");
        assert_eq!(code(&broker, "good", "p"), 0, "after {fault}");
    }
    assert_eq!(elsewhere.count(), 0, "redirects are not followed");
    for says in [
        "404 Not Found",
        "redirects are not followed",
        "more than 262144 bytes",
        "in time",
        "\"grant\", which is not known",
    ] {
        broker.wait_for_log(says, |line| line.contains(&says.replace('"', "\\\"")) || line.contains(says));
    }
    assert!(broker.is_running());
}

/// What the server does for a client of this name. All bodies would allow it.
fn faulty(request: &Request, elsewhere: &str) -> Reply {
    let whole =
        |body: &str| Reply::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into());
    let good = allow().to_string();
    let with = |name: &str, value: Value| {
        let mut body = allow();
        match value.is_null() {
            true => body.as_object_mut().unwrap().remove(name),
            false => body.as_object_mut().unwrap().insert(name.into(), value),
        };
        Reply::json(body)
    };
    let redirect = |line: &str| {
        let head = format!("HTTP/1.1 {line}\r\nlocation: {elsewhere}\r\ncontent-length: {}\r\n\r\n{good}", good.len());
        Reply::Bytes(head.into())
    };
    match request.body["client_id"].as_str().unwrap() {
        "404" => Reply::status("404 Not Found", &allow()),
        "500" => Reply::status("500 Oops", &allow()),
        "503" => Reply::status("503 Later", &allow()),
        "201" => Reply::status("201 Created", &allow()),
        "redirect-302" => redirect("302 Found"),
        "redirect-307" => redirect("307 Temporary Redirect"),
        "garbage" => whole("\u{0}\u{1}\u{2}{{{"),
        "html" => whole("<html><body>allow</body></html>"),
        "empty" => whole(""),
        "half" => whole(&good[..good.len() - 1]),
        "huge" => with("padding", "x".repeat(300 * 1024).into()),
        "huge-chunked" => {
            let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000)).repeat(9);
            Reply::Bytes(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into())
        }
        "slow" => Reply::Hang,
        "cut" => Reply::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len() + 1).into()),
        "unknown-name" => with("grant", json!([])),
        "no-user" => with("user", Value::Null),
        "no-result" => with("result", Value::Null),
        "twice" => whole(&format!("{good}{good}")),
        "not-http" => Reply::Bytes(b"220 smtp.example.com ESMTP\r\n".to_vec()),
        _ => Reply::json(allow()),
    }
}

/// Promise 1: a server whose certificate is not the one that was wanted is shown no password; one that wants a certificate which
/// the plugin does not have allows nobody. The right one stands beside them.
#[test]
fn promise_1_the_server_must_be_the_right_one() {
    let (own, foreign) = (Pki::new("Auth"), Pki::new("Foreign"));
    let answer = |_: &Request| Reply::json(allow());
    let expired = own.server_with(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let servers = [
        ("right", Http::start_tls(&own.server(), None, answer)),
        ("untrusted", Http::start_tls(&foreign.server(), None, answer)),
        ("another-name", Http::start_tls(&own.server_for(&["other.example"]), None, answer)),
        ("expired", Http::start_tls(&expired, None, answer)),
        ("wants-a-certificate", Http::start_tls(&own.server_for(&["127.0.0.1"]), Some(&own), answer)),
        ("no-tls", Http::start(answer)),
    ];
    let mut setup = Setup::new().tape();
    let more = format!("config.server.ca_file = {:?}", own.write_root(setup.directory()));
    for (name, server) in &servers {
        let url = format!("https://{}/", server.address());
        setup = with_server(
            setup.mqtt(name).toml(&format!("[listeners.{name}.auth]\nchain = [{name:?}]")),
            name,
            &url,
            &more,
        );
    }
    let mut broker = setup.start();
    let code = |broker: &Broker, name: &str| {
        let mut client = Client::tcp(broker.address(name), Version::V5).unwrap();
        client.connect_as(name, Some(("u", "secret"))).unwrap()
    };
    for (name, server) in &servers {
        let wanted = if *name == "right" { 0 } else { 0x88 };
        assert_eq!(code(&broker, name), wanted, "{name}");
        assert!(*name == "right" || server.count() == 0, "{name}: it was shown a question");
        if wanted != 0 {
            broker.tape().wait_for_client("ClientRefused", name);
        }
        assert_eq!(code(&broker, "right"), 0, "after {name}");
    }
}

/// Questions about actions: the answer holds, is kept for as long as it says, for that action only; a server that fails has
/// decided nothing, and is asked again.
#[test]
fn actions_are_asked_about_and_answers_kept() {
    let failing = Arc::new(AtomicUsize::new(0));
    let fails = failing.clone();
    let server = Http::start(move |request| {
        if request.body["call"] == "authenticate" {
            let grants = json!([{"ask": ["all"], "filter": "ask/#"}, {"allow": ["all"], "filter": "#"}]);
            let tags = json!(["a tag"]);
            return Reply::json(
                json!({"result": "allow", "tenant": "acme", "user": "u", "grants": grants, "tags": tags}),
            );
        }
        match request.body["action"]["topic"].as_str().unwrap() {
            "ask/kept" => Reply::Json(json!({"result": "allow"}), "cache-control: max-age=600\r\n"),
            "ask/body" => Reply::json(json!({"result": "allow", "ttl_s": 600})),
            "ask/once" => Reply::json(json!({"result": "allow"})),
            "ask/denied" => Reply::json(json!({"result": "deny", "code": 0x97, "reason": "too much", "ttl_s": 600})),
            "ask/flaky" if fails.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Bytes(
                b"HTTP/1.1 500 Oops\r\ncache-control: max-age=600\r\ncontent-length: 18\r\n\r\n{\"result\":\"allow\"}"
                    .to_vec(),
            ),
            "ask/flaky" => Reply::json(json!({"result": "allow", "ttl_s": 600})),
            "ask/filter" => Reply::json(json!({"result": "allow", "qos_max": 0})),
            _ => Reply::json(json!({"result": "next"})),
        }
    });
    let mut broker = start(&server, "");
    let mut client = open(&broker);
    assert_eq!(client.connect_as("c", Some(("u", "p"))).unwrap(), 0);
    let mut before = server.count();
    let mut asked_since = |server: &Http| server.count() - std::mem::replace(&mut before, server.count());
    let publish = |client: &mut Client, topic: &str| {
        let id = client.publish(topic, 1, b"m").unwrap().unwrap().to_be_bytes();
        let Packet { first, body } = client.packet();
        assert!(first == 0x40 && body.starts_with(&id), "{topic}: {first:#x} {body:?}");
        // Nobody is subscribed, which the broker may say.
        body.get(2).copied().filter(|code| *code >= 0x80).unwrap_or(0)
    };
    for (topic, code, questions) in [
        ("ask/kept", 0, 1),
        ("ask/body", 0, 1),
        ("ask/once", 0, 3),
        ("ask/denied", 0x97, 1),
        ("ask/x", 0x87, 3),
        ("free", 0, 0),
    ] {
        for _ in 0..3 {
            assert_eq!(publish(&mut client, topic), code, "{topic}");
        }
        assert_eq!(asked_since(&server), questions, "{topic}");
    }
    assert_eq!((client.subscribe("ask/filter", 1), client.subscribe("ask/y", 1)), (0, 0x87));
    let asked = server.requests();
    let action = &asked.iter().find(|r| r.body["action"]["topic"] == "ask/kept").unwrap().body;
    assert_eq!(action["action"]["kind"], "publish");
    assert_eq!(action["action"]["payload_bytes"], 1);
    for (name, wanted) in
        [("tenant", json!("acme")), ("user", json!("u")), ("client_id", json!("c")), ("tags", json!(["a tag"]))]
    {
        assert_eq!(action["session"][name], wanted);
    }
    // Undecided: not acknowledged, so that it is sent again.
    client.publish("ask/flaky", 1, b"m").unwrap();
    let goodbye = client.packet();
    assert_eq!((goodbye.first, goodbye.body.first()), (0xE0, Some(&0x83)), "{goodbye:?}");
    broker.tape().wait_for_client("PublishDenied", "c");
    let mut client = open(&broker);
    assert_eq!(client.connect_as("c", Some(("u", "p"))).unwrap(), 0);
    assert_eq!((publish(&mut client, "ask/flaky"), publish(&mut client, "ask/flaky")), (0, 0));
    assert_eq!(failing.load(Ordering::SeqCst), 2, "asked again, and then kept");
}

/// Guards DESIGN 12.7: of equal messages that a client sends at once the first is asked about, and its answer is the others' where the
/// provider lets it be kept; where it does not, each is asked about. Another client's is never used, though it is the same user's.
#[test]
fn equal_questions_of_one_session_are_one_call() {
    let server = Http::start(|request| match request.body["action"]["topic"].as_str() {
        None => {
            let grants = json!([{"ask": ["all"], "filter": "#"}]);
            Reply::json(json!({"result": "allow", "tenant": "acme", "user": "u", "grants": grants}))
        }
        Some("kept") => Reply::json(json!({"result": "allow", "ttl_s": 600})),
        Some(_) => Reply::json(json!({"result": "allow"})),
    });
    let broker = start(&server, "");
    let mut clients = ["a", "b"].map(|client_id| {
        let mut client = open(&broker);
        assert_eq!(client.connect_as(client_id, Some(("u", "p"))).unwrap(), 0);
        client
    });
    for (topic, of_each) in [("kept", 1), ("once", 10)] {
        let before = server.count();
        for client in &mut clients {
            for _ in 0..10 {
                client.publish(topic, 1, b"m").unwrap();
            }
        }
        for client in &mut clients {
            (0..10).for_each(|_| assert_eq!(client.packet().first, 0x40));
        }
        let asked = server.requests().split_off(before);
        for client_id in ["a", "b"] {
            let of = asked.iter().filter(|request| request.body["session"]["client_id"] == client_id).count();
            assert_eq!(of, of_each, "{topic} of {client_id}");
        }
    }
}

/// An answer is kept only where its server says so, for who shows the same; a refusal and a failure never are.
#[test]
fn answers_are_kept_as_the_server_says() {
    let server = Http::start(|request| {
        let kept = "cache-control: max-age=600\r\n";
        match (request.body["client_id"].as_str().unwrap(), request.body["password"].as_str().unwrap()) {
            ("kept", "p") => Reply::Json(allow(), kept),
            ("over", "p") => {
                let mut body = allow();
                body["valid_until_s"] = 1.into();
                Reply::Json(body, kept)
            }
            ("kept", _) => Reply::Json(json!({"result": "deny"}), kept),
            ("failed", _) => Reply::Json(json!({"result": "allow"}), kept),
            ("no-store", _) => Reply::Json(allow(), "cache-control: no-store, max-age=600\r\n"),
            _ => Reply::json(allow()),
        }
    });
    let broker = start(&server, "");
    for (client_id, password, wanted, questions) in [
        ("kept", "p", 0, 1),
        ("kept", "q", 0x87, 3),
        ("kept", "p", 0, 0),
        ("plain", "p", 0, 3),
        ("no-store", "p", 0, 3),
        ("failed", "p", 0x88, 3),
    ] {
        let before = server.count();
        for _ in 0..3 {
            assert_eq!(code(&broker, client_id, password), wanted, "{client_id} {password}");
        }
        assert_eq!(server.count() - before, questions, "{client_id} {password}");
    }
    let off = start(&server, "config.kept_max = 0");
    let before = server.count();
    assert_eq!((code(&off, "kept", "p"), code(&off, "kept", "p")), (0, 0));
    assert_eq!(server.count() - before, 2);
}

/// Another server is taken while the broker runs, and what the old one said is not kept.
#[test]
fn another_server_is_taken() {
    let kept = Http::start(|_| Reply::Json(allow(), "cache-control: max-age=600\r\n"));
    let denies = Http::start(|_| Reply::json(json!({"result": "deny"})));
    let mut broker = start(&kept, "");
    assert_eq!((code(&broker, "c", "p"), code(&broker, "c", "p"), kept.count()), (0, 0, 1));
    broker.reload(|text| text.replace(&kept.url(), "http://192.0.2.1/"));
    broker.wait_for_log("it is refused", |line| line.contains("server.url") && line.contains("wanted https"));
    assert_eq!((code(&broker, "c", "p"), kept.count()), (0, 1));
    broker.reload(|text| text.replace("http://192.0.2.1/", &denies.url()));
    broker.tape().wait_for("it is taken", |e| e["event"] == "PluginReconfigured");
    assert_eq!((code(&broker, "c", "p"), denies.count()), (0x87, 1));
}

/// Promise 6: as many questions as may be are under way and wait; who comes then is told that the server is busy, and why in the
/// event. Afterwards all is well.
#[test]
fn promise_6_questions_are_bounded() {
    let hanging = Arc::new(Mutex::new(true));
    let hangs = hanging.clone();
    let server = Http::start(move |request| match request.body["client_id"].as_str() {
        Some("first") if *hangs.lock().unwrap() => Reply::Hang,
        _ => Reply::json(allow()),
    });
    let mut broker = start(&server, "config.requests_max = 1\nconfig.queue_max = 0");
    let mut first = open(&broker);
    first.send(&gatemq_tests::client::connect(Version::V5, "first", Some(("u", "p")))).unwrap();
    server.wait_for_count(1);
    assert_eq!(code(&broker, "second", "p"), 0x89);
    let refused = broker.tape().wait_for_client("ClientRefused", "second");
    assert!(
        refused["fields"]["reason"].as_str().unwrap().contains("1 questions are under way and 0 wait"),
        "{refused}"
    );
    *hanging.lock().unwrap() = false;
    assert_eq!(first.packet().body[1], 0x88, "the server has not answered in time");
    assert_eq!((code(&broker, "first", "p"), code(&broker, "second", "p")), (0, 0));
}

/// A server that is not there is no reason not to start: clients are refused until it comes. One that would be asked in the clear
/// is.
#[test]
fn a_server_may_be_away_but_not_in_the_clear() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup::new().mqtt("plain").tape();
    let broker = with_server(setup, "web", &format!("http://{nobody}/"), "").start();
    assert_eq!(code(&broker, "c", "p"), 0x88);
    broker.wait_for_log("nobody listens", |line| line.contains("Connection refused"));
    for wrong in ["http://192.0.2.1/", "https://user:secret@example.com/"] {
        let ended =
            with_server(Setup::new().mqtt("plain"), "web", wrong, "").try_start().err().expect("it must not start");
        assert!(ended.log.contains("server.url") && !ended.log.contains("secret"), "{}", ended.log);
    }
}
