//! What a denial does to whom.

use std::sync::Arc;

use gatemq_broker::denials::{Effect, Proven};
use gatemq_types::{Anchor, Denial, Der, Subject, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};

use super::testing::{node, peer};
use super::*;
use crate::listen::tls::sha256;

fn deny(node: &crate::node::Node, subject: Subject, raised_by: &str) {
    let denial = Denial { subject, until_ms: 0, reason: "why".into(), raised_by: raised_by.into() };
    node.denials.set.add(denial, Effect::Refuse).unwrap();
}

fn network(ip: &str, bits: u8) -> Subject {
    Subject::Address { address: ip.parse().unwrap(), bits }
}

/// Promise 7: an operator's denial of an address ends connections from it, a plugin's does not, and a trusted proxy's own are
/// spared by both.
#[test]
fn promise_7_only_operators_end_connections_of_an_address() {
    let node = node();
    let ended = |ip: &str| refuses_connected(&node, &Arc::new(peer(ip, "t")), None, 0);
    deny(&node, network("192.0.2.7", 32), "plugin guard");
    deny(&node, network("10.0.0.7", 32), "plugin guard");
    assert!(!ended("192.0.2.7") && !ended("10.0.0.7"));
    deny(&node, network("192.0.2.0", 24), OPERATOR);
    assert!(ended("192.0.2.7") && ended("192.0.2.8") && !ended("192.0.3.1"));
    deny(&node, network("0.0.0.0", 0), OPERATOR);
    assert!(ended("192.0.3.1") && !ended("10.0.0.7"));
}

/// Promise 7: whoever's names or certificate are denied is ended, by whomever it was raised.
#[test]
fn promise_7_names_and_certificates_end_connections() {
    let node = node();
    let proven = Proven { leaf: [1; 32], key: [2; 32], issuers: [[3; 32]].into(), links: Box::default() };
    let ended = |proven: Option<&Proven>| refuses_connected(&node, &Arc::new(peer("192.0.2.7", "t")), proven, 0);
    deny(&node, Subject::Issuer([3; 32]), OPERATOR);
    assert!(ended(Some(&proven)) && !ended(None));
    let names = |tenant: &str| Subject::User { tenant: tenant.into(), user: "user".into() };
    deny(&node, names("other"), "plugin guard");
    assert!(!ended(None));
    deny(&node, names("t"), "plugin guard");
    assert!(ended(None));
}

/// Promise 7: the key of the leaf and those of all authorities of the path are found, and nothing of a chain that was merely
/// sent.
#[test]
fn promise_7_only_what_was_verified_counts() {
    let ca = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(ca("root"), KeyPair::generate().unwrap()).unwrap();
    let between = CertifiedIssuer::signed_by(ca("between"), KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["leaf".to_owned()]).unwrap().signed_by(&key, &between).unwrap();
    let stranger = CertifiedIssuer::self_signed(ca("stranger"), KeyPair::generate().unwrap()).unwrap();
    let anchor = Anchor { subject: "root".into(), spki_sha256: sha256(&root.key().subject_public_key_info()) };
    let tls = Tls {
        version: 0x0304,
        cipher: String::new(),
        server_name: None,
        alpn: None,
        resumed: false,
        chain: [leaf.der(), stranger.der(), between.der()].map(|der| Der::new(der)).to_vec(),
        verified: true,
        path: vec![0, 2],
        anchor: Some(anchor.clone()),
        leaf_sha256: Some(sha256(leaf.der())),
    };
    let found = proven(&tls).unwrap();
    assert_eq!(found.leaf, sha256(leaf.der()));
    assert_eq!(found.key, sha256(&key.subject_public_key_info()));
    assert_eq!(*found.issuers, [sha256(&between.key().subject_public_key_info()), anchor.spki_sha256]);
    assert_eq!(proven(&Tls { verified: false, ..tls }), None);
}
