//! Passwords and their argon2id hashes (RFC 9106) in the PHC string form, as `gatemq passwd` writes them; those of mosquitto are in
//! [`crate::mosquitto`].

use std::sync::Arc;

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordVerifier, Version};

use crate::mosquitto::{self, MosquittoHash};

/// Most memory that a hash may take, in KiB.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes over the memory.
const PASSES_MAX: u32 = 64;
/// Most memory times passes, in KiB: about ten seconds of a core.
const WORK_KIB_MAX: u64 = 4 * 1024 * 1024;
/// Most lanes.
const LANES_MAX: u32 = 16;
/// Shortest digest in bytes: a shorter one is found by trying.
const DIGEST_BYTES_MIN: usize = 16;

/// A hash whose costs are acceptable, argon2id or mosquitto's. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hash(Arc<str>);

impl Hash {
    /// # Errors
    /// What is wrong with it and what to do; the text itself is never repeated, it may be somebody's password.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if mosquitto::is_meant(text) {
            return MosquittoHash::new(text).map(|_| Hash(text.into()));
        }
        let wrong = || "is not an argon2id hash ($argon2id$v=19$…); make one with `gatemq passwd`".to_owned();
        let hash = PasswordHash::new(text).map_err(|_| wrong())?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(wrong());
        }
        if hash.version != Some(Version::V0x13.into()) {
            return Err("is of an old version of argon2id; wanted v=19".into());
        }
        let (Some(_), Some(output)) = (&hash.salt, &hash.hash) else {
            return Err("has no salt or no digest; make one with `gatemq passwd`".into());
        };
        if output.len() < DIGEST_BYTES_MIN {
            return Err(format!("has a digest of {} bytes; wanted at least {DIGEST_BYTES_MIN}", output.len()));
        }
        let params = Params::try_from(&hash).map_err(|_| "has costs that argon2 does not know; wanted m, t and p")?;
        if !params.keyid().is_empty() || !params.data().is_empty() {
            return Err("has keyid or data, which would be ignored; wanted m, t and p".into());
        }
        let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
        if m > MEMORY_KIB_MAX || t > PASSES_MAX || p > LANES_MAX || u64::from(m) * u64::from(t) > WORK_KIB_MAX {
            return Err(format!(
                "costs too much (m={m}, t={t}, p={p}); at most m={MEMORY_KIB_MAX}, t={PASSES_MAX}, p={LANES_MAX} and \
                 m times t={WORK_KIB_MAX} are verified"
            ));
        }
        Ok(Hash(text.into()))
    }

    /// A hash that no password has, with the costs that `gatemq passwd` gives.
    pub(crate) fn of_nobody() -> Self {
        let params = Params::default();
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).unwrap_or_default(),
            salt: Some(Salt::generate()),
            hash: Output::new(&[0; Params::DEFAULT_OUTPUT_LEN]).ok(),
        };
        Hash(hash.to_string().into())
    }

    /// As it is written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether it is the hash of `password`. Takes a core for as long as the hash's costs say.
    ///
    /// # Errors
    /// It could not be computed (no memory).
    pub(crate) fn verify(&self, password: &[u8]) -> Result<bool, String> {
        if mosquitto::is_meant(&self.0) {
            return MosquittoHash::new(&self.0).map(|hash| hash.verify(password));
        }
        let hash = PasswordHash::new(&self.0).map_err(|e| e.to_string())?;
        match Argon2::default().verify_password(password, &hash) {
            Ok(()) => Ok(true),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(e) => Err(e.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A hash that costs next to nothing.
    pub(crate) fn cheap(password: &str) -> String {
        hash(password, Params::new(64, 1, 1, None).unwrap())
    }

    fn hash(password: &str, params: Params) -> String {
        use argon2::PasswordHasher;
        Argon2::from(params).hash_password(password.as_bytes()).unwrap().to_string()
    }

    /// Guards the yes and the no, and that the dummy is a real hash that nobody has.
    #[test]
    fn only_the_password_fits() {
        let hash = Hash::new(&cheap("secret")).unwrap();
        assert_eq!(hash.verify(b"secret"), Ok(true));
        assert_eq!(hash.verify(b"Secret"), Ok(false));
        assert_eq!(hash.verify(b""), Ok(false));
        let nobody = Hash::of_nobody();
        assert_eq!(Hash::new(std::str::from_utf8(nobody.as_bytes()).unwrap()), Ok(nobody.clone()));
        assert_eq!(nobody.verify(b""), Ok(false));
        assert_ne!(nobody, Hash::of_nobody());
    }

    /// Guards the broker from a file that makes it spend gigabytes or minutes on a stranger, and from hashes that are not
    /// what they look like. No message repeats the text.
    #[test]
    fn costs_and_kinds_are_bounded() {
        let tail = "$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
        let good = format!("$argon2id$v=19$m=1048576,t=4,p=16{tail}");
        assert!(Hash::new(&good).is_ok());
        for (head, says) in [
            ("$argon2id$v=19$m=1048577,t=1,p=1", "costs too much"),
            ("$argon2id$v=19$m=1048576,t=5,p=1", "costs too much"),
            ("$argon2id$v=19$m=64,t=65,p=1", "costs too much"),
            ("$argon2id$v=19$m=1024,t=1,p=17", "costs too much"),
            ("$argon2id$v=19$m=8,t=1,p=2", "costs that argon2 does not know"),
            ("$argon2id$v=19$m=64,t=1,p=1,x=1", "costs that argon2 does not know"),
            ("$argon2id$v=19$m=64,t=1,p=1,data=AAAA", "would be ignored"),
            ("$argon2id$v=16$m=64,t=1,p=1", "old version"),
            ("$argon2id$m=64,t=1,p=1", "old version"),
            ("$argon2i$v=19$m=64,t=1,p=1", "not an argon2id hash"),
            ("$scrypt$ln=16,r=8,p=1", "not an argon2id hash"),
        ] {
            let error = Hash::new(&format!("{head}{tail}")).unwrap_err();
            assert!(error.contains(says) && !error.contains("c29tZXNhbHRzb21l"), "{head}: {error}");
        }
        for (text, says) in [
            ("hunter2", "not an argon2id hash"),
            ("", "not an argon2id hash"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21l", "no digest"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21l$MTIzNDU2Nzg5MDEyMzQ1", "digest of 15 bytes"),
        ] {
            let error = Hash::new(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
