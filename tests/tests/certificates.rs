//! `auth-certificate` in a broker: who loses his certificate while he is connected.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gatemq_tests::Kind;
use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::{Credentials, Pki};
use gatemq_tests::session::{Connect, Level, Will};
use serde_json::Value;
use sha2::{Digest, Sha256};

const NOT_AUTHORIZED: u8 = 0x87;

fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn by_fingerprint(of: &Credentials) -> String {
    let sha256: String = Sha256::digest(&of.chain[0]).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256 {sha256}\n")
}

/// Promise 7: whoever is connected with a certificate that is revoked, over TCP and WebSocket, is gone at once, without his will, stays
/// out, and comes in again when it is taken back; others, one with the same serial number of another issuer among them, stay.
#[test]
fn promise_7_who_is_revoked_is_gone() {
    let (pki, umbra) = (Pki::new("Acme"), Pki::new("Umbra"));
    let setup = Setup::new();
    let (acme_root, umbra_root) = (setup.directory().join("acme.crt"), umbra.write_root(setup.directory()));
    let revoked = setup.directory().join("revoked");
    write(&acme_root, &pki.root_pem());
    write(&revoked, &format!("# nobody here\nsha256 {}\n", "00".repeat(32)));
    let config = format!(
        "config.anchors = {{ acme = {acme_root:?}, umbra = {umbra_root:?} }}\nconfig.revoked_file = {revoked:?}\n\
         config.rules = [{{ grants = [{{ allow = [\"all\"], filter = \"#\" }}] }}]"
    );
    let setup = setup.plugin("fleet", &Artifacts::get().plugin("auth-certificate"), &config).tape();
    let setup = [Kind::Mqtts, Kind::Wss]
        .into_iter()
        .fold(setup, |setup, kind| setup.secure(kind, kind.name(), &pki, "required", ""));
    // The listeners trust both.
    write(&pki.write_root(setup.directory()), &(pki.root_pem() + &umbra.root_pem()));
    let mut broker = setup.start();
    let numbered = |pki: &Pki| pki.client_with("pump", |params| params.serial_number = Some(vec![0x4d, 0x2f].into()));
    let (by_number, same_number) = (numbered(&pki), numbered(&umbra));
    let (by_print, stays) = (pki.client("lost"), pki.client("stays"));
    let tls = |of: &Credentials| Tls::new(&pki, Some(of));
    let enter = |broker: &gatemq_tests::broker::Broker, kind: Kind, of: &Credentials, id: &str| -> (Client, u8) {
        let connect = Connect::new(Level::V5, id).will(Will::new("will", b"gone"));
        let (client, ack) = broker.greeted(kind, &tls(of), &connect);
        (client, ack.code)
    };
    let mut others = [(&stays, "stays"), (&same_number, "same")].map(|(of, id)| enter(&broker, Kind::Mqtts, of, id).0);
    assert_eq!(others[0].subscribe("will", 0), 0);
    let lines = by_fingerprint(&by_print) + "serial acme 4D2F CN=Acme Intermediate 2, O=Acme\n";
    let mut lost = Vec::new();
    for kind in [Kind::Mqtts, Kind::Wss] {
        for (of, name) in [(&by_number, "number"), (&by_print, "print")] {
            let id = format!("{name}-{}", kind.name());
            let (client, code) = enter(&broker, kind, of, &id);
            assert_eq!(code, 0, "{id}");
            lost.push((id, kind, of, client));
        }
    }
    write(&revoked, &lines);
    for (id, _, _, client) in &mut lost {
        assert_eq!(client.expect_goodbye(), Some(NOT_AUTHORIZED), "{id}");
        assert_eq!(broker.tape().wait_for_client("IdentityRevoked", id)["fields"]["by"], "plugin fleet");
        assert_eq!(broker.tape().wait_for_client("ClientDisconnected", id)["fields"]["reason"], "IdentityRevoked");
    }
    for (id, kind, of, _) in &lost {
        assert_eq!(enter(&broker, *kind, of, id).1, NOT_AUTHORIZED, "{id}");
        let refused = broker.tape().wait_for_client("ClientRefused", id);
        assert!(refused["fields"]["reason"].as_str().unwrap().contains("is revoked, as "), "{refused}");
    }
    // PINGRESP is all that comes: no will.
    others.iter_mut().for_each(Client::ping);
    write(&revoked, "");
    broker.wait_for_log("they may come in again", |line| line.contains("0 certificates are revoked"));
    for (id, kind, of, _) in &lost {
        assert_eq!(enter(&broker, *kind, of, id).1, 0, "{id}");
    }
    let is = |e: &&Value| e["event"] == "IdentityRevoked";
    assert_eq!(broker.tape().events().iter().filter(is).count(), 4);
}

/// An identity is over when its certificate is: the client that is connected then is told 0x87 and may not come back.
#[test]
fn a_certificate_ends_while_its_client_is_connected() {
    let pki = Pki::new("Acme");
    let mut broker = Setup::new().fleet(&pki).mqtts("mqtts", &pki, "required", "").tape().start();
    let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let short = pki.client_with("short", |params| params.not_after = ends.into());
    let mut client = Client::admitted(broker.address("mqtts"), &Tls::new(&pki, Some(&short)), Version::V5, "short");
    client.ping();
    client.expect_goodbye();
    assert_eq!(broker.tape().wait_for_client("ClientDisconnected", "short")["fields"]["reason"], "IdentityExpired");
}
