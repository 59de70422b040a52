//! Exclusive identities: of a certificate or a user one connection is live, the newest.

use std::sync::Mutex;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Will};
use gatemq_tests::{Kind, at_once};
use serde_json::{Value, json};

const TAKEN_OVER: u8 = 0x8E;
const NOT_AUTHORIZED: u8 = 0x87;

/// A broker with `auth-certificate`, whose rule has this besides, on listeners of both kinds with TLS.
fn fleet(pki: &Pki, more: &str) -> Broker {
    let setup = Setup::new();
    let root = pki.write_root(setup.directory());
    let config = format!(
        "config.anchors = {{ acme = {root:?} }}\n\
         config.rules = [{{ {more} grants = [{{ allow = [\"all\"], filter = \"#\" }}] }}]"
    );
    let setup = setup.plugin("fleet", &Artifacts::get().plugin("auth-certificate"), &config).tape();
    [Kind::Mqtts, Kind::Wss]
        .into_iter()
        .fold(setup, |setup, kind| setup.secure(kind, kind.name(), pki, "required", ""))
        .start()
}

fn taken_over(broker: &mut Broker, client_id: &str) -> usize {
    let is = |e: &&Value| e["event"] == "IdentityTakenOver" && e["client_id"] == client_id;
    broker.tape().events().iter().filter(is).count()
}

/// Of two clients with the same certificate the older one is closed, on whatever listener and with whatever version, and the event says
/// by whom; its will is published, as of every client that the broker disconnects. Another certificate is not concerned, nor
/// is the place taken after its holder has left.
#[test]
fn one_connection_of_a_certificate() {
    let pki = Pki::new("Acme");
    let mut broker = fleet(&pki, "exclusive = \"certificate\",");
    let (tls, other) = (Tls::new(&pki, Some(&pki.client("pump"))), Tls::new(&pki, Some(&pki.client("pump"))));
    let mut watch = broker.joined(Kind::Mqtts, &other, &Connect::new(Level::V5, "watch")).0;
    assert_eq!(watch.subscribe("will/#", 0), 0);
    let mut last: Option<(String, Client)> = None;
    for (n, (kind, level)) in [Kind::Mqtts, Kind::Wss].into_iter().flat_map(|k| Level::ALL.map(|l| (k, l))).enumerate()
    {
        let (name, topic) = (format!("c-{n}"), format!("will/{n}"));
        let connect = Connect::stays(level, &name).will(Will::new(&topic, b"gone"));
        let (mut client, _) = broker.joined(kind, &tls, &connect);
        if let Some((old_name, mut old)) = last.take() {
            assert_eq!(old.expect_goodbye().unwrap_or(TAKEN_OVER), TAKEN_OVER);
            let event = broker.tape().wait_for_client("IdentityTakenOver", &old_name);
            let fields = &event["fields"];
            assert_eq!((&fields["exclusive"], &fields["by_client_id"]), (&json!("certificate"), &json!(name)));
            let connected = broker.tape().wait_for_client("ClientConnected", &name);
            assert_eq!(fields["by_connection"], connected["connection"]);
            assert_eq!(fields["by_remote"], connected["remote"]);
            let ended = broker.tape().wait_for_client("ClientDisconnected", &old_name);
            assert_eq!((&ended["fields"]["reason"], &ended["fields"]["blame"]), (&json!("TakenOver"), &json!("peer")));
            assert_eq!(watch.message().0, format!("will/{}", n - 1));
        }
        client.ping();
        last = Some((name, client));
    }
    let (name, client) = last.expect("the last one");
    client.disconnect();
    broker.tape().wait_for_client("ClientDisconnected", &name);
    let (mut next, _) = broker.joined(Kind::Mqtts, &tls, &Connect::new(Level::V5, "next"));
    next.ping();
    // The session of one who was taken over waits for it.
    assert!(broker.joined(Kind::Wss, &tls, &Connect::stays(Level::V5, "c-2")).1);
    assert_eq!(next.expect_goodbye(), Some(TAKEN_OVER));
    watch.ping();
    assert_eq!(taken_over(&mut broker, &name), 0, "it had left");
}

/// The twins: without `exclusive` both stay; the same client that comes again takes over its session as ever, and nobody is told of
/// anything else.
#[test]
fn others_are_not_exclusive() {
    let pki = Pki::new("Acme");
    let tls = Tls::new(&pki, Some(&pki.client("pump")));
    let free = fleet(&pki, "");
    let mut both = ["a", "b"].map(|name| free.joined(Kind::Mqtts, &tls, &Connect::new(Level::V5, name)).0);
    both.iter_mut().for_each(Client::ping);
    let mut broker = fleet(&pki, "exclusive = \"certificate\",");
    let stays = Connect::stays(Level::V5, "a");
    let (mut first, _) = broker.joined(Kind::Mqtts, &tls, &stays);
    let (mut second, resumed) = broker.joined(Kind::Wss, &tls, &stays);
    assert!(resumed);
    assert_eq!(first.expect_goodbye(), Some(TAKEN_OVER));
    second.ping();
    broker.tape().wait_for_client("ClientDisconnected", "a");
    assert_eq!(taken_over(&mut broker, "a"), 0);
    let (mut third, _) = broker.joined(Kind::Mqtts, &tls, &Connect::new(Level::V5, "b"));
    assert_eq!(second.expect_goodbye(), Some(TAKEN_OVER), "it had the place since it came again");
    third.ping();
}

/// Of fifty with one certificate that come at once, on both workers, one stays; none is left that nobody was told of.
#[test]
fn of_fifty_at_once_one_stays() {
    let pki = Pki::new("Acme");
    let mut broker = fleet(&pki, "exclusive = \"certificate\",");
    let tls = Tls::new(&pki, Some(&pki.client("pump")));
    let (names, clients) = ((0..50).map(|n| format!("c-{n}")).collect::<Vec<_>>(), Mutex::new(Vec::new()));
    let address = broker.address("mqtts");
    at_once(&names, |name| {
        let mut client = Client::tls(address, &tls, Version::V5).unwrap();
        assert_eq!(client.connect(name).unwrap(), 0);
        clients.lock().unwrap().push(client);
    });
    gatemq_tests::wait_for("all but one are gone", gatemq_tests::PATIENCE, || {
        let is = |e: &&Value| e["event"] == "ClientDisconnected" && e["fields"]["reason"] == "TakenOver";
        (broker.tape().events().iter().filter(is).count() == 49).then_some(())
    });
    let told = names.iter().filter(|name| taken_over(&mut broker, name) == 1).count();
    assert_eq!(told, 49, "each by the one that came after it");
    let mut alive = 0;
    for client in &mut clients.into_inner().unwrap() {
        client.send(&[0xC0, 0]).ok();
        match client.answer().first {
            0xD0 => alive += 1,
            first => assert_eq!(first, 0xE0),
        }
    }
    assert_eq!(alive, 1);
}

/// A provider that says `user`: its clients with one user are one; who asks by certificate and has none is refused, and says why.
#[test]
fn one_connection_of_a_user() {
    let faults = |exclusive: &str| {
        let refresh = format!("config.refresh = {{ valid_ms = 0 }}\nconfig.exclusive = {exclusive:?}\n");
        Setup::new().mqtt("mqtt").faults(&refresh).requests().tape().toml("[auth]\nchain = [\"faults\"]").start()
    };
    let mut broker = faults("user");
    let connect = |broker: &Broker, user: &str, client_id: &str| {
        let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
        let code = client.connect_as(client_id, Some((user, "x"))).unwrap();
        (client, code)
    };
    let ((mut old, _), (mut other, _)) = (connect(&broker, "ada", "a"), connect(&broker, "bob", "b"));
    // Who is asked about again keeps its place.
    broker.done("revoke", json!({"selector": {"user": "ada"}}));
    broker.tape().wait_for_client("ClientRefreshed", "a");
    old.ping();
    let (mut new, code) = connect(&broker, "ada", "c");
    assert_eq!((code, old.expect_goodbye()), (0, Some(TAKEN_OVER)));
    assert_eq!(broker.tape().wait_for_client("IdentityTakenOver", "a")["fields"]["exclusive"], "user");
    // And one that is not exclusive any more gives it up.
    let reconfigured = |broker: &mut Broker, from: &str, to: &str| {
        let count =
            |broker: &mut Broker| broker.tape().events().iter().filter(|e| e["event"] == "PluginReconfigured").count();
        let before = count(broker);
        broker.reload(|text| {
            text.replace(&format!("config.exclusive = {from:?}"), &format!("config.exclusive = {to:?}"))
        });
        gatemq_tests::wait_for("it is reconfigured", gatemq_tests::PATIENCE, || (count(broker) > before).then_some(()));
    };
    reconfigured(&mut broker, "user", "no");
    broker.done("revoke", json!({"selector": {"user": "ada"}}));
    broker.tape().wait_for_client("ClientRefreshed", "c");
    reconfigured(&mut broker, "no", "user");
    let (mut third, _) = connect(&broker, "ada", "d");
    new.ping();
    // Promise 1: it cannot become exclusive beside another one.
    broker.done("revoke", json!({"selector": {"client_id": "c"}}));
    assert_eq!(new.expect_goodbye(), Some(NOT_AUTHORIZED));
    let failed = broker.tape().wait_for_client("RefreshFailed", "c");
    assert!(failed["fields"]["reason"].as_str().unwrap().contains("became exclusive"), "{failed}");
    third.ping();
    other.ping();
    let mut broker = faults("certificate");
    assert_eq!(connect(&broker, "ada", "a").1, NOT_AUTHORIZED);
    let refused = broker.tape().wait_for_client("ClientRefused", "a");
    assert!(refused["fields"]["reason"].as_str().unwrap().contains("has proven none"), "{refused}");
}
