//! Keys, and which of them a signature may be verified with.

use gatemq_plugin_api::serde::Deserialize;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

/// Keys in a set at most.
const KEYS_MAX: usize = 1000;
/// Bytes of an RSA modulus: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A set of public keys (RFC 7517).
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// How many cannot be used here: of another kind, for another use, or damaged.
    pub(crate) unusable: usize,
}

struct Key {
    id: Option<String>,
    /// What it may verify, as its type and its `alg` say.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A key as it is written. What else there is in it does not matter here.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
struct Written {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Why there is no key for a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoKey {
    /// None fits. A newer set may have one.
    Missing,
    /// Several fit: the token does not say which.
    Several,
}

impl KeySet {
    /// # Errors
    /// It is no key set. A key in it that cannot be used is left out.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        // What serde says may hold pieces of the text.
        let set: Value = serde_json::from_slice(json).map_err(|e| format!("no JSON (line {})", e.line()))?;
        let Some(written) = set.get("keys").and_then(Value::as_array) else {
            return Err("no key set: it has no list named keys".into());
        };
        if written.len() > KEYS_MAX {
            return Err(format!("{} keys; at most {KEYS_MAX}", written.len()));
        }
        let keys: Vec<Key> = written.iter().filter_map(Key::parse).collect();
        Ok(KeySet { unusable: written.len() - keys.len(), keys })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The only key that fits. A token that names its key gets that one or none.
    ///
    /// # Errors
    /// There is not exactly one.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, NoKey> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(&one.key),
            (None, _) => Err(NoKey::Missing),
            _ => Err(NoKey::Several),
        }
    }
}

impl Key {
    /// `None`: it cannot be used here. Shared secrets (`oct`) never can: whoever may read the set could sign.
    fn parse(value: &Value) -> Option<Key> {
        let written = Written::deserialize(value).ok()?;
        if written.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        if written.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return None;
        }
        let (fits, key): (&[Algorithm], _) = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => (&[RS256, RS384, RS512, PS256, PS384, PS512], rsa(&written)?),
            ("EC", Some("P-256")) => (&[ES256], ec(&written)?),
            ("EC", Some("P-384")) => (&[ES384], ec(&written)?),
            ("OKP", Some("Ed25519")) => (&[EdDSA], DecodingKey::from_ed_components(written.x.as_deref()?).ok()?),
            _ => return None,
        };
        let algorithms = match written.alg.as_deref() {
            None => fits.to_vec(),
            // RFC 9864 has a name for each curve.
            Some("Ed25519") => vec![EdDSA],
            Some(alg) => vec![alg.parse().ok()?],
        };
        let of_its_type = algorithms.iter().all(|algorithm| fits.contains(algorithm));
        of_its_type.then_some(Key { id: written.kid, algorithms, key })
    }
}

fn rsa(written: &Written) -> Option<DecodingKey> {
    let key = DecodingKey::from_rsa_components(written.n.as_deref()?, written.e.as_deref()?).ok()?;
    let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else { return None };
    let bytes = n.iter().skip_while(|byte| **byte == 0).count();
    RSA_BYTES.contains(&bytes).then_some(key)
}

fn ec(written: &Written) -> Option<DecodingKey> {
    DecodingKey::from_ec_components(written.x.as_deref()?, written.y.as_deref()?).ok()
}
