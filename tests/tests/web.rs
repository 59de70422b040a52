//! The API over HTTP: who may ask, what is answered, what is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup, TOKEN};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::web::Web;
use gatemq_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const GRANTS: &str = "config.grants = [{ allow = [\"all\"], filter = \"#\" }]";

fn broker() -> Broker {
    Setup::new().mqtt("mqtt").faults(GRANTS).tape().http("").start()
}

fn operator(broker: &Broker) -> Web {
    Web::new(broker.http_address()).token(TOKEN)
}

fn client(broker: &Broker, client_id: &str, user: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect_as(client_id, Some((user, ""))).unwrap(), 0, "{client_id}");
    client
}

/// What the document says that there is: method and path.
fn operations(web: &Web) -> Vec<(String, String)> {
    let document = web.get("/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Issue 7, part 6: nobody asks for anything without a token that is known, whatever the path and the method; each try is an event;
/// the page and the two questions of load balancers are open, and say nothing of the node.
#[test]
fn without_a_token_nothing_is_answered() {
    let mut broker = broker();
    let (known, stranger) = (operator(&broker), Web::new(broker.http_address()));
    let wrong = stranger.clone().token(&TOKEN.replace('0', "1"));
    let mut all = operations(&known);
    all.retain(|(_, path)| path != "/live" && path != "/ready");
    assert!(all.len() >= 15, "{all:?}");
    all.extend(
        [("GET", "/v1/nothing"), ("PUT", "/v1/node"), ("POST", "/"), ("GET", "/live/")]
            .map(|(method, path)| (method.to_owned(), path.to_owned())),
    );
    for (method, path) in &all {
        for web in [&stranger, &wrong] {
            let answer = web.try_ask(&format!("{method} {path}"), "", None).unwrap();
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert!(answer.head.contains("www-authenticate: bearer") && !answer.body.contains("rows"), "{answer:?}");
        }
    }
    for (header, why) in [
        (format!("authorization: Basic {TOKEN}\r\n"), "another scheme"),
        (format!("authorization: {TOKEN}\r\n"), "none"),
        (format!("authorization: Bearer {TOKEN}x\r\n"), "longer"),
        (format!("authorization: Bearer {TOKEN}\r\nauthorization: Bearer {TOKEN}\r\n"), "two"),
        (format!("cookie: token={TOKEN}\r\n"), "a cookie"),
    ] {
        assert_eq!(stranger.try_ask("GET /v1/node", &header, None).unwrap().status, 401, "{why}");
    }
    let event = broker.tape().wait_for("AdminRefused", |e| e["event"] == "AdminRefused");
    assert_eq!((&event["listener"], &event["class"]), (&"[http]".into(), &"security".into()), "{event}");
    assert!(
        event["remote"].as_str().unwrap().starts_with("127.0.0.1:") && !event.to_string().contains(TOKEN),
        "{event}"
    );
    for path in ["/", "/console.js", "/console.css", "/live", "/ready"] {
        let answer = stranger.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{path}: {}", answer.head);
        assert!(!answer.body.contains("node-1") && !answer.head.contains("access-control"), "{path}");
    }
    assert_eq!(stranger.get("/ready").body, "yes\n");
    assert_eq!(known.get("/v1/node").json()["name"], "node-1");
}

/// Issue 7, part 6: with a certificate nobody needs a token, and events name its subject; without one, or with a stranger's, nothing
/// is answered; where there are tokens too, either will do.
#[test]
fn a_certificate_is_as_good_as_a_token() {
    let (pki, others) = (Pki::new("acme"), Pki::new("evil"));
    let tls_table = |setup: &Setup| {
        let server = pki.server().write(setup.directory(), "http-server");
        let root = pki.write_root(setup.directory());
        format!(
            "[http.tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}\nclient_ca_file = {root:?}",
            server.certificate, server.key
        )
    };
    let setup = Setup::new().mqtt("mqtt").faults(GRANTS).tape();
    let table = tls_table(&setup);
    let mut broker = setup.toml(&format!("[http]\nbind = \"127.0.0.1:0\"\n{table}")).start();
    let web = |broker: &Broker, pki: &Pki, shown: Option<&Pki>| {
        let shown = shown.map(|of| of.client("ann"));
        Web::new(broker.http_address()).tls(Tls::new(pki, shown.as_ref()))
    };
    let ann = web(&broker, &pki, Some(&pki));
    assert_eq!(ann.get("/v1/node").json()["name"], "node-1");
    let page = ann.try_ask("GET /v1/node", "origin: https://evil.example\r\n", None).unwrap();
    assert_eq!(page.status, 403, "a page of somebody else, in a browser that shows the certificate: {page:?}");
    let subject = json!({"kind": "user", "tenant": "t", "user": "u"});
    assert_eq!(ann.post("/v1/denials", &json!({ "subject": subject })).status, 200);
    let acted = broker.tape().wait_for("AdminActed", |e| e["event"] == "AdminActed");
    let by = acted["fields"]["by"].as_str().unwrap();
    assert!(by.starts_with("certificate ") && by.contains("CN=ann"), "{by}");
    for shown in [None, Some(&others)] {
        let answer = web(&broker, &pki, shown).try_ask("GET /v1/node", "", None);
        assert!(answer.as_ref().is_err() || answer.as_ref().unwrap().status == 0, "{answer:?}");
    }
    broker.tape().wait_for("TlsHandshakeFailed", |e| e["event"] == "TlsHandshakeFailed" && e["listener"] == "[http]");
    let setup = Setup::new().mqtt("mqtt").faults(GRANTS);
    let table = tls_table(&setup);
    let broker = setup.http(&table).start();
    assert_eq!(web(&broker, &pki, Some(&pki)).get("/v1/node").status, 200);
    assert_eq!(web(&broker, &pki, None).token(TOKEN).get("/v1/node").status, 200);
    assert_eq!(web(&broker, &pki, None).get("/v1/node").status, 401);
}

/// Issue 7, part 6: `/ready` says no while a required plugin is not ready, and yes again; `/live` says yes all the while. Both say it
/// to anybody, and nothing more.
#[test]
fn ready_says_whether_the_node_serves() {
    let setup = Setup::new().mqtt("mqtt").faults("config.health = \"ok\"").http("");
    let broker = setup.argument("--set").argument("plugin_host.health_interval_ms=100").start();
    let anybody = Web::new(broker.http_address());
    let says = |ready: (u16, &str)| {
        wait_for("what /ready says", PATIENCE, || {
            let answer = anybody.get("/ready");
            ((answer.status, &*answer.body) == ready).then_some(())
        });
        assert_eq!(anybody.get("/live").body, "yes\n");
    };
    says((200, "yes\n"));
    broker.reload(|text| text.replace("config.health = \"ok\"", "config.health = \"error\""));
    says((503, "no\n"));
    assert_eq!(value(&parsed(&operator(&broker).get("/metrics").body), "gatemq_ready", &[]), 0.0);
    broker.reload(|text| text.replace("config.health = \"error\"", "config.health = \"ok\""));
    says((200, "yes\n"));
}

/// Guards whoever has lost a token: at a reload it is nobody's any more; a file that is wrong leaves the tokens as they were. Who followed
/// the events with it hears of nothing that happens from then on.
#[test]
fn tokens_are_exchanged_at_a_reload() {
    let mut broker = broker();
    let (old, file) = (operator(&broker), broker.directory().join("tokens"));
    let other = TOKEN.replace('0', "2");
    let new = Web::new(broker.http_address()).token(&other);
    assert_eq!((old.get("/v1/node").status, new.get("/v1/node").status), (200, 401));
    let follow = |web: &Web| {
        let request = web.request("GET /v1/events?kind=ClientConnected", "", None);
        let mut reader = web.open().unwrap();
        let head = reader.exchange(request.as_bytes(), |read| read.windows(4).any(|end| end == b"\r\n\r\n")).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200"));
        reader
    };
    let has = |read: &[u8], name: &str| String::from_utf8_lossy(read).contains(name);
    let mut follows = follow(&old);
    client(&broker, "before", "ann").disconnect();
    assert!(has(&follows.exchange(b"", |read| has(read, "before")).unwrap(), "before"), "twin");
    std::fs::write(&file, format!("operator {other}\n")).unwrap();
    assert_eq!(old.post("/v1/reload", &json!({})).status, 200);
    assert_eq!((old.get("/v1/node").status, new.get("/v1/node").status), (401, 200));
    let mut follows_still = follow(&new);
    client(&broker, "after", "ann").disconnect();
    assert!(has(&follows_still.exchange(b"", |read| has(read, "after")).unwrap(), "after"), "twin");
    let read = follows.exchange(b"", |read| has(read, "after")).unwrap();
    assert!(!has(&read, "after"), "{}", String::from_utf8_lossy(&read));
    broker.tape().wait_for("AdminRefused", |e| e["event"] == "AdminRefused");
    std::fs::write(&file, "operator\n").unwrap();
    let refused = new.post("/v1/reload", &json!({}));
    assert!(refused.status == 409 && refused.body.contains("http.token_file"), "{refused:?}");
    assert_eq!((old.get("/v1/node").status, new.get("/v1/node").status), (401, 200));
}

/// Issue 7: the walk "find the noisy client and deny it" by HTTP; every operation of the document is there; what a peer calls itself
/// is told as it is, as JSON, and who acted is told.
#[test]
fn each_route_does_what_it_says() {
    let mut broker = broker();
    let web = operator(&broker);
    let hostile = "<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}";
    let (mut bad, mut good) = (client(&broker, hostile, "mallory"), client(&broker, "good", "ann"));
    assert_eq!(bad.subscribe("a/#", 1), 1);
    let clients = web.get("/v1/clients?user=mallory").json();
    assert_eq!((&clients["count"], &clients["rows"][0]["client_id"]), (&1.into(), &hostile.into()), "{clients}");
    let path =
        "/v1/client?tenant=test&user=mallory&client_id=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%1B%5B31m%E2%80%AE";
    let answer = web.get(path);
    assert!(answer.head.contains("content-type: application/json") && answer.head.contains("nosniff"), "{answer:?}");
    let one = answer.json();
    assert_eq!(one["subscriptions"], json!([{ "filter": "a/#", "qos": 1 }]), "{one}");
    assert_eq!(
        (&one["connection"]["provider"], &one["connection"]["grants"][0]["filter"]),
        (&"faults".into(), &"#".into())
    );
    assert_eq!(web.get("/v1/client?tenant=test&user=mallory&client_id=x").status, 404);
    let explained = web.get("/v1/explain?tenant=test&user=ann&client_id=good&action=publish&topic=x").json();
    assert_eq!(explained["verdict"], "allow");

    let subject = json!({"kind": "user", "tenant": "test", "user": "mallory"});
    let denied = web.post("/v1/denials", &json!({ "subject": subject, "ttl_ms": 60_000, "reason": "noisy" }));
    assert_eq!(denied.status, 200, "{denied:?}");
    assert_eq!(bad.expect_goodbye(), Some(0x98), "administrative action");
    good.ping();
    let acted = broker.tape().wait_for("AdminActed", |e| e["event"] == "AdminActed");
    assert_eq!(acted["fields"]["by"], "token operator");
    assert_eq!(web.get("/v1/denials").json()["rows"][0]["reason"], "noisy");
    let mut again = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(again.connect_as("bad", Some(("mallory", ""))).unwrap(), 0x8A);
    let offenders = wait_for("the offender", PATIENCE, || {
        let found = web.get("/v1/offenders").json();
        (found["count"].as_u64()? > 0).then_some(found)
    });
    assert_eq!(offenders["rows"][0]["subject"]["address"], "127.0.0.1", "{offenders}");
    assert_eq!(web.post("/v1/denials/lift", &json!({ "subject": subject })).json()["count"], 1);
    let _back = client(&broker, "bad", "mallory");
    assert_eq!(web.post("/v1/clients/kick", &json!({ "clients": { "client_id": "good" } })).json()["count"], 1);
    assert_eq!(good.expect_goodbye(), Some(0x98));

    for (method, path) in operations(&web) {
        let answer = match (&*method, &*path) {
            (_, "/v1/events") => continue,
            ("GET", path) => web.get(path),
            (_, path) => web.post(path, &json!({ "nonsense": 1 })),
        };
        // There, and strict: what is missing or unknown is named.
        assert!(![404, 405, 401].contains(&answer.status), "{method} {path}: {answer:?}");
        assert!(method == "GET" || answer.status == 422, "{method} {path}: {answer:?}");
    }
    assert_eq!(web.get("/v1/nothing").status, 404);
    assert_eq!(web.post("/v1/node", &json!({})).status, 405);
    assert_eq!(web.get("/v1/cluster").status, 409, "it is alone");
}

/// Issue 7, part 7: one client is shown with the chain that it sent, leaf first, whole, on a handshake that was resumed too; one without
/// a certificate has none.
#[test]
fn a_client_is_shown_with_its_chain() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtts("mqtts", &pki, "optional", "resumption = true").mqtt("mqtt").faults(GRANTS).http("");
    let broker = setup.start();
    let web = operator(&broker);
    let credentials = pki.client("sensor-1");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wanted: Vec<_> = credentials.chain.iter().map(|der| hex(&Sha256::digest(der))).collect();
    let tls = Tls::new(&pki, Some(&credentials));
    for resumed in [false, true] {
        let mut client = Client::tls(broker.address("mqtts"), &tls, Version::V5).unwrap();
        assert_eq!(client.connect_as("c", Some(("ann", ""))).unwrap(), 0);
        assert_eq!(client.resumed(), resumed);
        let one = web.get("/v1/client?tenant=test&user=ann&client_id=c").json();
        let chain = one["connection"]["certificate"]["chain"].as_array().unwrap();
        let hashes: Vec<_> = chain.iter().map(|of| of["sha256"].as_str().unwrap().to_owned()).collect();
        assert_eq!(hashes, wanted, "{one}");
        assert!(chain[0]["subject"].as_str().unwrap().contains("sensor-1"), "{one}");
        assert!(chain.windows(2).all(|pair| pair[0]["issuer"] == pair[1]["subject"]), "{one}");
        assert!(chain[0]["not_before_ms"].as_u64() < chain[0]["not_after_ms"].as_u64(), "{one}");
        client.disconnect();
    }
    let _plain = client(&broker, "p", "ann");
    let one = web.get("/v1/client?tenant=test&user=ann&client_id=p").json();
    assert!(one["connection"]["certificate"].is_null(), "{one}");
}

/// One sample: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads an exposition strictly: a family's HELP and TYPE once and before its samples, names that fit its type, labels quoted and
/// escaped, no sample twice, and the end.
fn parsed(text: &str) -> Vec<Sample> {
    let (mut types, mut samples, mut seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let mut family = String::new();
    let body = text.strip_suffix("# EOF\n").expect("the end");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            family = name.to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(name_end);
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()), "{line}");
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("not of {family}: {line}"));
        let fits = match &*types[&family] {
            "counter" => suffix == "_total",
            "gauge" => suffix.is_empty(),
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            other => panic!("{other}"),
        };
        assert!(fits, "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, value) = rest.trim_start_matches(',').split_once("=\"").unwrap();
                let (mut read, mut chars) = (String::new(), value.char_indices());
                let end = loop {
                    match chars.next().expect("the quote") {
                        (_, '\\') => read.push(match chars.next().unwrap().1 {
                            'n' => '\n',
                            c @ ('"' | '\\') => c,
                            c => panic!("\\{c}: {line}"),
                        }),
                        (at, '"') => break at,
                        (_, c) => read.push(c),
                    }
                };
                assert!(labels.insert(label.to_owned(), read).is_none(), "{line}");
                rest = &value[end + 1..];
            }
            rest = &rest[1..];
        }
        let value = rest.trim().parse().unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "twice: {line}");
        samples.push((name.to_owned(), labels, value));
    }
    samples
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |of: &BTreeMap<String, String>| labels.iter().all(|(k, v)| of.get(*k).is_some_and(|is| is == v));
    let found = samples.iter().find(|(is, of, _)| is == name && has(of));
    found.unwrap_or_else(|| panic!("{name} {labels:?}")).2
}

/// Issue 7, part 6: the metrics are well formed and say what happened; buckets of a histogram grow, and end with what its count says.
#[test]
fn metrics_say_what_happened() {
    let broker = broker();
    let web = operator(&broker);
    let mut client = client(&broker, "c", "ann");
    assert_eq!(client.subscribe("a", 0), 0);
    // Retained: so the store has something to keep.
    assert_eq!(client.published("a", 1, true, b"x"), 0);
    let _ = client.message();
    let samples = wait_for("what was counted is added up", PATIENCE, || {
        let answer = web.get("/metrics");
        assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
        let samples = parsed(&answer.body);
        let of_test = [("tenant", "test")];
        let known = samples.iter().any(|(_, labels, _)| labels.get("tenant").is_some_and(|t| t == "test"));
        (known && value(&samples, "gatemq_tenant_messages_received_total", &of_test) == 1.0).then_some(samples)
    });
    let is = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    assert_eq!(is("gatemq_tenant_connections", &[("tenant", "test")]), 1.0);
    assert_eq!(is("gatemq_tenant_subscriptions", &[("tenant", "test")]), 1.0);
    assert_eq!(is("gatemq_tenant_messages_sent_total", &[("tenant", "test")]), 1.0);
    assert_eq!(is("gatemq_listener_connections", &[("listener", "mqtt")]), 1.0);
    assert_eq!(is("gatemq_events_total", &[("kind", "ClientConnected")]), 1.0);
    assert_eq!(is("gatemq_events_total", &[("kind", "AdminRefused")]), 0.0);
    assert_eq!(is("gatemq_ready", &[]), 1.0);
    assert_eq!(is("gatemq_plugin_ready", &[("plugin", "faults")]), 1.0);
    assert!(is("gatemq_plugin_calls_total", &[("plugin", "faults")]) >= 1.0);
    let faults = [("plugin", "faults")];
    for (name, labels) in [("plugin_call", &faults[..]), ("store_commit", &[]), ("routing", &[])] {
        let of = |what: &str| format!("gatemq_{name}_seconds_{what}");
        let is_of = |of: &BTreeMap<String, String>| labels.iter().all(|(name, value)| of[*name] == *value);
        let buckets = samples.iter().filter(|(is, labels, _)| *is == of("bucket") && is_of(labels));
        let buckets: Vec<f64> = buckets.map(|(.., n)| *n).collect();
        assert!(buckets.is_sorted() && buckets.len() == 32 && buckets[31] >= 1.0, "{name}: {buckets:?}");
        assert_eq!(is(&of("bucket"), &[labels, &[("le", "+Inf")]].concat()), buckets[31]);
        assert_eq!(is(&of("count"), labels), buckets[31]);
        assert!(is(&of("sum"), labels) > 0.0 || name == "routing", "{name}");
    }
}

/// Issue 7, part 6: what a peer can make the node keep is bounded: a header, a body, connections of an address, and time. Others are
/// served all the while.
#[test]
fn what_a_peer_can_take_is_bounded() {
    let mut broker = broker();
    let (web, stranger) = (operator(&broker), Web::new(broker.http_address()));
    let slow = |bytes: &str| {
        let mut client = stranger.open().unwrap();
        client.send_raw(bytes.as_bytes()).unwrap();
        client
    };
    let [mut silent, mut half] = ["", "GET / HTTP/1.1\r\nhost: x\r\n"].map(slow);
    let large = format!("x-large: {}\r\n", "x".repeat(64 << 10));
    let answer = web.try_ask("GET /v1/node", &large, None);
    assert!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 0 | 431)), "{answer:?}");
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = web.try_ask("GET /v1/node", &many, None);
    assert!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 0 | 431)), "{answer:?}");
    let body = json!({ "clients": { "client_id": "x" }, "reason": "y".repeat(70 << 10) });
    // What is not read any more may take the answer with it.
    let answer = web.try_ask("POST /v1/clients/kick", "", Some(&body));
    assert!(answer.as_ref().map_or(true, |answer| matches!(answer.status, 0 | 413)), "{answer:?}");
    let held: Vec<Client> = (0..40).filter_map(|_| stranger.open().ok()).collect();
    broker.tape().wait_for("ConnectionRefused", |e| {
        e["event"] == "ConnectionRefused"
            && e["fields"]["reason"] == "address_connections_max"
            && e["listener"] == "[http]"
    });
    drop(held);
    wait_for("there is room again", PATIENCE, || {
        web.try_ask("GET /v1/node", "", None).ok().filter(|answer| answer.status == 200)
    });
    // Whoever sends nothing, or never ends, is closed.
    assert!(silent.exchange(b"", |_| false).is_ok_and(|read| read.is_empty()), "closed");
    let read = half.exchange(b"", |_| false).unwrap();
    assert!(!String::from_utf8_lossy(&read).contains("200 OK"), "{read:?}");
}

/// Issue 7, part 4: `gatemq events tail` prints what happens as it happens, of the kind and the client that were asked for, escaped
/// for people; a kind that there is not is named.
#[test]
fn events_are_followed() {
    let broker = broker();
    let gatemq = |arguments: &[&str]| {
        let mut gatemq = Command::new(Artifacts::get().broker());
        gatemq.args(["events", "tail"]).args(arguments).arg("--config").arg(broker.directory().join("gatemq.toml"));
        gatemq
    };
    let mut tail =
        gatemq(&["--kind", "ClientConnected", "--kind", "ClientDisconnected", "--tenant", "test", "--user", "ann"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || while lines.next().is_some_and(|line| tell.send(line.unwrap()).is_ok()) {});
    // It may not have begun to follow: until it tells, somebody comes and goes.
    let line = wait_for("a line", PATIENCE, || {
        client(&broker, "other", "bob").disconnect();
        client(&broker, "c\u{1b}[31m", "ann").disconnect();
        told.try_recv().ok()
    });
    assert!(line.contains(" Client") && line.contains("user=ann") && line.contains("client_id=c\\u{1b}[31m"), "{line}");
    assert!(!line.contains('\u{1b}'), "{line}");
    tail.kill().unwrap();
    tail.wait().unwrap();
    let output = gatemq(&["--kind", "Nonsense"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(65) && err.contains("Nonsense"), "{err}");

    // The same over HTTP, with what was there before.
    let web = operator(&broker);
    let _ = Web::new(broker.http_address()).get("/v1/node");
    let request = web.request("GET /v1/events?class=security&recent=5", "", None);
    let is_whole = |read: &[u8]| String::from_utf8_lossy(read).contains("AdminRefused");
    let read = web.open().unwrap().exchange(request.as_bytes(), is_whole).unwrap();
    let text = String::from_utf8_lossy(&read).to_lowercase();
    assert!(text.contains("content-type: text/event-stream") && text.contains("\ndata: {"), "{text}");
    // Nobody follows any more, so no message makes an event.
    let traffic = web.request("GET /v1/events?class=traffic", "", None);
    let mut reader = web.open().unwrap();
    let _ = reader.exchange(traffic.as_bytes(), |read| read.windows(4).any(|end| end == b"\r\n\r\n")).unwrap();
    client(&broker, "p", "ann").publish("t", 0, b"x").unwrap();
    let read = reader.exchange(b"", |read| String::from_utf8_lossy(read).contains("MessageReceived")).unwrap();
    assert!(String::from_utf8_lossy(&read).contains("MessageReceived"));
}

/// Issue 7, bad input: a token file that others may read, or that has no token, is refused, with its key and what to do; so is a
/// listener beyond loopback without TLS.
#[test]
fn a_wrong_configuration_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let refused = |setup: Setup| {
        let ended = setup.check();
        assert_eq!(ended.code, Some(78), "{ended:?}");
        ended.log
    };
    let setup = Setup::new().mqtt("mqtt").faults("").http("");
    std::fs::set_permissions(setup.directory().join("tokens"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let log = refused(setup);
    assert!(log.contains("http.token_file") && log.contains("chmod"), "{log}");
    let setup = Setup::new().mqtt("mqtt").faults("").http("");
    std::fs::write(setup.directory().join("tokens"), "operator short\n").unwrap();
    let log = refused(setup);
    assert!(log.contains("http.token_file") && log.contains("line 1") && !log.contains("short"), "{log}");
    let log = refused(Setup::new().mqtt("mqtt").faults("").http("").argument("--set").argument("http.bind=0.0.0.0:0"));
    assert!(log.contains("http.bind") && log.contains("[http.tls]"), "{log}");
    let good = Setup::new().mqtt("mqtt").faults("").http("").check();
    assert_eq!(good.code, Some(0), "{good:?}");
}

/// Issue 7, part 8: the dashboard and the alert rules name no metric that there is not.
#[test]
fn dashboards_and_alerts_name_what_there_is() {
    let cluster = [
        "delivery_seconds_bucket",
        "member_up",
        "forwards_dropped_total",
        "forwards_not_acknowledged_total",
        "synchronised",
    ];
    let broker = broker();
    let samples = parsed(&operator(&broker).get("/metrics").body);
    // Tenants come with clients, and members with a cluster.
    let _client = client(&broker, "c", "ann");
    let samples = [samples, parsed(&operator(&broker).get("/metrics").body)].concat();
    let mut known: Vec<String> = samples.into_iter().map(|(name, ..)| name).collect();
    known.extend(cluster.map(|name| format!("gatemq_cluster_{name}")));
    let mut named = 0;
    for file in ["grafana.json", "alerts.yml"] {
        let file = gatemq_tests::workspace().join("packaging/doc/monitoring").join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        if file.extension().is_some_and(|extension| extension == "json") {
            let _: Value = serde_json::from_str(&text).unwrap();
        }
        let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
        for word in text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("gatemq_")) {
            assert!(known.iter().any(|name| name == word), "{}: {word}", file.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
