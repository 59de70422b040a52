//! Listeners at a reload: they come, go and become others while the node serves; the API's own takes its files again.

use std::net::{SocketAddr, TcpListener};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::web::Web;
use gatemq_tests::{Kind, PATIENCE, wait_for};
use serde_json::Value;

fn enter(at: SocketAddr, client_id: &str) -> Client {
    let mut client = Client::tcp(at, Version::V5).unwrap();
    assert_eq!(client.connect_as(client_id, Some(("u", ""))).unwrap(), 0, "{client_id}");
    client
}

/// `gatemq reload`, and where the listeners are after it: what became of which, in the order of their names.
fn reload(broker: &mut Broker, change: impl FnOnce(&str) -> String) -> Vec<(String, String)> {
    broker.configure(change);
    let told = broker.command(&["reload"]);
    assert_eq!(told["needs_restart"], Value::Array(Vec::new()), "{told}");
    broker.look_again();
    let rows = told["listeners"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["result"].as_str().unwrap().to_owned())).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, result)| ((*name).to_owned(), (*result).to_owned())).collect()
}

/// Section 9: a listener that is new in the configuration opens at a reload, with its chain; one that is gone closes, and who came
/// by it is told and disconnected; one whose kind changes becomes another on the same port. Others hear nothing of it.
#[test]
fn listeners_come_and_go_at_a_reload() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtt("stays").mqtt("goes").mqtt("turns").faults("").tape();
    let files = pki.server().write(setup.directory(), "late");
    let mut broker = setup.start();
    let gone = broker.address("goes");
    let turned = broker.address("turns");
    let (mut stays, mut goes, mut turns) =
        (enter(broker.address("stays"), "stays"), enter(gone, "goes"), enter(turned, "turns"));
    // On its way in when its listener goes.
    let mut late = Client::tcp(gone, Version::V5).unwrap();
    let told = reload(&mut broker, |text| {
        let text = text.replace("[listeners.goes]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n", "");
        let text = text.replace("[listeners.turns]\nkind = \"mqtt\"", "[listeners.turns]\nkind = \"ws\"");
        format!(
            "{text}\n[listeners.comes]\nkind = \"mqtts\"\nbind = \"127.0.0.1:0\"\n[listeners.comes.tls]\n\
             certificate_file = {:?}\nprivate_key_file = {:?}\n",
            files.certificate, files.key
        )
    });
    assert_eq!(told, pairs(&[("comes", "opened"), ("goes", "closed"), ("turns", "replaced")]));
    assert_eq!((goes.expect_goodbye(), turns.expect_goodbye()), (Some(0x98), Some(0x98)), "administrative action");
    let code = late.connect_as("late", Some(("u", "")));
    assert!(code.is_err() || late.expect_goodbye() == Some(0x98), "{code:?}");
    wait_for("nobody listens there", PATIENCE, || Client::tcp(gone, Version::V5).err());
    stays.ping();
    let tls = Tls::new(&pki, None);
    let mut client = Client::tls(broker.address("comes"), &tls, Version::V5).unwrap();
    assert_eq!(client.connect_as("comes", Some(("u", ""))).unwrap(), 0);
    assert_eq!(broker.address("turns"), turned, "another kind, on the same port");
    let mut client = Client::open(turned, Kind::Ws, &tls, Version::V5).unwrap();
    assert_eq!(client.connect_as("turns", Some(("u", ""))).unwrap(), 0);
    let kicked = broker.tape().wait_for_client("ClientKicked", "goes");
    assert_eq!(kicked["fields"]["by"], "reload: listener goes", "{kicked}");
    assert_eq!(reload(&mut broker, str::to_owned), [], "nothing has changed");
    stays.ping();
    client.ping();
    let ended = broker.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

/// Section 9: where one listener of a reload cannot be opened nothing changes, and it is said which, why, and what to do. The twin,
/// with the port free, opens.
#[test]
fn a_listener_that_cannot_be_opened_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut broker = Setup::new().mqtt("stays").mqtt("goes").faults("").tape().start();
    let mut client = enter(broker.address("goes"), "c");
    broker.configure(|text| {
        let text = text.replace("[listeners.goes]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n", "");
        format!("{text}\n[listeners.comes]\nkind = \"mqtt\"\nbind = \"{at}\"\n")
    });
    let (code, problem) = broker.fails(&["reload"]);
    assert_eq!(code, Some(65), "{problem}");
    let wanted = format!("listeners.comes.bind: {at} cannot be bound");
    assert!(problem.contains(&wanted) && problem.contains("ss -ltnp"), "{problem}");
    broker.tape().wait_for("ConfigRefused", |e| e["event"] == "ConfigRefused");
    client.ping();
    let _another = enter(broker.address("goes"), "d");
    drop(taken);
    assert_eq!(reload(&mut broker, str::to_owned), pairs(&[("comes", "opened"), ("goes", "closed")]));
    let mut on_it = enter(at, "e");
    assert_eq!(client.expect_goodbye(), Some(0x98));
    // Nor while the listener itself is in the way.
    let everywhere = format!("0.0.0.0:{}", at.port());
    broker.configure(|text| text.replace(&at.to_string(), &everywhere));
    let (code, problem) = broker.fails(&["reload"]);
    assert!(code == Some(65) && problem.contains("while the listener comes has the port"), "{problem}");
    on_it.ping();
}

/// Issue 7, part 5: a reload reads the certificate of the API over HTTP again, and whom it trusts: who came before and is trusted no
/// more is answered no more, on the connection that he has. Files that do not fit change nothing.
#[test]
fn the_api_takes_its_certificates_again() {
    let (pki, other) = (Pki::new("Acme"), Pki::new("Other"));
    let setup = Setup::new().mqtt("mqtt").faults("").tape();
    let (server, root) = (pki.server().write(setup.directory(), "http"), pki.write_root(setup.directory()));
    let mut broker = setup
        .toml(&format!(
            "[http]\nbind = \"127.0.0.1:0\"\n[http.tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}\nclient_ca_file = {root:?}",
            server.certificate, server.key
        ))
        .start();
    let web = |of: &Pki| Web::new(broker.http_address()).tls(Tls::new(of, Some(&of.client("ann"))));
    let request = format!("GET /v1/node HTTP/1.1\r\nhost: {}\r\n\r\n", broker.http_address());
    let mut kept = web(&pki).open().unwrap();
    let ask = |kept: &mut Client| {
        let is_whole = |read: &[u8]| read.windows(4).any(|four| four == b"\r\n\r\n") && read.ends_with(b"}");
        String::from_utf8(kept.exchange(request.as_bytes(), is_whole).unwrap()).unwrap()
    };
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"));
    let (certificate, key) = (std::fs::read(&server.certificate).unwrap(), std::fs::read(&server.key).unwrap());
    let next = other.server().write(broker.directory(), "next");
    std::fs::copy(&next.key, &server.key).unwrap();
    let (code, problem) = broker.fails(&["reload"]);
    assert!(code == Some(65) && problem.contains("http.tls.private_key_file"), "{problem}");
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"), "nothing has changed");
    std::fs::copy(&next.certificate, &server.certificate).unwrap();
    std::fs::write(&root, other.root_pem()).unwrap();
    broker.command(&["reload"]);
    let refused = ask(&mut kept);
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("no certificate authority"), "{refused}");
    assert_eq!(web(&other).get("/v1/node").json()["name"], "node-1");
    assert!(web(&pki).try_ask("GET /v1/node", "", None).is_err(), "the certificate is another one");
    for (file, before) in [(&server.certificate, certificate), (&server.key, key)] {
        std::fs::write(file, before).unwrap();
    }
    std::fs::write(&root, pki.root_pem()).unwrap();
    broker.command(&["reload"]);
    assert_eq!(web(&pki).get("/v1/node").json()["name"], "node-1");
    broker.tape().wait_for("CertificateReloaded", |e| {
        e["event"] == "CertificateReloaded" && e["fields"]["of_listener"] == "[http]"
    });
}
