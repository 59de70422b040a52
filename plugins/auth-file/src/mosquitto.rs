//! Password hashes as `mosquitto_passwd` writes them, so that a fleet that moves in keeps its passwords: `$6$SALT$DIGEST` is SHA-512 of
//! password and salt, `$7$ITERATIONS$SALT$DIGEST` is PBKDF2 with HMAC-SHA-512 (RFC 8018), salt and digest in Base64. Both cost a thief
//! of the file far less than argon2id: `gatemq passwd` replaces them one by one.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};

/// Most iterations: a few seconds of a core.
const ITERATIONS_MAX: u32 = 2_000_000;
/// Longest salt in bytes.
const SALT_BYTES_MAX: usize = 1024;
const DIGEST_BYTES: usize = 64;

/// A hash, taken apart.
pub(crate) struct MosquittoHash {
    /// `None` is `$6$`.
    iterations: Option<u32>,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// Whether `text` is meant to be such a hash.
pub(crate) fn is_meant(text: &str) -> bool {
    text.starts_with("$6$") || text.starts_with("$7$")
}

impl MosquittoHash {
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub(crate) fn new(text: &str) -> Result<MosquittoHash, String> {
        let wrong = || "is not a hash of mosquitto_passwd ($6$… or $7$…); make one with `gatemq passwd`".to_owned();
        let parts: Vec<&str> = text.split('$').collect();
        let (iterations, salt, digest) = match parts.as_slice() {
            ["", "6", salt, digest] => (None, salt, digest),
            ["", "7", iterations, salt, digest] => (Some(iterations.parse().map_err(|_| wrong())?), salt, digest),
            _ => return Err(wrong()),
        };
        if iterations.is_some_and(|n| !(1..=ITERATIONS_MAX).contains(&n)) {
            return Err(format!("has {} iterations; from 1 to {ITERATIONS_MAX} are verified", iterations.unwrap_or(0)));
        }
        let decode = |text: &str| Base64::decode_vec(text).map_err(|_| wrong());
        let (salt, digest) = (decode(salt)?, decode(digest)?);
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX || digest.len() != DIGEST_BYTES {
            return Err(wrong());
        }
        Ok(MosquittoHash { iterations, salt, digest })
    }

    /// Whether it is the hash of `password`.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        let computed = match self.iterations {
            None => Sha512::new().chain_update(password).chain_update(&self.salt).finalize().to_vec(),
            Some(iterations) => pbkdf2(password, &self.salt, iterations),
        };
        // Every byte is looked at: how many are right must not show.
        computed.len() == self.digest.len()
            && computed.iter().zip(&self.digest).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// One block, which is as long as the digest. Empty: HMAC takes every key, so never.
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let Ok(keyed) = Hmac::<Sha512>::new_from_slice(password) else { return Vec::new() };
    let mut u = keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes()).finalize().into_bytes();
    let mut block = u;
    for _ in 1..iterations {
        u = keyed.clone().chain_update(u).finalize().into_bytes();
        block.iter_mut().zip(&u).for_each(|(sum, byte)| *sum ^= byte);
    }
    block.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by mosquitto_passwd 2.0: hash and password.
    const WRITTEN: [(&str, &str); 2] = [
        (
            "$6$NA5eq+O0RMy1Jd/t$zs652P14H1ie718NPMaCeWms/IsUOoY0RDWryjT6ml9qbjBb345oVRNNVKdv0Wbhws3KSfoMrBrGyAxpjM56mg==",
            "pumpenwort",
        ),
        (
            "$7$101$DlHywGpZjbgo9a5Q$FsHug4y5KOA4yEngHgrGq1/7KI5sxg7ltNCVOxix64dyeZxpqwcpJ1kjUcr2o0+yuDzH39YDakuR6xolt2ib3A==",
            "p\u{e4}sswort 7",
        ),
    ];

    /// Guards both forms against what mosquitto_passwd 2.0 wrote of these passwords (`-H sha512`, and its default), and the no.
    #[test]
    fn what_mosquitto_passwd_wrote_is_verified() {
        for (hash, password) in WRITTEN {
            let parsed = MosquittoHash::new(hash).unwrap();
            assert!(parsed.verify(password.as_bytes()), "{hash}");
            assert!(!parsed.verify(b"other") && !parsed.verify(b""), "{hash}");
        }
    }

    /// Guards the broker from a file that makes it compute for ever, and from texts that only look like a hash.
    #[test]
    fn what_is_no_hash_is_refused() {
        let (hash, _) = WRITTEN[1];
        for (text, says) in [
            (hash.replacen("$101$", "$2000001$", 1), "from 1 to 2000000"),
            (hash.replacen("$101$", "$0$", 1), "from 1 to 2000000"),
            (hash.replacen("$101$", "$x$", 1), "is not a hash"),
            (hash.replacen("$101$", "$", 1), "is not a hash"),
            (hash[..hash.len() - 4].to_owned(), "is not a hash"),
            ("$6$$".into(), "is not a hash"),
        ] {
            let error = MosquittoHash::new(&text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
