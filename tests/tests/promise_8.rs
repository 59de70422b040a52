//! Promise 8: tenants do not meet. Equal topics and client ids in two tenants never touch.

use std::fs;
use std::time::Duration;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::{Kind, at_once};

/// Nothing more comes to any of them.
fn nothing_comes(clients: &mut [Client]) {
    for client in clients {
        // Whatever was on its way to it comes before the answer.
        client.ping();
        assert!(!matches!(client.receive(Duration::from_millis(20)), Ok(Received::Packet(_))));
    }
}

/// Two tenants, each with a listener of every kind of its own: one client id and one topic in both, on every kind. Who
/// is in one tenant meets everybody in it, on whatever listener, and nobody of the other.
#[test]
fn promise_8_tenants_do_not_meet_on_any_kind_of_listener() {
    let pki = Pki::new("Acme");
    let mut setup = Setup::new();
    for tenant in ["one", "two"] {
        for kind in Kind::ALL {
            let name = format!("{tenant}-{}", kind.name());
            setup = setup.listener_named(&name, kind, &pki);
            setup = setup.toml(&format!("[listeners.{name}.auth]\nchain = [{tenant:?}]"));
        }
        let config = format!("config.tenant = {tenant:?}\nconfig.grants = [{{ allow = [\"all\"], filter = \"#\" }}]");
        setup = setup.plugin(tenant, &Artifacts::get().plugin("test-faults"), &config);
    }
    let mut broker = setup.tape().start();
    let tls = Tls::new(&pki, None);
    let clients = |broker: &Broker, tenant: &str| -> Vec<Client> {
        let of = |kind: Kind| {
            let address = broker.address(&format!("{tenant}-{}", kind.name()));
            let mut client = Client::open(address, kind, &tls, Version::V5).unwrap();
            assert_eq!(client.connect_as(&format!("client-{}", kind.name()), Some(("user", "x"))).unwrap(), 0);
            assert_eq!(client.subscribe("#", 0), 0);
            client
        };
        Kind::ALL.map(of).into()
    };
    // The second ones, with the same names, take nobody over.
    let mut tenants = [clients(&broker, "one"), clients(&broker, "two")];
    for (at, tenant) in ["one", "two"].into_iter().enumerate() {
        for from in 0..Kind::ALL.len() {
            let payload = format!("of {tenant}, {from}").into_bytes();
            tenants[at][from].publish("a/b", 0, &payload).unwrap();
            for to in &mut tenants[at] {
                assert_eq!(to.message(), ("a/b".to_owned(), payload.clone()));
            }
        }
        nothing_comes(&mut tenants[1 - at]);
    }
    tenants.iter_mut().for_each(|clients| nothing_comes(clients));
    for tenant in ["one", "two"] {
        broker.tape().wait_for(tenant, |e| e["event"] == "ClientConnected" && e["tenant"] == tenant);
    }
    let taken_over = |e: &serde_json::Value| e["event"] == "ClientTakenOver" || e["event"] == "ClientDisconnected";
    assert!(!broker.tape().events().iter().any(taken_over), "a client of one tenant ended one of the other");
}

/// Two tenants on one listener, told apart by their trust anchors, use one topic and one client id and never meet.
#[test]
fn promise_8_trust_anchors_tell_tenants_apart() {
    at_once(&[Kind::Mqtts, Kind::Wss], |&kind| {
        let (acme, globex) = (Pki::new("Acme"), Pki::new("Globex"));
        let setup = Setup::new().secure(kind, kind.name(), &acme, "required", "");
        let roots = [acme.write_root(setup.directory()), globex.write_root(setup.directory())];
        let both = setup.directory().join("both.crt");
        fs::write(&both, acme.root_pem() + &globex.root_pem()).unwrap();
        let config = format!(
            "config.anchors = {{ acme = {:?}, globex = {:?} }}\n\
             config.rules = [{{ grants = [{{ allow = [\"all\"], filter = \"#\" }}] }}]",
            roots[0], roots[1]
        );
        let setup = setup.plugin("fleet", &Artifacts::get().plugin("auth-certificate"), &config);
        let set = format!("listeners.{}.tls.client_ca_file={}", kind.name(), both.display());
        let mut broker = setup.argument("--set").argument(&set).tape().start();
        // The server's certificate is Acme's for both.
        let admitted = |pki: &Pki| {
            let tls = Tls::new(&acme, Some(&pki.client("sensor-1")));
            broker.admitted(kind, &tls, Version::V5, "sensor-1")
        };
        let mut clients = [admitted(&acme), admitted(&globex)];
        for client in &mut clients {
            assert_eq!(client.subscribe("#", 0), 0);
        }
        for (client, payload) in clients.iter_mut().zip([b"of acme".to_vec(), b"of globex".to_vec()]) {
            client.publish("a", 0, &payload).unwrap();
            assert_eq!(client.message().1, payload);
        }
        nothing_comes(&mut clients);
        for tenant in ["acme", "globex"] {
            broker.tape().wait_for(tenant, |e| e["event"] == "ClientConnected" && e["tenant"] == tenant);
        }
    });
}
