//! Exclusive identities in a cluster: of a certificate one connection is live at all nodes together, the newest.

use std::sync::Mutex;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version};
use gatemq_tests::cluster::{self, Member, status, up};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, at_once, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::signal;

const TAKEN_OVER: u8 = 0x8E;

/// Certificates of this authority are admitted, one connection each.
fn setup(member: &Member, pki: &Pki) -> Setup {
    let setup = member.bare();
    let root = pki.write_root(setup.directory());
    let config = format!(
        "config.anchors = {{ acme = {root:?} }}\n\
         config.rules = [{{ exclusive = \"certificate\", grants = [{{ allow = [\"all\"], filter = \"#\" }}] }}]"
    );
    setup.mqtts("secure", pki, "required", "").plugin("fleet", &Artifacts::get().plugin("auth-certificate"), &config)
}

fn two(pki: &Pki) -> Vec<Broker> {
    cluster::start(cluster::members("test", 2).iter().map(|member| setup(member, pki)))
}

fn comes(to: &Broker, tls: &Tls, client_id: &str) -> Client {
    Client::admitted(to.address("secure"), tls, Version::V5, client_id)
}

/// Who comes to another node with the same certificate is the one that stays, there and back; the event says at which node it is. Another
/// certificate is not concerned.
#[test]
fn one_connection_of_a_certificate_at_all_nodes() {
    let pki = Pki::new("Acme");
    let mut brokers = two(&pki);
    let [tls, other] = ["pump", "valve"].map(|name| Tls::new(&pki, Some(&pki.client(name))));
    let mut bystander = comes(&brokers[1], &other, "bystander");
    let mut old = comes(&brokers[0], &tls, "c-0");
    for n in 1..4 {
        let (from, to) = ((n - 1) % 2, n % 2);
        let mut new = comes(&brokers[to], &tls, &format!("c-{n}"));
        assert_eq!(old.expect_goodbye(), Some(TAKEN_OVER));
        let event = brokers[from].tape().wait_for_client("IdentityTakenOver", &format!("c-{}", n - 1));
        let fields = &event["fields"];
        assert_eq!(fields["by_node"], json!(format!("node-{}", to + 1)));
        assert_eq!((&fields["exclusive"], &fields["by_client_id"]), (&json!("certificate"), &json!(format!("c-{n}"))));
        new.ping();
        old = new;
    }
    bystander.ping();
}

/// Of many that come to both nodes at once one stays, and no two of them end each other.
#[test]
fn of_many_at_once_one_stays() {
    let pki = Pki::new("Acme");
    let mut brokers = two(&pki);
    let tls = Tls::new(&pki, Some(&pki.client("pump")));
    let (addresses, clients) = ([0, 1].map(|n| brokers[n].address("secure")), Mutex::new(Vec::new()));
    let names: Vec<_> = (0..30).map(|n| format!("c-{n}")).collect();
    at_once(&names, |name| {
        let node = usize::from(name.ends_with(['1', '3', '5', '7', '9']));
        let mut client = Client::tls(addresses[node], &tls, Version::V5).unwrap();
        assert_eq!(client.connect(name).unwrap(), 0);
        clients.lock().unwrap().push(client);
    });
    let is = |e: &&Value| e["event"] == "ClientDisconnected" && e["fields"]["reason"] == "TakenOver";
    let mut ended = || brokers.iter_mut().map(|broker| broker.tape().events().iter().filter(is).count()).sum::<usize>();
    wait_for("all but one are gone", PATIENCE, || (ended() == 29).then_some(()));
    let mut clients = clients.into_inner().unwrap();
    clients.retain_mut(|client| {
        // Whoever is gone finds the end of its connection, or has been told of it.
        let _ = client.send_packet(0xC0, &[]);
        matches!(client.receive(PATIENCE), Ok(Received::Packet(packet)) if packet.first == 0xD0)
    });
    assert_eq!(clients.len(), 1, "one is left");
}

/// While a node hangs its client's certificate is used at another; when it is back it hears of that, and the older connection ends.
#[test]
fn a_node_that_was_away_hears_who_came_meanwhile() {
    let pki = Pki::new("Acme");
    let brokers = two(&pki);
    let tls = Tls::new(&pki, Some(&pki.client("pump")));
    let mut old = comes(&brokers[1], &tls, "old");
    signal(&brokers[1], Signal::STOP);
    wait_for("it is given up", PATIENCE, || up(&status(&brokers[0])).is_empty().then_some(()));
    let mut new = comes(&brokers[0], &tls, "new");
    signal(&brokers[1], Signal::CONT);
    assert_eq!(old.expect_goodbye(), Some(TAKEN_OVER));
    new.ping();
}
