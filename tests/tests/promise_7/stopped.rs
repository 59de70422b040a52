//! Each kind of denial, from the first moment to its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatemq_tests::Kind;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Will};
use serde_json::{Value, json};

use super::*;

/// How its end may come: told where the protocol can, then closed, all within a second of the request.
fn expect_kicked(victim: &mut Client, asked: Instant) {
    let told = victim.expect_goodbye();
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
    assert!(told.is_none_or(|code| code == ADMINISTRATIVE_ACTION), "{told:?}");
}

/// What a denied client meets when it comes back.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Refused {
    /// Right after the handshake: no CONNACK.
    AfterHandshake,
    /// With a CONNACK.
    AfterAuthentication,
}

fn expect_refused(broker: &Broker, tls: &Tls, connect: &Connect<'_>, how: Refused) {
    let version = connect.level.version();
    match how {
        Refused::AfterHandshake => {
            let client = Client::open(broker.address("mqtts"), Kind::Mqtts, tls, version);
            let code = client.and_then(|mut client| client.connect(connect.client_id));
            assert!(code.is_err(), "{code:?}");
        }
        Refused::AfterAuthentication => {
            let (_, answer) = broker.greeted(Kind::Mqtts, tls, connect);
            let code = if version == Version::V5 { BANNED } else { 5 };
            assert_eq!(answer.code, code);
        }
    }
}

/// A client that is denied by its certificate, its key, its user or its name is kicked within a second, leaves no will, and is
/// refused from then on at the first point where that shows, also after a restart; others are not meant; lifted, it may come
/// back, to what waited for it.
#[test]
fn promise_7_a_denied_client_is_gone_and_stays_out() {
    let pki = Pki::new("Acme");
    let (victims, bystanders) = (pki.client("victim"), pki.client("bystander"));
    let (tls, others) = (Tls::new(&pki, Some(&victims)), Tls::new(&pki, Some(&bystanders)));
    let setup = Setup::new().listener(Kind::Mqtts, &pki).faults("").requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    for (n, (what, subject, how, stage)) in [
        ("its certificate", leaf(&victims), Refused::AfterHandshake, "tls"),
        ("its key", key(&victims), Refused::AfterHandshake, "tls"),
        ("its user", user("test", "mallory"), Refused::AfterAuthentication, "authenticate"),
        ("its client", client("test", "mallory", "victim"), Refused::AfterAuthentication, "authenticate"),
    ]
    .into_iter()
    .enumerate()
    {
        for level in [Level::V311, Level::V5] {
            let will = format!("will/{n}");
            let connect = Connect { user: Some("mallory"), ..Connect::stays(level, "victim") };
            let (mut victim, _) = broker.joined(Kind::Mqtts, &tls, &connect.will(Will::new(&will, b"gone")));
            victim.subscribe("for/victim", 1);
            let mut watcher = broker.admitted(Kind::Mqtts, &others, Version::V5, "watcher");
            assert_eq!(watcher.subscribe("will/#", 1), 1);
            let asked = Instant::now();
            let answer = broker.done("deny", json!({"subject": subject, "reason": what}));
            expect_kicked(&mut victim, asked);
            let row: Value = serde_json::from_str(answer["rows"][0].as_str().unwrap()).unwrap();
            assert_eq!(
                (&row["subject"], &row["action"], &row["raised_by"]),
                (&subject, &"refuse".into(), &"plugin requests".into())
            );
            let enforced = |stage: &'static str| {
                move |e: &Value| {
                    e["event"] == "DenialEnforced" && e["fields"]["stage"] == stage && e["fields"]["reason"] == what
                }
            };
            broker.tape().wait_for("it is kicked", enforced("session"));
            expect_refused(&broker, &tls, &connect, how);
            broker.tape().wait_for(what, enforced(stage));
            let mut other = broker.admitted(Kind::Mqtts, &others, Version::V5, "bystander");
            watcher.nothing_came(&mut other);
            other.published("for/victim", 1, false, b"waits");

            drop((watcher, other));
            let (ended, setup) = broker.stop_to_start_again();
            assert_eq!(ended.code, Some(0));
            broker = setup.start();
            expect_refused(&broker, &tls, &connect, how);
            broker.admitted(Kind::Mqtts, &others, Version::V5, "bystander");

            broker.done("allow", json!({"subject": subject}));
            let (mut back, resumed) = broker.joined(Kind::Mqtts, &tls, &connect);
            assert!(resumed, "its session had stayed");
            assert_eq!(back.take_message().payload, b"waits");
            back.disconnect();
            assert_eq!(broker.not_done("allow", json!({"subject": subject})), "NotFound");
        }
    }
}

/// The delayed will of a client that is denied while it is away is not published; that of another one is.
#[test]
fn promise_7_a_denied_client_leaves_no_will_later() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().listener(Kind::Mqtt, &pki).faults("").requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let tls = Tls::new(&pki, None);
    let mut watcher = broker.admitted(Kind::Mqtt, &tls, Version::V5, "watcher");
    assert_eq!(watcher.subscribe("will/#", 1), 1);
    for (name, topic) in [("victim", "will/victim"), ("other", "will/other")] {
        let connect = Connect { user: Some(name), ..Connect::stays(Level::V5, name) };
        let will = Will { delay_s: 2, ..Will::new(topic, b"gone") };
        broker.joined(Kind::Mqtt, &tls, &connect.will(will)).0.break_off();
        broker.tape().wait_for_client("ClientDisconnected", name);
    }
    broker.done("deny", json!({"subject": user("test", "victim")}));
    broker.tape().wait_for("it is withheld", |e| e["event"] == "DenialEnforced" && e["fields"]["stage"] == "will");
    assert_eq!(watcher.take_message().topic, "will/other");
}

/// An address is refused before its TLS handshake, and behind a proxy by its header; who is connected from it stays; others,
/// and after the denial's time it too, are let in. It outlives a restart.
#[test]
fn promise_7_an_address_is_refused_before_tls() {
    let pki = Pki::new("Acme");
    let setup =
        Setup::new().mqtt("plain").mqtt("proxied").mqtts("secure", &pki, "none", "").faults("").requests().tape();
    let setup = setup.toml("[listeners.proxied.proxy]\nnetworks = [\"127.0.0.1\"]\n[auth]\nchain = [\"faults\"]");
    let mut broker = setup.start();
    let (mut stays, _) = code_from(&broker, OTHER, "stays").unwrap();
    fail_from(&mut broker, OTHER);
    broker.done("deny", json!({"subject": address(OTHER), "reason": "guesses passwords"}));
    let tls = Tls::new(&pki, None);
    let by_proxy = |broker: &Broker, client_address: &str| {
        let mut client = Client::tcp_from(ONE, broker.address("proxied"), Version::V5).unwrap();
        let header = format!("PROXY TCP4 {client_address} 127.0.0.1 4711 1883\r\n");
        client.send(header.as_bytes()).and_then(|()| client.connect("by-proxy")).ok()
    };
    let expect_out = |broker: &mut Broker| {
        // Not a byte of TLS is answered.
        let mut client = Client::tcp_from(OTHER, broker.address("secure"), Version::V5).unwrap();
        client.expect_closed();
        let local = client.local().unwrap().to_string();
        broker.tape().wait_for("at accept", |e| {
            e["event"] == "DenialEnforced" && e["fields"]["stage"] == "accept" && e["remote"] == local
        });
        let refused =
            broker.tape().wait_for("its refusal", |e| e["event"] == "ConnectionRefused" && e["remote"] == local);
        assert_eq!(refused["fields"]["reason"], "denied");
        assert!(code_from(broker, OTHER, "again").is_none());
        assert_eq!(by_proxy(broker, "127.0.0.2"), None);
        broker.tape().wait_for("by proxy", |e| e["event"] == "DenialEnforced" && e["fields"]["stage"] == "proxy");
        assert_eq!(by_proxy(broker, "127.0.0.3"), Some(0), "twin: another client of the proxy");
        assert_eq!(Client::tls(broker.address("secure"), &tls, Version::V5).unwrap().connect("one").unwrap(), 0);
    };
    expect_out(&mut broker);
    stays.ping();
    let mut broker = broker.kill().start();
    expect_out(&mut broker);
    broker.done("deny", json!({"subject": address(OTHER), "ttl_ms": 300, "reason": "for a moment"}));
    broker.tape().wait_for("its end", |e| e["event"] == "DenialExpired");
    admitted_soon(&broker, OTHER, "again");
    let broker = broker.kill().start();
    admitted_soon(&broker, OTHER, "again");
}

/// However fast clients come, none that is denied is left connected: each is in the index before it looks, and a denial is
/// there before the index is scanned.
#[test]
fn promise_7_no_race_lets_a_denied_client_stay() {
    let setup = Setup::new().mqtt("plain").faults("").requests().toml("[auth]\nchain = [\"faults\"]");
    let setup = setup.argument("--set").argument("listeners.plain.connections_per_s_max=0");
    let broker = setup.argument("--set").argument("listeners.plain.address_connections_per_s_max=0").start();
    let address = broker.address("plain");
    let subject = user("test", "mallory");
    for round in 0..20 {
        let denied = AtomicBool::new(false);
        let left: Vec<Client> = std::thread::scope(|scope| {
            let come = |thread| {
                let denied = &denied;
                move || {
                    let mut held = Vec::new();
                    for n in 0.. {
                        // Whoever begins after the answer must be refused.
                        let late = denied.load(Ordering::SeqCst);
                        let mut client = Client::tcp(address, Version::V5).unwrap();
                        match client.connect_as(&format!("m{round}-{thread}-{n}"), Some(("mallory", "x"))) {
                            Ok(0) if late => panic!("let in though it is denied"),
                            Ok(0) => held.push(client),
                            _ if late => return held,
                            _ => {}
                        }
                    }
                    held
                }
            };
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(come(thread))).collect();
            std::thread::sleep(Duration::from_millis(5 * round));
            // Only who was here can be denied.
            wait_for("somebody is here", PATIENCE, || {
                (broker.ask("deny", json!({"subject": subject}))["error"] == Value::Null).then_some(())
            });
            denied.store(true, Ordering::SeqCst);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for mut client in left {
            client.expect_goodbye();
        }
        assert_eq!(broker.done("sessions", json!({}))["count"], 0);
        broker.done("allow", json!({"subject": subject}));
    }
}
