//! What a listener does before TLS and MQTT: limits of connections, PROXY headers; and the certificate that it shows.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, wait_for};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// 192.0.2.7:4711 to 10.0.0.1:8883, with a field of three bytes that says nothing.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0F\xC0\0\x02\x07\x0A\0\0\x01\x12\x67\x22\xB3\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A plain listener with these lines in its table, and everything that is said of it.
fn start(lines: &str) -> Broker {
    Setup::new().mqtt("plain").toml(lines).faults("").tape().start()
}

/// The client if it is admitted, from `source` and behind `header`; `None` if the connection ends instead.
fn admitted(broker: &Broker, source: Ipv4Addr, header: &[u8], client_id: &str) -> Option<Client> {
    let mut client = Client::tcp_from(source, broker.address("plain"), Version::V5).unwrap();
    // Whoever is refused at once may be closed before it has said anything.
    client.send(header).and_then(|()| client.connect(client_id)).ok().map(|code| {
        assert_eq!(code, 0, "{client_id}");
        client
    })
}

/// As [`admitted`], as soon as a place is free.
fn admitted_soon(broker: &Broker, source: Ipv4Addr, header: &[u8], client_id: &str) -> Client {
    wait_for("a place is free", PATIENCE, || admitted(broker, source, header, client_id))
}

fn refusal(broker: &mut Broker, reason: &str) -> serde_json::Value {
    broker.tape().wait_for(reason, |e| e["event"] == "ConnectionRefused" && e["fields"]["reason"] == reason)
}

/// Connections of an address have a limit: one more is closed before it is asked for anything, another address is not meant,
/// and who leaves makes room, also after a TLS handshake that failed.
#[test]
fn an_address_has_so_many_connections() {
    let mut broker = start("address_connections_max = 2");
    let first = admitted(&broker, ONE, b"", "first").unwrap();
    let _second = admitted(&broker, ONE, b"", "second").unwrap();
    let mut third = Client::tcp_from(ONE, broker.address("plain"), Version::V5).unwrap();
    third.expect_closed();
    let event = refusal(&mut broker, "address_connections_max");
    assert_eq!(event["remote"], third.local().unwrap().to_string());
    admitted(&broker, OTHER, b"", "other").expect("another address");
    first.disconnect();
    let _third = admitted_soon(&broker, ONE, b"", "third");

    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtts("secure", &pki, "required", "").fleet(&pki);
    let broker = setup.argument("--set").argument("listeners.secure.address_connections_max=1").start();
    let (nobody, somebody) = (Tls::new(&pki, None), Tls::new(&pki, Some(&pki.client("sensor-1"))));
    let try_with = |tls: &Tls| {
        let client = Client::tls(broker.address("secure"), tls, Version::V5);
        client.and_then(|mut client| client.connect("sensor-1").map(|_| client)).ok()
    };
    for _ in 0..3 {
        assert!(try_with(&nobody).is_none());
        wait_for("a place is free", PATIENCE, || try_with(&somebody));
    }
}

/// So many new connections a second and no more, of an address and of all; what was refused comes in a second later. Twins of
/// the first: another address in the same second; of both: a burst as large as the limit.
#[test]
fn a_burst_is_cut_off() {
    for (line, reason, other_is_free) in [
        ("address_connections_per_s_max = 10", "address_connections_per_s_max", true),
        ("connections_per_s_max = 10\naddress_connections_per_s_max = 0", "connections_per_s_max", false),
        ("connections_max = 10", "connections_max", false),
    ] {
        let mut broker = start(line);
        let within: Vec<_> = (0..10).map(|n| admitted(&broker, ONE, b"", &format!("within-{n}"))).collect();
        assert!(within.iter().all(Option::is_some), "{reason}");
        drop(within);
        // A burst that takes longer than a second is two bursts.
        wait_for("a burst is cut off", PATIENCE, || {
            let burst: Vec<_> =
                (0..40).map(|_| Client::tcp_from(ONE, broker.address("plain"), Version::V5).unwrap()).collect();
            let other = other_is_free.then(|| admitted(&broker, OTHER, b"", "other").expect("another address"));
            drop((burst, other));
            broker.tape().find(Duration::from_millis(200), |e| {
                e["event"] == "ConnectionRefused" && e["fields"]["reason"] == reason
            })
        });
        admitted_soon(&broker, ONE, b"", "later");
    }
}

/// Behind a proxy the client is who the header says, for plugins, for events and for the limits of an address; the proxy is
/// told apart from it.
#[test]
fn a_proxy_says_whom_it_carries() {
    let pki = Pki::new("Acme");
    let networks = "networks = [\"127.0.0.1\"]";
    let proxy = format!("[listeners.plain.proxy]\n{networks}\n[listeners.secure.proxy]\n{networks}");
    let setup = Setup::new().mqtt("plain").mqtts("secure", &pki, "none", "").toml(&proxy);
    let mut broker = setup.faults("").tape().start();
    let tls = Tls::new(&pki, None);
    let version_1: &[u8] = b"PROXY TCP6 2001:db8::7 ::1 4711 8883\r\n";
    for (listener, name) in [("plain", "p"), ("secure", "s")] {
        for (n, header, remote) in [
            (1, version_1, Some("[2001:db8::7]:4711")),
            (2, VERSION_2, Some("192.0.2.7:4711")),
            (3, LOCAL, None),
            (4, b"PROXY UNKNOWN\r\n", None),
        ] {
            let mut client = Client::tcp(broker.address(listener), Version::V5).unwrap();
            let local = client.local().unwrap().to_string();
            client.send(header).unwrap();
            if listener == "secure" {
                client = client.secured(&tls).unwrap();
            }
            let client_id = format!("{name}{n}");
            assert_eq!(client.connect(&client_id).unwrap(), 0);
            let seen = broker.seen(&client_id);
            assert_eq!(seen["remote"], remote.unwrap_or(&local), "{client_id}");
            assert_eq!(seen["proxied_by"].as_str(), remote.map(|_| &*local), "{client_id}");
            let event = broker.tape().wait_for_client("ClientConnected", &client_id);
            assert_eq!(event["remote"], remote.unwrap_or(&local));
        }
    }
}

/// A proxy must send a header; from everybody else a header is what it is, no TLS and no MQTT. Each is the other's twin.
#[test]
fn a_header_is_for_proxies() {
    let pki = Pki::new("Acme");
    let networks = "networks = [\"127.0.0.1\"]";
    let proxy = format!("[listeners.plain.proxy]\n{networks}\n[listeners.secure.proxy]\n{networks}");
    let setup = Setup::new().mqtt("plain").mqtts("secure", &pki, "none", "").toml(&proxy);
    let mut broker = setup.faults("").tape().start();
    assert!(admitted(&broker, ONE, b"", "without").is_none());
    assert!(admitted(&broker, OTHER, VERSION_2, "with").is_none());
    admitted(&broker, ONE, VERSION_2, "with").unwrap();
    admitted(&broker, OTHER, b"", "without").unwrap();
    let event = refusal(&mut broker, "proxy header");
    assert!(event["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
    let event = broker
        .tape()
        .wait_for("a malformed packet", |e| e["event"] == "PacketMalformed" || e["event"] == "ProtocolViolated");
    assert!(event["remote"].as_str().unwrap().starts_with("127.0.0.2:"), "nobody is who he claims to be: {event}");

    let tls = Tls::new(&pki, None);
    for (source, header, is_let_in) in [(ONE, VERSION_2, true), (ONE, b"", false), (OTHER, b"", true)] {
        let mut client = Client::tcp_from(source, broker.address("secure"), Version::V5).unwrap();
        client.send(header).unwrap();
        let connected = client.secured(&tls).and_then(|mut client| client.connect("tls"));
        assert_eq!(connected.ok(), is_let_in.then_some(0), "{source} {}", header.escape_ascii());
    }
    let mut client = Client::tcp_from(OTHER, broker.address("secure"), Version::V5).unwrap();
    client.send(VERSION_2).unwrap();
    assert!(!matches!(client.receive(PATIENCE), Ok(Received::Packet(packet)) if packet.kind() == 2));
    let event = broker.tape().wait_for("no TLS", |e| e["event"] == "TlsHandshakeFailed");
    assert!(event["remote"].as_str().unwrap().starts_with("127.0.0.2:"));
}

/// The header has to come before the deadline of the connection; its twin takes its time as well, but comes.
#[test]
fn a_proxy_that_says_nothing_is_closed() {
    let mut broker = start("connect_ms_max = 1500\n[listeners.plain.proxy]\nnetworks = [\"127.0.0.0/8\"]");
    let mut silent = Client::tcp_from(ONE, broker.address("plain"), Version::V5).unwrap();
    let mut slow = Client::tcp_from(ONE, broker.address("plain"), Version::V5).unwrap();
    for part in VERSION_2.chunks(5) {
        slow.send(part).unwrap();
    }
    assert_eq!(slow.connect("slow").unwrap(), 0);
    silent.expect_closed();
    let event = broker.tape().wait_for("its deadline", |e| e["event"] == "ConnectTimedOut");
    assert_eq!(event["fields"]["stage"], "proxy");
}

/// Behind a proxy, limits of an address are the client's, not the proxy's.
#[test]
fn limits_behind_a_proxy_are_the_clients() {
    let mut broker = start("address_connections_max = 1\n[listeners.plain.proxy]\nnetworks = [\"127.0.0.0/8\"]");
    let header = |n: u8| format!("PROXY TCP4 192.0.2.{n} 10.0.0.1 4711 8883\r\n").into_bytes();
    let _local = admitted(&broker, ONE, LOCAL, "local").expect("the proxy itself");
    let first = admitted(&broker, ONE, &header(1), "first").unwrap();
    let _second = admitted(&broker, ONE, &header(2), "second").expect("another client of the same proxy");
    let _local_too = admitted(&broker, ONE, LOCAL, "local-too").expect("the proxy itself, again");
    assert!(admitted(&broker, OTHER, &header(1), "again").is_none(), "the same client by another proxy");
    assert_eq!(refusal(&mut broker, "address_connections_max")["remote"], "192.0.2.1:4711");
    first.disconnect();
    admitted_soon(&broker, OTHER, &header(1), "again");
}

/// Who asks for a host gets its certificate; who asks for another, or for none, gets the listener's own.
#[test]
fn a_host_has_its_certificate() {
    let pki = Pki::new("Acme");
    let setup = Setup::new();
    let host = pki.server_for(&["b.example"]);
    let files = host.write(setup.directory(), "host");
    let sni = format!(
        "[listeners.secure.tls.sni.\"b.example\"]\ncertificate_file = {:?}\nprivate_key_file = {:?}",
        files.certificate, files.key
    );
    let broker = setup.mqtts("secure", &pki, "optional", &sni).faults("").start();
    for make_tls in [Tls::v1_2, Tls::v1_3] {
        let tls = make_tls(&pki, Some(&pki.client("sensor-1")));
        // The client checks that the certificate is for the name that it asked for.
        for (name, is_the_hosts) in
            [("b.example", true), ("B.Example", true), ("localhost", false), ("127.0.0.1", false)]
        {
            let mut client =
                Client::tls(broker.address("secure"), &tls.clone().server_name(name), Version::V5).unwrap();
            assert_eq!(client.server_certificate() == Some(&host.chain[0]), is_the_hosts, "{name}");
            assert_eq!(client.connect("sensor-1").unwrap(), 0);
        }
        let other = Client::tls(broker.address("secure"), &tls.server_name("c.example"), Version::V5);
        let error = other.err().expect("the own certificate is not for c.example").to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
}

/// `gatemq check` names key and file of a host's certificate that cannot be used, as it does for the listener's own; its twin
/// is good.
#[test]
fn check_looks_at_the_certificates_of_hosts() {
    let pki = Pki::new("Acme");
    for (named, other_key, says) in [
        ("b.example", false, None),
        ("c.example", false, Some("listeners.secure.tls.sni.\"b.example\".certificate_file: ")),
        ("b.example", true, Some("listeners.secure.tls.sni.\"b.example\".private_key_file: ")),
    ] {
        let setup = Setup::new();
        let files = pki.server_for(&[named]).write(setup.directory(), "host");
        let key = match other_key {
            true => pki.server().write(setup.directory(), "other").key,
            false => files.key,
        };
        let sni = format!(
            "[listeners.secure.tls.sni.\"b.example\"]\ncertificate_file = {:?}\nprivate_key_file = {key:?}",
            files.certificate
        );
        let ended = setup.mqtts("secure", &pki, "none", &sni).faults("").check();
        assert_eq!(ended.code, Some(if says.is_some() { 78 } else { 0 }), "{}", ended.log);
        let file = if other_key { key } else { files.certificate };
        let is_said = |says: &str| ended.log.contains(&format!("{says}{}: ", file.display()));
        assert!(says.is_none_or(is_said), "{}", ended.log);
    }
}
