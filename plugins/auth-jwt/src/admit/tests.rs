//! Real tokens, good ones and those of attackers.

use super::*;
use crate::config::tests::rules;
use crate::key_set::KeySet;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, encode};
use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use serde_json::{Value, json};

const NOW_MS: u64 = 1_700_000_000_000;
/// RFC 8037, appendix A: a private key, and its public one.
const ED_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// A key that signs, under this name.
struct Signer {
    id: &'static str,
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    fn new(id: &'static str, algorithm: Algorithm) -> Signer {
        let generated = |kind: &'static SignatureAlgorithm| KeyPair::generate_for(kind).unwrap();
        let key = match algorithm {
            Algorithm::ES256 => {
                EncodingKey::from_ec_pem(generated(&rcgen::PKCS_ECDSA_P256_SHA256).serialize_pem().as_bytes())
            }
            Algorithm::ES384 => {
                EncodingKey::from_ec_pem(generated(&rcgen::PKCS_ECDSA_P384_SHA384).serialize_pem().as_bytes())
            }
            Algorithm::EdDSA => EncodingKey::from_ed_pem(ED_PEM.as_bytes()),
            _ => {
                let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
                EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())
            }
        };
        Signer { id, key: key.unwrap(), algorithm }
    }

    /// The public key as issuers publish it, without `alg`.
    fn jwk(&self) -> Value {
        if self.algorithm == Algorithm::EdDSA {
            return json!({"kty": "OKP", "crv": "Ed25519", "x": ED_X, "kid": self.id});
        }
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk["kid"] = self.id.into();
        jwk
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.into()), ..Header::new(self.algorithm) }
    }

    fn sign(&self, header: &Header) -> String {
        encode(header, &claims(json!({})), &self.key).unwrap()
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn claims(more: Value) -> Claims {
    let mut claims = json!({"iss": "i", "aud": "a", "sub": "u", "exp": NOW_MS / 1000 + 60});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.as_object().unwrap().clone()
}

fn connect() -> Connect {
    Connect::new("c")
}

/// As [`admit`], with keys that are there.
fn judged(token: &str, set: &KeySet, rules: &Rules) -> Result<(), String> {
    let header = header(token, rules)?;
    let key = set.find(header.kid.as_deref(), header.alg).map_err(|e| format!("{e:?}"))?;
    let claims = verify(token, key, header.alg)?;
    match rules.admit(&claims, &connect(), NOW_MS) {
        AuthOutcome::Accept(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

const ALL: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Every algorithm works, with a key that says which and with one that does not; another one of the same key is refused where
/// the key or the configuration says which.
#[test]
fn each_algorithm_verifies_its_own_tokens() {
    let everything = rules(json!({"algorithms": ALL}));
    let rsa = Signer::new("rsa", Algorithm::RS256);
    for algorithm in ALL {
        let own = Signer::new("k", algorithm);
        let signer = match algorithm.family() {
            jsonwebtoken::AlgorithmFamily::Rsa => Signer { id: "k", key: rsa.key.clone(), algorithm },
            _ => own,
        };
        let token = signer.sign(&signer.header());
        let plain = set(&[signer.jwk()]);
        let mut said = signer.jwk();
        said["alg"] = json!(algorithm);
        for keys in [&plain, &set(&[said])] {
            assert_eq!(judged(&token, keys, &everything), Ok(()), "{algorithm:?}");
        }
        let others: Vec<_> = ALL.iter().filter(|a| **a != algorithm).collect();
        assert!(judged(&token, &plain, &rules(json!({"algorithms": others}))).is_err(), "{algorithm:?} is not listed");
        let sibling = others.iter().find(|a| a.family() == algorithm.family());
        if let Some(sibling) = sibling {
            let mut said = signer.jwk();
            said["alg"] = json!(sibling);
            assert!(judged(&token, &set(&[said]), &everything).is_err(), "{algorithm:?} with a key for {sibling:?}");
        }
    }
}

/// Promise 1: what attackers make of a good token is refused. The good token is accepted.
#[test]
fn promise_1_forged_tokens_are_refused() {
    let (rsa, ec) = (Signer::new("rsa", Algorithm::RS256), Signer::new("ec", Algorithm::ES256));
    let stranger = Signer::new("ec", Algorithm::ES256);
    let rules = rules(json!({"algorithms": ["RS256", "ES256"]}));
    let keys = set(&[rsa.jwk(), ec.jwk()]);
    let good = ec.sign(&ec.header());
    assert_eq!(judged(&good, &keys, &rules), Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    let other_claims = encode(&ec.header(), &claims(json!({"sub": "root"})), &stranger.key).unwrap();
    let other_claims = other_claims.split('.').nth(1).unwrap();
    let header = |change: &dyn Fn(&mut Header)| {
        let mut header = ec.header();
        change(&mut header);
        header
    };
    // {"alg":"none","kid":"ec"}
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiZWMifQ";
    let hmac_of = |secret: &[u8], id: &str| {
        let header = Header { kid: Some(id.into()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims(json!({})), &EncodingKey::from_secret(secret).unwrap()).unwrap()
    };
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    for (what, token) in [
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("other claims", format!("{}.{other_claims}.{}", parts[0], parts[2])),
        ("alg none", format!("{none}.{}.", parts[1])),
        ("alg none, with a signature", format!("{none}.{}.{}", parts[1], parts[2])),
        ("another's key of the same name", stranger.sign(&stranger.header())),
        ("its own key in the header", {
            let jwk = serde_json::from_value(stranger.jwk()).unwrap();
            stranger.sign(&header(&|h| h.jwk = Some(Clone::clone(&jwk))))
        }),
        ("a key elsewhere", stranger.sign(&header(&|h| h.jku = Some("https://evil.example/".into())))),
        ("HS256 with the public key", hmac_of(modulus.as_bytes(), "rsa")),
        ("HS256 with the public key of the set", hmac_of(rsa.jwk().to_string().as_bytes(), "rsa")),
        ("the name of a key of another type", ec.sign(&header(&|h| h.kid = Some("rsa".into())))),
        ("a key that is not there", ec.sign(&header(&|h| h.kid = Some("no".into())))),
        ("an extension that must be known", ec.sign(&header(&|h| h.crit = Some(vec!["x".into()])))),
        ("an unencoded payload", ec.sign(&header(&|h| h.extras.insert("b64", false)))),
        ("two tokens", format!("{good}.{good}")),
        ("too large", format!("{}.{}{}.{}", parts[0], parts[1], "A".repeat(BYTES_MAX), parts[2])),
        ("half", good[..good.len() / 2].to_owned()),
        ("empty", String::new()),
    ] {
        let why = judged(&token, &keys, &rules).expect_err(what);
        assert!(!parts.iter().any(|part| why.contains(part)), "{what}: {why}");
    }
}

/// Promise 1: a public set makes no shared secrets, and keys for another use, of another type or too weak verify nothing.
#[test]
fn promise_1_keys_that_must_not_verify_do_not() {
    let rsa = Signer::new("k", Algorithm::RS256);
    let changed = |change: Value| {
        let mut jwk = rsa.jwk();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        jwk
    };
    let weak = json!("A".repeat(341));
    for (key, usable) in [
        (changed(json!({})), 1),
        (changed(json!({"use": "sig", "key_ops": ["verify"], "alg": "PS256", "x5c": 7})), 1),
        (changed(json!({"use": "enc"})), 0),
        (changed(json!({"key_ops": ["encrypt"]})), 0),
        (changed(json!({"alg": "HS256"})), 0),
        (changed(json!({"alg": "ES256"})), 0),
        (changed(json!({"alg": "RSA-OAEP"})), 0),
        (changed(json!({"kty": "EC", "crv": "P-256"})), 0),
        (changed(json!({ "n": weak })), 0),
        (changed(json!({"n": "AQAB"})), 0),
        (changed(json!({"n": "%"})), 0),
        (json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}), 0),
        (json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}), 0),
        (json!({"kty": "OKP", "crv": "X25519", "x": "AA"}), 0),
        (json!({"kty": "new"}), 0),
        (json!(7), 0),
    ] {
        let set = set(std::slice::from_ref(&key));
        assert_eq!((set.len(), set.unusable), (usable, 1 - usable), "{key}");
    }
    for no_set in ["", "[]", "{}", r#"{"keys": {}}"#, "<html>"] {
        assert!(KeySet::parse(no_set.as_bytes()).is_err(), "{no_set}");
    }
}

/// Guards that a token which does not name its key is verified only where there is no choice.
#[test]
fn the_key_is_never_guessed() {
    let (one, two) = (Signer::new("1", Algorithm::ES256), Signer::new("2", Algorithm::ES256));
    let rules = rules(json!({}));
    let nameless = one.sign(&Header::new(Algorithm::ES256));
    assert_eq!(judged(&nameless, &set(&[one.jwk()]), &rules), Ok(()));
    assert_eq!(judged(&nameless, &set(&[one.jwk(), two.jwk()]), &rules), Err("Several".into()));
    assert_eq!(judged(&nameless, &set(&[]), &rules), Err("Missing".into()));
    assert_eq!(judged(&one.sign(&one.header()), &set(&[one.jwk(), two.jwk()]), &rules), Ok(()));
}

/// Guards what claims make of a client: names, the identifier that it must have, attributes for its grants, its groups' grants
/// in the configuration's order, and its time.
#[test]
fn claims_become_an_identity() {
    let allow = |filter: &str| json!([{"allow": ["all"], "filter": filter}]);
    let rules = rules(json!({
        "tenant": "t-${claim.org}", "client_id": "${claim.device}", "grants": allow("${claim.site}/#"),
        "groups_claim": "scope",
        "groups": [{"name": "b", "grants": allow("b")}, {"name": "a", "grants": allow("a")}, {"name": "c", "grants": allow("c")}],
    }));
    let full = json!({"org": "o", "device": "c", "site": "s", "scope": "a x b"});
    let with = |change: Value| {
        let mut all = claims(full.clone());
        all.extend(change.as_object().unwrap().clone());
        all
    };
    let AuthOutcome::Accept(identity) = rules.admit(&with(json!({})), &connect(), NOW_MS) else { panic!("refused") };
    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("t-o", "u"));
    assert_eq!(identity.client_id.as_deref(), Some("c"));
    assert_eq!(identity.attributes, [("claim.site".to_owned(), "s".to_owned())]);
    assert_eq!(identity.valid_until_ms, NOW_MS + 90_000);
    let filters = |identity: &Identity| identity.grants.iter().map(|g| g.filter.clone()).collect::<Vec<_>>();
    assert_eq!(filters(&identity), ["${attr.claim.site}/#", "b", "a"]);
    let AuthOutcome::Accept(listed) = rules.admit(&with(json!({"scope": ["c", "a b"]})), &connect(), NOW_MS) else {
        panic!("refused")
    };
    assert_eq!(filters(&listed), ["${attr.claim.site}/#", "c"], "in a list a name is one name");
    let assigned = Connect { client_id_assigned: true, client_id: "made-up".into(), ..connect() };
    assert!(
        matches!(rules.admit(&with(json!({})), &assigned, NOW_MS), AuthOutcome::Accept(i) if i.client_id.as_deref() == Some("c"))
    );
    for (change, code) in [
        (json!({"device": "d"}), 0x85),
        (json!({"device": ["c", "d"]}), 0x87),
        (json!({"org": ""}), 0x87),
        (json!({"sub": null}), 0x87),
        (json!({"exp": 1}), 0x86),
    ] {
        match rules.admit(&with(change.clone()), &connect(), NOW_MS) {
            AuthOutcome::Reject { code: found, .. } => assert_eq!(found.0, code, "{change}"),
            other => panic!("{change}: {other:?}"),
        }
    }
}
