//! Who a certificate is.

use std::net::IpAddr;

use gatemq_plugin_testkit::rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData, SanType, date_time_ymd,
};
use gatemq_plugin_testkit::{Anchor, AuthOutcome, Connect, Der, Exclusive, Tls, connect};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bench::{Bench, accepted, admits, ask, names, rejected, with};

/// Promise 8: equal names below anchors of equal names are users of two tenants; what no anchor of ours verified, what nobody verified,
/// and what another provider may know is not ours.
#[test]
fn promise_8_the_anchor_makes_the_tenant() {
    let bench = Bench::new();
    let plugin = bench.start(bench.config(json!([admits(json!({"common_name": "pump-*"}))])));
    let (acme, umbra) = (bench.acme.client("pump-1"), bench.umbra.client("pump-1"));
    for (chain, tenant) in [(&acme, "acme"), (&umbra, "umbra")] {
        let identity = accepted(&plugin, &with(chain));
        assert_eq!((identity.tenant.as_str(), identity.user.as_str()), (tenant, "pump-1"));
    }
    let unverified = Connect { tls: Some(acme.unverified()), ..with(&acme) };
    let without_anchor = Connect { tls: Some(Tls { anchor: None, ..acme.tls() }), ..with(&acme) };
    for other in [with(&bench.stranger.client("pump-1")), unverified, without_anchor, connect("c-1")] {
        assert_eq!(ask(&plugin, &other), AuthOutcome::Next);
    }
    assert_eq!(rejected(&plugin, &with(&bench.acme.client("valve-1"))), "no rule matches this certificate");
    // What a peer sends besides its path names nobody.
    let mut more = acme.tls();
    more.chain.push(bench.stranger.client("evil").certificates[0].clone());
    assert_eq!(accepted(&plugin, &Connect { tls: Some(more), ..with(&acme) }).user, "pump-1");
    let backwards = Tls { path: vec![1, 0], ..acme.tls() };
    assert!(rejected(&plugin, &Connect { tls: Some(backwards), ..with(&acme) }).contains("does not begin"));
}

/// Guards that each condition holds for what it says and for nothing else, and that rules are walked in order.
#[test]
fn conditions_hold_for_what_they_say() {
    let bench = Bench::new();
    let made = |change: fn(&mut CertificateParams)| with(&bench.acme.client_with("pump-1", change));
    let key = |chain: &gatemq_plugin_testkit::Chain| chain.certificates[0].clone();
    let pinned = bench.acme.client("pump-1");
    let spki = gatemq_plugin_api::Certificate::parse(&key(&pinned)).unwrap().spki;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (spki, fingerprint) = (hex(&Sha256::digest(spki)), hex(&Sha256::digest(key(&pinned).as_bytes())));
    let anchor = hex(&bench.umbra.anchor().spki_sha256);
    let plain = || made(|_| {});
    let unit = || made(|p| p.distinguished_name.push(DnType::OrganizationalUnitName, "Sensors"));
    let listener = Connect { listener: "north".into(), ..plain() };
    let uris = || made(|p| names(p, &["urn:acme:pump:1", "https://x/"], &["a.example"]));
    let mail = || made(|p| p.subject_alt_names = vec![SanType::Rfc822Name("a@acme.example".try_into().unwrap())]);
    let addressed = || made(|p| p.subject_alt_names = vec![SanType::IpAddress(IpAddr::from([192, 0, 2, 7]))]);
    let short = || {
        made(|p| {
            let now = std::time::SystemTime::now();
            (p.not_before, p.not_after) = (now.into(), (now + std::time::Duration::from_secs(5 * 86_400)).into());
        })
    };
    for (condition, is, is_not) in [
        (json!({"tenant": "umbra"}), with(&bench.umbra.client("pump-1")), plain()),
        (json!({"anchor_spki_sha256": [anchor]}), with(&bench.umbra.client("pump-1")), plain()),
        (json!({"listener": "north"}), listener, plain()),
        (json!({"subject": "CN=pump-*, O=Acme"}), plain(), unit()),
        (json!({"issuer": "CN=Acme Intermediate, O=Acme"}), plain(), with(&by_a_root("Acme Root", "pump-1", &bench))),
        (json!({"organizational_unit": "Sensors"}), unit(), plain()),
        (
            json!({"organization": "Acme"}),
            plain(),
            made(|p| p.distinguished_name.remove(DnType::OrganizationName).then_some(()).unwrap()),
        ),
        (json!({"san_uri": "urn:acme:pump:*"}), uris(), mail()),
        (json!({"san_dns": "*.example"}), uris(), addressed()),
        (json!({"san_email": "*@acme.example"}), mail(), uris()),
        (json!({"san_ip": "192.0.2.0/29"}), addressed(), uris()),
        (
            json!({"san_ip": "192.0.2.0/29"}),
            addressed(),
            made(|p| p.subject_alt_names = vec![SanType::IpAddress(IpAddr::from([192, 0, 2, 8]))]),
        ),
        (json!({"spki_sha256": [spki]}), with(&pinned), plain()),
        (json!({"fingerprint": fingerprint}), with(&pinned), plain()),
        (json!({"valid_days_max": 6}), short(), plain()),
        (json!({"valid_days_left_min": 6}), plain(), short()),
    ] {
        let second = json!({"reject": true, "reason": "the second"});
        let plugin = bench.start(bench.config(json!([admits(condition.clone()), second])));
        assert_eq!(accepted(&plugin, &is).user, "pump-1", "{condition}");
        assert_eq!(rejected(&plugin, &is_not), "rule 2: the second", "{condition}");
    }
    let plugin = bench.start(bench.config(json!([{"common_name": "valve-*", "next": true}, admits(json!({}))])));
    assert_eq!(ask(&plugin, &with(&bench.acme.client("valve-1"))), AuthOutcome::Next);
    assert_eq!(accepted(&plugin, &plain()).user, "pump-1", "twin");
}

/// A client that a root signed itself, as the anchor of `acme` would have.
fn by_a_root(root: &str, common_name: &str, bench: &Bench) -> gatemq_plugin_testkit::Chain {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, root);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, common_name);
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let mut chain = bench.acme.client(common_name);
    chain.certificates = vec![Der::new(leaf.der())];
    chain
}

/// Promise 1: a name that a certificate has several times, not at all, of another kind, or empty makes no user; nor does one that no
/// authority certified.
#[test]
fn promise_1_only_one_certified_value_makes_a_user() {
    let bench = Bench::new();
    let by = |user: &str| bench.start(bench.config(json!([admits(json!({"user": user}))])));
    let made = |change: fn(&mut CertificateParams)| with(&bench.acme.client_with("pump-1", change));
    let uri = by("u/${cert.san.uri}");
    assert_eq!(accepted(&uri, &made(|p| names(p, &["urn:1"], &["a.example", "b.example"]))).user, "u/urn:1");
    for wrong in [made(|p| names(p, &["urn:1", "urn:2"], &[])), made(|p| names(p, &[], &["a.example"])), made(|_| {})] {
        assert!(rejected(&uri, &wrong).contains("${cert.san.uri} cannot be filled in"));
    }
    let dns = by("${cert.san.dns}");
    assert!(rejected(&dns, &made(|p| names(p, &["urn:1"], &["a.example", "b.example"]))).contains("has 2 of it"));
    let common_name = by("${cert.cn}");
    let twice = DnType::CustomDnType(vec![2, 5, 4, 3]);
    let two = bench.acme.client_with("pump-1", |p| p.distinguished_name.push(twice.clone(), "pump-2"));
    assert!(rejected(&common_name, &with(&two)).contains("has 2 of it"));
    // One that cannot be read is one all the same.
    let unreadable = rcgen_bmp("pump-2");
    let two = bench.acme.client_with("pump-1", |p| p.distinguished_name.push(twice, unreadable));
    assert!(rejected(&common_name, &with(&two)).contains("has 2 of it"));
    assert!(rejected(&common_name, &with(&bench.acme.client(""))).contains("is empty"));
    let serial = by("${cert.serial}");
    assert_eq!(accepted(&serial, &made(|p| p.serial_number = Some(vec![0x4d, 0x2f].into()))).user, "4d2f");
}

fn rcgen_bmp(text: &str) -> gatemq_plugin_testkit::rcgen::DnValue {
    gatemq_plugin_testkit::rcgen::DnValue::BmpString(text.try_into().unwrap())
}

/// Guards that a client identifier which must be a certificate's is, that a `*` in a name is no wildcard, and what else a rule gives.
#[test]
fn a_rule_says_what_a_client_gets() {
    let bench = Bench::new();
    let rule = json!({"client_id_required": "${cert.cn}-*", "exclusive": "certificate", "limits": {"receive_max": 7}});
    let plugin = bench.start(bench.config(json!([admits(rule)])));
    let of = |name: &str, client_id: &str| bench.acme.client(name).shown_by(connect(client_id));
    let identity = accepted(&plugin, &of("pump", "pump-left"));
    assert_eq!((identity.exclusive, identity.limits.receive_max), (Exclusive::Certificate, Some(7)));
    for (name, client_id) in [("pump", "valve-1"), ("pump", "pump"), ("*", "pump-1"), ("pump*", "pump2-1")] {
        assert!(rejected(&plugin, &of(name, client_id)).contains("must be"), "{name} {client_id}");
    }
    accepted(&plugin, &of("*", "*-1"));
    let assigned = Connect { client_id_assigned: true, ..of("pump", "pump-x") };
    assert!(rejected(&plugin, &assigned).contains("must be"));
    let plugin = bench.start(bench.config(json!([admits(json!({"client_id": "d-${cert.cn}"}))])));
    let identity = accepted(&plugin, &of("pump", "whatever"));
    assert_eq!((identity.client_id.as_deref(), identity.exclusive), (Some("d-pump"), Exclusive::No));
}

/// Promise 1: an identity ends with the first certificate of its path, and is none when that has ended.
#[test]
fn promise_1_an_identity_ends_with_its_path() {
    let bench = Bench::new();
    let authority = |name: &str, until: i32| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(until, 1, 1);
        params
    };
    let root = CertifiedIssuer::self_signed(authority("Root", 2100), KeyPair::generate().unwrap()).unwrap();
    bench.write("acme.crt", &root.pem());
    let plugin = bench.start(bench.config(json!([admits(json!({}))])));
    let spki_sha256 = Sha256::digest(root.key().subject_public_key_info()).into();
    let connect = |middle: i32, leaf: i32| {
        let middle =
            CertifiedIssuer::signed_by(authority("Middle", middle), KeyPair::generate().unwrap(), &root).unwrap();
        let leaf = authority("pump-1", leaf).signed_by(&KeyPair::generate().unwrap(), &middle).unwrap();
        let chain = vec![Der::new(leaf.der()), Der::new(middle.der())];
        let anchor = Some(Anchor { subject: "CN=Root".into(), spki_sha256 });
        Connect { tls: Some(Tls { chain, anchor, ..bench.acme.client("x").tls() }), ..with(&bench.acme.client("x")) }
    };
    let ms = |year: i32| date_time_ymd(year, 1, 1).unix_timestamp() as u64 * 1000;
    assert_eq!(accepted(&plugin, &connect(2098, 2099)).valid_until_ms, ms(2098));
    assert_eq!(accepted(&plugin, &connect(2099, 2098)).valid_until_ms, ms(2098));
    for (middle, leaf) in [(2001, 2099), (2099, 2001)] {
        assert!(rejected(&plugin, &connect(middle, leaf)).contains("is over"));
    }
}
