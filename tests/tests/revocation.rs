//! TLS files of listeners that change while the broker runs: revocation lists, authorities, certificates.

use std::path::{Path, PathBuf};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::{Credentials, Pki};
use gatemq_tests::{Kind, PATIENCE, wait_for};
use serde_json::Value;

const KINDS: [Kind; 2] = [Kind::Mqtts, Kind::Wss];

/// Replaced in one step, as a script that fetches lists should.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Listeners for clients with certificates, with these lists and resumption; `more` goes into their `tls` tables.
fn setup(pki: &Pki, lists: &str, more: &str) -> (Setup, PathBuf) {
    let setup = Setup::new();
    let file = setup.directory().join("clients.crl");
    write(&file, lists);
    let more = format!("client_crl_file = {file:?}\nresumption = true\n{more}");
    let setup = KINDS.into_iter().fold(setup, |setup, kind| setup.secure(kind, kind.name(), pki, "required", &more));
    (setup.faults("").tape(), file)
}

fn tls_of(pki: &Pki, credentials: &Credentials) -> [Tls; 2] {
    [Tls::v1_2(pki, Some(credentials)), Tls::v1_3(pki, Some(credentials))]
}

/// Its client, or that it was refused before MQTT.
fn try_enter(broker: &Broker, kind: Kind, tls: &Tls, client_id: &str) -> Option<Client> {
    let mut client = Client::open(broker.address(kind.name()), kind, tls, Version::V5).ok()?;
    client.connect(client_id).ok().map(|code| {
        assert_eq!(code, 0, "{client_id}");
        client
    })
}

fn refused_because(broker: &mut Broker, says: &str) {
    let is = |e: &Value| {
        e["event"] == "TlsHandshakeFailed" && e["fields"]["error"].as_str().is_some_and(|error| error.contains(says))
    };
    broker.tape().wait_for(says, is);
}

fn reloaded(broker: &mut Broker, event: &'static str) -> Value {
    broker.reload(str::to_owned);
    broker.tape().wait_for(event, |e| e["event"] == event)
}

/// Issue 7, item 5: at the handshake a list refuses the client that it names, or whose authority it names, one that is missing in the
/// chain or out of date refuses everybody of it, over TCP and WebSocket, TLS 1.2 and 1.3. Twin: another client, and missing lists where
/// they are allowed.
#[test]
fn lists_refuse_at_the_handshake() {
    let pki = Pki::new("Acme");
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    for (lists, more, good_comes, says) in [
        (pki.lists(&[&bad], true), "", true, "CertRevoked"),
        (pki.lists_of_a_revoked_authority(), "", false, "CertRevoked"),
        (pki.lists_with_a_gap(), "", false, "UnknownRevocationStatus"),
        (pki.lists(&[], false), "", false, "CrlExpired"),
        (pki.lists_with_a_gap(), "client_crl_missing = \"allow\"", true, ""),
    ] {
        let mut broker = setup(&pki, &lists, more).0.start();
        for kind in KINDS {
            for (good, bad) in tls_of(&pki, &good).iter().zip(&tls_of(&pki, &bad)) {
                assert_eq!(try_enter(&broker, kind, good, "good").is_some(), good_comes, "{says}");
                assert_eq!(try_enter(&broker, kind, bad, "bad").is_some(), says.is_empty(), "{says}");
            }
        }
        if !says.is_empty() {
            refused_because(&mut broker, says);
        }
    }
}

/// Issue 7, item 5: whoever is connected and then named by a list is told and gone, with an event, and cannot come back by resuming the
/// TLS session that it has from before. Twins: another stays and resumes nothing from before, but what it got since.
#[test]
fn who_is_revoked_is_gone_and_resumes_nothing() {
    let pki = Pki::new("Acme");
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    let (setup, file) = setup(&pki, &pki.lists(&[], true), "");
    let mut broker = setup.start();
    // Of each listener its own: what another one gave is resumed nowhere else.
    let [goods, bads] = [&good, &bad].map(|of| KINDS.map(|_| tls_of(&pki, of)));
    let mut live = Vec::new();
    for (k, kind) in KINDS.into_iter().enumerate() {
        for (n, (good, bad)) in goods[k].iter().zip(&bads[k]).enumerate() {
            let id = |who: &str| format!("{who}-{}-{n}", kind.name());
            for (tls, who) in [(good, "good"), (bad, "bad")] {
                // A ticket of TLS 1.3 comes behind the handshake: who has read an answer has it.
                let first = try_enter(&broker, kind, tls, &id(who)).unwrap();
                first.disconnect();
                let mut again = try_enter(&broker, kind, tls, &id(who)).unwrap();
                assert!(again.resumed(), "{who}: else the test shows nothing");
                again.ping();
                live.push((who, again));
            }
        }
    }
    write(&file, &pki.lists(&[&bad], true));
    let told = reloaded(&mut broker, "RevocationListReloaded");
    assert_eq!((&told["fields"]["lists"], &told["fields"]["revoked"]), (&3.into(), &1.into()));
    for (who, client) in &mut live {
        match *who {
            "bad" => assert_eq!(client.expect_goodbye(), Some(0x98), "administrative action"),
            _ => client.ping(),
        }
    }
    let why = "a revocation list names a certificate of its chain";
    broker.tape().wait_for("ClientKicked", |e| e["event"] == "ClientKicked" && e["fields"]["why"] == why);
    for (k, kind) in KINDS.into_iter().enumerate() {
        for (good, bad) in goods[k].iter().zip(&bads[k]) {
            assert!(try_enter(&broker, kind, bad, "bad").is_none(), "its session is from before");
            let first = try_enter(&broker, kind, good, "good-again").unwrap();
            assert!(!first.resumed(), "nothing from before is resumed");
            first.disconnect();
            assert!(try_enter(&broker, kind, good, "good-again").unwrap().resumed());
        }
    }
}

/// Issue 7, item 5: lists that cannot be used, or are out of date, change nothing, say so with file and key, and the command of an
/// operator fails; the next good ones take hold.
#[test]
fn bad_lists_keep_the_old() {
    let pki = Pki::new("Acme");
    let (good, bad) = (pki.client("good"), pki.client("bad"));
    let (setup, file) = setup(&pki, &pki.lists(&[&bad], true), "");
    let mut broker = setup.start();
    let mut live = try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&good)), "good").unwrap();
    for (text, says) in [("rubbish".to_owned(), "BEGIN X509 CRL"), (pki.lists(&[], false), "out of date")] {
        write(&file, &text);
        broker.reload(str::to_owned);
        broker.tape().wait_for(says, |e| {
            let why = e["fields"]["why"].as_str().unwrap_or_default();
            e["event"] == "ConfigRefused" && why.contains("listeners.mqtts.tls.client_crl_file") && why.contains(says)
        });
        assert!(try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&bad)), "bad").is_none(), "{says}");
        assert!(try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&good)), "good-2").is_some(), "{says}");
    }
    let mut gatemq = std::process::Command::new(Artifacts::get().broker());
    let output = gatemq.arg("reload").arg("--config").arg(broker.directory().join("gatemq.toml")).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("client_crl_file"));
    write(&file, &pki.lists(&[], true));
    reloaded(&mut broker, "RevocationListReloaded");
    assert!(try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&bad)), "bad").is_some());
    live.ping();
}

/// Issue 7, item 5: an authority that is gone takes its clients with it, one that is new brings its own; a server's new certificate is
/// shown to whoever comes, without ending anybody, and tickets from before are good; and files are watched where that is asked for.
#[test]
fn authorities_and_certificates_are_exchanged() {
    let (pki, umbra) = (Pki::new("Acme"), Pki::new("Umbra"));
    let setup = Setup::new().toml("").mqtts("mqtts", &pki, "required", "resumption = true").faults("").tape();
    let setup = setup.argument("--set").argument("node.tls_watch_s=1");
    let directory = setup.directory().to_owned();
    let root = pki.write_root(&directory);
    let mut broker = setup.start();
    let acme = Tls::new(&pki, Some(&pki.client("a")));
    let mut live = try_enter(&broker, Kind::Mqtts, &acme, "live").unwrap();
    let before = live.server_certificate().unwrap().clone();

    // Of these a moment has a certificate without its key, which must change nothing.
    let new = pki.server();
    new.write(&directory, "next");
    write(&directory.join("mqtts-server.crt"), &std::fs::read_to_string(directory.join("next.crt")).unwrap());
    broker.tape().wait_for("not its key", |e| {
        e["event"] == "ConfigRefused"
            && e["fields"]["why"].as_str().is_some_and(|why| why.contains("is not the key of"))
    });
    let other = try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&pki.client("a"))), "other").unwrap();
    assert_eq!(other.server_certificate(), Some(&before));
    write(&directory.join("mqtts-server.key"), &std::fs::read_to_string(directory.join("next.key")).unwrap());
    broker
        .tape()
        .wait_for("CertificateReloaded", |e| e["event"] == "CertificateReloaded" && e["fields"]["what"] == "server");
    assert!(try_enter(&broker, Kind::Mqtts, &acme, "resumes").unwrap().resumed(), "clients are verified as before");
    let fresh = try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, Some(&pki.client("a"))), "fresh").unwrap();
    assert_eq!(fresh.server_certificate(), Some(&new.chain[0]));
    live.ping();

    let of_umbra = Tls::new(&pki, Some(&umbra.client("u")));
    assert!(try_enter(&broker, Kind::Mqtts, &of_umbra, "u").is_none());
    write(&root, &umbra.root_pem());
    broker
        .tape()
        .wait_for("CertificateReloaded", |e| e["event"] == "CertificateReloaded" && e["fields"]["what"] == "clients");
    assert_eq!(live.expect_goodbye(), Some(0x98));
    assert!(try_enter(&broker, Kind::Mqtts, &acme, "live").is_none());
    wait_for("an authority that is new", PATIENCE, || try_enter(&broker, Kind::Mqtts, &of_umbra, "u"));
}

/// What packaging/doc/tls.md promises of a reload, "clients that are connected and would be refused now": where certificates become
/// required, whoever came without one is told and gone. Twin: who showed one stays.
#[test]
fn who_has_no_certificate_goes_when_one_is_required() {
    let pki = Pki::new("Acme");
    let setup =
        KINDS.into_iter().fold(Setup::new(), |setup, kind| setup.secure(kind, kind.name(), &pki, "optional", ""));
    let mut broker = setup.faults("").tape().start();
    let with = pki.client("with");
    let enter = |credentials: Option<&Credentials>, name: &str| {
        let of_kind = |kind: Kind| format!("{name}-{}", kind.name());
        KINDS.map(|kind| try_enter(&broker, kind, &Tls::new(&pki, credentials), &of_kind(kind)).unwrap())
    };
    let (mut stay, mut go) = (enter(Some(&with), "with"), enter(None, "without"));
    broker.reload(|text| text.replace("client_auth = \"optional\"", "client_auth = \"required\""));
    for client in &mut go {
        assert_eq!(client.expect_goodbye(), Some(0x98));
    }
    stay.iter_mut().for_each(Client::ping);
    let why = "it has no certificate, and one is required";
    broker.tape().wait_for("ClientKicked", |e| e["event"] == "ClientKicked" && e["fields"]["why"] == why);
    assert!(try_enter(&broker, Kind::Mqtts, &Tls::new(&pki, None), "without").is_none());
}

/// DESIGN section 8: what ends within 30 days is told, at the start already; twin: what ends later is not.
#[test]
fn ends_are_told_ahead() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtts("later", &pki, "none", "");
    let soon = pki.server_with(&["localhost"], |params| {
        params.not_after =
            std::time::SystemTime::now().checked_add(std::time::Duration::from_secs(20 * 86_400)).unwrap().into();
    });
    let files = soon.write(setup.directory(), "soon");
    let text = format!(
        "[listeners.soon]\nkind = \"mqtts\"\nbind = \"127.0.0.1:0\"\n[listeners.soon.tls]\ncertificate_file = {:?}\nprivate_key_file = {:?}",
        files.certificate, files.key
    );
    let mut broker = setup.toml(&text).faults("").tape().start();
    let told = broker.tape().wait_for("CertificateExpiring", |e| e["event"] == "CertificateExpiring");
    assert_eq!(told["fields"]["days"], 19, "{told}");
    assert!(told["fields"]["file"].as_str().unwrap().ends_with("soon.crt"), "{told}");
    let is_other = |e: &Value| e["event"] == "CertificateExpiring" && e["fields"]["file"] != told["fields"]["file"];
    assert!(broker.tape().find(std::time::Duration::from_millis(300), is_other).is_none());
}

/// DESIGN section 9: limits of a listener and the level of the log change at a reload; what needs a restart is named.
#[test]
fn limits_change_while_running() {
    let mut broker = Setup::new().mqtt("plain").toml("connections_max = 1").mqtt("other").faults("").tape().start();
    let open = |broker: &Broker, id: &str| {
        let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
        client.connect(id).ok().map(|_| client)
    };
    let _first = open(&broker, "first").unwrap();
    assert!(open(&broker, "second").is_none());
    broker.reload(|text| {
        let text = text.replace("connections_max = 1", "connections_max = 2\nhandshakes_max = 7");
        let text = text.replace("workers = 2", "workers = 1");
        text.replace("level = \"info\"", "level = \"debug\"")
    });
    let told = broker.tape().wait_for("ConfigReloaded", |e| e["event"] == "ConfigReloaded");
    assert_eq!(told["fields"]["restart"], "[node]");
    let _second = open(&broker, "second").expect("it may have two now");
    assert!(open(&broker, "third").is_none());
    broker.wait_for_log("debug lines", |line| line.contains("DEBUG"));
}
