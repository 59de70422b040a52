//! Handshakes over real sockets, with a PKI of root, two intermediates and leaf.

use std::sync::Arc;
use std::time::Duration;

use gatemq_types::Tls;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::CertificateDer;

use super::testkit::{Bench, Credentials, Outcome, Pki, Wanted, connect, parameters, root};
use super::trust::{CHAIN_CERTIFICATES_MAX, Trust, sha256};
use super::{HandshakeError, certificate};
use crate::config::{ClientAuth, TlsVersion};

const VERSIONS: [(&SupportedProtocolVersion, u16); 2] = [(&TLS12, 0x0303), (&TLS13, 0x0304)];
const HOUR: Duration = Duration::from_secs(3600);

/// A certificate that ends in an hour.
fn ends(params: &mut CertificateParams) {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + HOUR;
}

fn admitted(outcome: Outcome) -> Tls {
    outcome.client.expect("the client is served");
    outcome.server.expect("the server accepts")
}

/// The server's error; the client must have got an `alert`.
fn refused(outcome: Outcome, alert: &str) -> HandshakeError {
    let seen = outcome.client.expect_err("the client is refused").to_string();
    assert!(seen.contains(alert), "the client saw `{seen}`, not `{alert}`");
    outcome.server.expect_err("the server refuses")
}

fn sent(tls: &Tls) -> Vec<&[u8]> {
    tls.chain.iter().map(|der| der.as_bytes()).collect()
}

fn bytes<'a>(chain: &'a [CertificateDer<'static>]) -> Vec<&'a [u8]> {
    chain.iter().map(|der| der.as_ref()).collect()
}

fn spki(issuer: &super::testkit::Issuer) -> [u8; 32] {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(issuer.der()).unwrap();
    sha256(parsed.public_key().raw)
}

/// Promise 2: everything that the peer sent arrives, byte for byte, with path and anchor, also what is not in the path.
#[tokio::test]
async fn the_chain_is_whole() {
    let bench = Bench::new(Wanted::Required);
    let acceptor = bench.acceptor().unwrap();
    let stranger = Pki::new("Stranger");
    for (version, number) in VERSIONS {
        let mut credentials = bench.pki.leaf("device-1", |_| {});
        let plain = admitted(connect(&acceptor, &bench.client(Some(&credentials), version)).await);
        assert_eq!(sent(&plain), bytes(&credentials.chain));
        assert_eq!((plain.path, plain.verified), (vec![0, 1, 2], true));

        credentials.chain.insert(1, stranger.lower.der().clone());
        credentials.chain.push(stranger.root.der().clone());
        let tls = admitted(connect(&acceptor, &bench.client(Some(&credentials), version)).await);
        assert_eq!(sent(&tls), bytes(&credentials.chain));
        assert_eq!(tls.path, [0, 2, 3]);
        let anchor = tls.anchor.unwrap();
        assert_eq!(anchor.subject, "CN=Acme Root, O=Acme");
        assert_eq!(anchor.spki_sha256, spki(&bench.pki.root));
        assert_eq!(tls.leaf_sha256, Some(sha256(&credentials.chain[0])));
        assert_eq!(tls.version, number);
        assert!(tls.cipher.starts_with("TLS_") && !tls.resumed, "{}", tls.cipher);
        assert_eq!((tls.server_name.as_deref(), tls.alpn.as_deref()), (Some("localhost"), Some("mqtt")));
    }
}

/// Guards against admitting clients of another authority; the chain is reported all the same.
#[tokio::test]
async fn another_authority_is_refused() {
    let bench = Bench::new(Wanted::Required);
    let acceptor = bench.acceptor().unwrap();
    // Same names, other keys: a name that agrees must not be enough.
    let other = Pki::new("Acme");
    for (version, _) in VERSIONS {
        admitted(connect(&acceptor, &bench.client(Some(&bench.pki.leaf("d", |_| {})), version)).await);
        let credentials = other.leaf("d", |_| {});
        let error = refused(connect(&acceptor, &bench.client(Some(&credentials), version)).await, "alert");
        assert_eq!(error.chain.len(), 3);
        assert!(!error.proven);

        let stranger = Pki::new("Stranger").leaf("d", |_| {});
        let error = refused(connect(&acceptor, &bench.client(Some(&stranger), version)).await, "UnknownCA");
        assert!(error.error.contains("no certificate authority"), "{error}");
        assert_eq!(error.chain[0].as_bytes(), stranger.chain[0].as_ref());
    }
}

/// Guards validity: leaf and anchor end at their time, to which webpki pays no heed in an anchor.
#[tokio::test]
async fn what_is_expired_is_refused() {
    for (version, _) in VERSIONS {
        let bench = Bench::new(Wanted::Required);
        let acceptor = bench.acceptor().unwrap();
        let client = bench.client(Some(&bench.pki.leaf("d", ends)), version);
        admitted(connect(&acceptor, &client).await);
        bench.clock.advance(2 * HOUR);
        let error = refused(connect(&acceptor, &client).await, "CertificateExpired");
        assert!(error.error.contains("expired") && error.chain.len() == 3, "{error}");

        let mut bench = Bench::new(Wanted::Required);
        bench.pki.root = root("Brief Root", ends);
        bench.write("ca.pem", &bench.pki.root.pem());
        let acceptor = bench.acceptor().unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = parameters("d").signed_by(&key, &bench.pki.root).unwrap();
        let client = bench.client(Some(&Credentials { chain: vec![leaf.der().clone()], key }), version);
        admitted(connect(&acceptor, &client).await);
        bench.clock.advance(2 * HOUR);
        refused(connect(&acceptor, &client).await, "CertificateExpired");
    }
}

/// Guards that a chain that somebody copied admits nobody and is not held against its owner.
#[tokio::test]
async fn a_chain_without_its_key_proves_nothing() {
    let bench = Bench::new(Wanted::Required);
    let acceptor = bench.acceptor().unwrap();
    for (version, _) in VERSIONS {
        let mut credentials = bench.pki.leaf("d", |_| {});
        admitted(connect(&acceptor, &bench.client(Some(&credentials), version)).await);
        credentials.key = KeyPair::generate().unwrap();
        let error = refused(connect(&acceptor, &bench.client(Some(&credentials), version)).await, "alert");
        assert!(!error.proven);
        assert_eq!(error.chain.iter().map(|d| d.as_bytes()).collect::<Vec<_>>(), bytes(&credentials.chain));
    }
}

/// Guards purpose: a server's certificate of the same authority is no client's.
#[tokio::test]
async fn a_server_certificate_is_no_client() {
    let bench = Bench::new(Wanted::Required);
    let acceptor = bench.acceptor().unwrap();
    let with = |purpose: ExtendedKeyUsagePurpose| bench.pki.leaf("d", |p| p.extended_key_usages = vec![purpose]);
    let client = with(ExtendedKeyUsagePurpose::ClientAuth);
    admitted(connect(&acceptor, &bench.client(Some(&client), &TLS13)).await);
    let server = with(ExtendedKeyUsagePurpose::ServerAuth);
    refused(connect(&acceptor, &bench.client(Some(&server), &TLS13)).await, "alert");
}

/// Guards the three settings of client_auth against a client without certificate.
#[tokio::test]
async fn client_auth_decides_about_no_certificate() {
    for (version, _) in VERSIONS {
        for wanted in [Wanted::None, Wanted::Optional] {
            let bench = Bench::new(wanted);
            let tls = admitted(connect(&bench.acceptor().unwrap(), &bench.client(None, version)).await);
            assert!(tls.chain.is_empty() && !tls.verified && tls.anchor.is_none() && tls.leaf_sha256.is_none());
        }
        let bench = Bench::new(Wanted::Required);
        let acceptor = bench.acceptor().unwrap();
        let error = refused(connect(&acceptor, &bench.client(None, version)).await, "CertificateRequired");
        assert!(error.chain.is_empty());
        admitted(connect(&acceptor, &bench.client(Some(&bench.pki.leaf("d", |_| {})), version)).await);
    }
}

/// Guards that optional means "none", not "anything": a certificate that is shown must be right.
#[tokio::test]
async fn optional_takes_no_bad_certificate() {
    let bench = Bench::new(Wanted::Optional);
    let acceptor = bench.acceptor().unwrap();
    let good = admitted(connect(&acceptor, &bench.client(Some(&bench.pki.leaf("d", |_| {})), &TLS13)).await);
    assert!(good.verified);
    let stranger = Pki::new("Stranger").leaf("d", |_| {});
    refused(connect(&acceptor, &bench.client(Some(&stranger), &TLS13)).await, "UnknownCA");
}

/// Promise 2 on resumed handshakes: same chain, path and anchor, verified as of now and against the CAs of now.
#[tokio::test]
async fn a_resumed_chain_is_verified_again() {
    for (version, _) in VERSIONS {
        let mut bench = Bench::new(Wanted::Required);
        bench.tls.resumption = true;
        let acceptor = bench.acceptor().unwrap();
        let client = bench.client(Some(&bench.pki.leaf("d", ends)), version);
        let full = admitted(connect(&acceptor, &client).await);
        let resumed = admitted(connect(&acceptor, &client).await);
        assert!(!full.resumed && resumed.resumed);
        assert_eq!(Tls { resumed: true, ..full }, resumed);

        let trust = acceptor.exchange_trust(trust_in(&bench, &Pki::new("Other")));
        let error = refused(connect(&acceptor, &client).await, "");
        assert!(error.error.contains("resumed session") && error.proven && error.chain.len() == 3, "{error}");

        // The refused session is used up (TLS 1.3): a new one, which the clock ends.
        acceptor.exchange_trust(trust);
        while !admitted(connect(&acceptor, &client).await).resumed {}
        bench.clock.advance(2 * HOUR);
        let error = refused(connect(&acceptor, &client).await, "");
        assert!(error.error.contains("expired"), "{error}");
    }
}

fn trust_in(bench: &Bench, pki: &Pki) -> Arc<Trust> {
    let file = bench.write("other-ca.pem", &pki.root.pem());
    Arc::new(Trust::load(&[file], &rustls::crypto::aws_lc_rs::default_provider()).unwrap())
}

/// Guards "off unless asked for", and that listeners share no sessions.
#[tokio::test]
async fn sessions_stay_where_they_were_made() {
    for (version, _) in VERSIONS {
        let mut bench = Bench::new(Wanted::Required);
        let client = bench.client(Some(&bench.pki.leaf("d", |_| {})), version);
        let off = bench.acceptor().unwrap();
        bench.tls.resumption = true;
        let (on, other) = (bench.acceptor().unwrap(), bench.acceptor().unwrap());
        for (acceptor, resumed) in [(&off, false), (&off, false), (&on, false), (&on, true), (&other, false)] {
            assert_eq!(admitted(connect(acceptor, &client).await).resumed, resumed);
        }
    }
}

/// Guards the bound on what a stranger can make us keep and verify.
#[tokio::test]
async fn a_long_chain_is_refused_unseen() {
    let bench = Bench::new(Wanted::Required);
    let acceptor = bench.acceptor().unwrap();
    let mut credentials = bench.pki.leaf("d", |_| {});
    while credentials.chain.len() < CHAIN_CERTIFICATES_MAX {
        credentials.chain.push(Pki::new("Filler").root.der().clone());
    }
    for (version, _) in VERSIONS {
        admitted(connect(&acceptor, &bench.client(Some(&credentials), version)).await);
    }
    credentials.chain.push(bench.pki.root.der().clone());
    for (version, _) in VERSIONS {
        let error = refused(connect(&acceptor, &bench.client(Some(&credentials), version)).await, "AccessDenied");
        assert!(error.chain.is_empty() && error.error.contains("17 certificates"), "{error}");
    }
}

/// Guards ALPN (absence accepted, others not) and the lowest version.
#[tokio::test]
async fn protocols_are_negotiated() {
    let mut bench = Bench::new(Wanted::None);
    let acceptor = bench.acceptor().unwrap();
    let mut client = bench.client(None, &TLS12);
    client.alpn_protocols.clear();
    assert_eq!(admitted(connect(&acceptor, &client).await).alpn, None);
    client.alpn_protocols = vec![b"h2".to_vec()];
    refused(connect(&acceptor, &client).await, "NoApplicationProtocol");

    bench.tls.min_version = TlsVersion::V1_3;
    let acceptor = bench.acceptor().unwrap();
    admitted(connect(&acceptor, &bench.client(None, &TLS13)).await);
    refused(connect(&acceptor, &bench.client(None, &TLS12)).await, "ProtocolVersion");
}

/// Guards that bytes that are not TLS get an error, and nobody a connection.
#[tokio::test]
async fn plain_bytes_are_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::new(Wanted::None);
    let acceptor = bench.acceptor().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00").await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(tcp).await.unwrap_err().chain.is_empty());
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&21), "an alert record: {answer:?}");
}

/// Guards that unusable files are named, with what to do; the last row is the twin that works.
#[test]
fn unusable_files_are_named() {
    let mut bench = Bench::new(Wanted::Required);
    bench.with_host("b.example");
    let leaf = bench.pki.leaf("device-1", |_| {});
    let leaf_pem = pem("CERTIFICATE", &leaf.chain[0]);
    let leaf_key = leaf.key.serialize_pem();
    let (certificate, key) = ("sni.\"b.example\".certificate_file", "sni.\"b.example\".private_key_file");
    let rows = [
        ("ca.pem", Some(leaf_pem.as_str()), "client_ca_file", "not a CA certificate"),
        ("ca.pem", Some("rubbish"), "client_ca_file", "holds no certificate in PEM form"),
        (
            "ca.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "client_ca_file",
            "cannot be read",
        ),
        ("ca.pem", None, "client_ca_file", "cannot be read"),
        ("server.pem", Some(""), "certificate_file", "holds no certificate in PEM form"),
        ("server.key", Some(""), "private_key_file", "no unencrypted private key"),
        ("server.key", Some(&leaf_key), "private_key_file", "is not the key of"),
        ("server.key", None, "private_key_file", "cannot be read"),
        ("host.pem", Some(""), certificate, "holds no certificate in PEM form"),
        ("host.key", Some(&leaf_key), key, "is not the key of"),
        ("host.key", None, key, "cannot be read"),
    ];
    for (name, text, key, part) in rows {
        let path = bench.dir.path().join(name);
        let before = std::fs::read_to_string(&path).unwrap();
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = bench.acceptor().err().unwrap_or_else(|| panic!("{name} {text:?} is accepted"));
        assert_eq!((&error.file, error.key.as_str()), (&path, key));
        assert!(error.to_string().contains(part), "{error}");
        std::fs::write(&path, before).unwrap();
    }
    bench.acceptor().unwrap();

    let files = bench.tls.sni.remove("b.example").unwrap();
    bench.tls.sni.insert("c.example".into(), files);
    let error = bench.acceptor().err().expect("a certificate of another host");
    assert_eq!(error.key, "sni.\"c.example\".certificate_file");
    assert!(error.to_string().contains("host.pem: its first certificate is not valid for c.example"), "{error}");
}

fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}

/// Guards the sharing of a CA file: several authorities, one of them twice, each found by its own key.
#[test]
fn the_anchor_is_the_one_that_signed() {
    let bench = Bench::new(Wanted::Required);
    let other = Pki::new("Acme");
    let ClientAuth::Required { ca_file } = &bench.tls.client_auth else { panic!("required") };
    let both = bench.write("both.pem", &(other.root.pem() + &bench.pki.root.pem()));
    let files = [both, ca_file.clone()];
    let trust = Trust::load(&files, &rustls::crypto::aws_lc_rs::default_provider()).unwrap();
    assert_eq!(trust.hints().len(), 1, "both have the same subject");
    let now = rustls_pki_types::UnixTime::now();
    for pki in [&bench.pki, &other] {
        let verified = trust.verify(&pki.leaf("d", |_| {}).chain, now).unwrap();
        assert_eq!(verified.anchor.spki_sha256, spki(&pki.root));
    }
}

/// Guards the renewal of an authority: with its expired and its new certificate in one file, of one name and key, its
/// clients are admitted, whichever comes first.
#[test]
fn a_renewed_authority_is_valid() {
    let bench = Bench::new(Wanted::Required);
    let old = root("Renewed Root", ends);
    let mut params = parameters("Renewed Root");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let new = params.self_signed(old.key()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = parameters("d").signed_by(&key, &old).unwrap().der().clone();
    let later = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() + 2 * HOUR;
    let later = rustls_pki_types::UnixTime::since_unix_epoch(later);
    let verify = |text: &str| {
        let file = bench.write("renewed.pem", text);
        let trust = Trust::load(&[file], &rustls::crypto::aws_lc_rs::default_provider()).unwrap();
        trust.verify(std::slice::from_ref(&leaf), later)
    };
    assert!(verify(&(old.pem() + &new.pem())).is_ok());
    assert!(verify(&(new.pem() + &old.pem())).is_ok());
    assert!(verify(&old.pem()).unwrap_err().to_string().contains("expired"));
}

/// Guards the values of grants: one common name, no choice among several, all DNS names.
#[test]
fn names_come_from_the_leaf() {
    let bench = Bench::new(Wanted::Required);
    let san = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    let leaf = bench.pki.leaf("device-1", |p| {
        p.subject_alt_names =
            vec![san("a.example"), rcgen::SanType::IpAddress([127, 0, 0, 1].into()), san("b.example")];
    });
    let names = certificate::names(&gatemq_types::Der::new(&leaf.chain[0]));
    assert_eq!(names.cert_cn.as_deref(), Some("device-1"));
    assert_eq!(names.cert_san_dns, ["a.example", "b.example"]);
    let two = bench.pki.leaf("a", |p| p.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "b"));
    assert_eq!(certificate::names(&gatemq_types::Der::new(&two.chain[0])), Default::default());
    let none = bench.pki.leaf("x", |p| p.distinguished_name = rcgen::DistinguishedName::new());
    assert_eq!(certificate::names(&gatemq_types::Der::new(&none.chain[0])), Default::default());
    assert_eq!(certificate::names(&gatemq_types::Der::new(b"rubbish")), Default::default());
}
