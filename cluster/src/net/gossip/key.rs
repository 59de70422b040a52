//! Keys of the gossip: from the cluster's secret, its environment and its name.

use aws_lc_rs::{digest, hkdf};
use zeroize::Zeroizing;

use crate::core::Name;

/// Bytes of the shortest secret.
const SECRET_BYTES_MIN: usize = 16;
/// Bytes of the longest secret.
const SECRET_BYTES_MAX: usize = 1024;
/// Secrets that a node holds at most: one in use, others while they are rotated.
pub const SECRETS_MAX: usize = 8;

/// Separates these keys from any other use of the same secret.
const SALT: &[u8] = b"gatemq cluster gossip 1";

/// A secret of the cluster. Never shown; known to people by its [`KeyId`].
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a text is no secret, or a file holds none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short or too long.
    #[error(
        "a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, not {0}; make one with `openssl rand -hex 32`"
    )]
    Length(usize),
    /// None, or more than are held.
    #[error("1 to {SECRETS_MAX} secrets are needed, one a line, not {0}")]
    Count(usize),
}

impl Secret {
    /// Takes a secret; blanks around it do not count.
    ///
    /// # Errors
    /// It is too short or too long.
    pub fn new(text: &str) -> Result<Secret, SecretError> {
        let text = text.trim();
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) {
            return Err(SecretError::Length(text.len()));
        }
        Ok(Secret(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// The secrets of a `secret_file`: one a line, the first is used, all are accepted. Empty lines do not count.
    ///
    /// # Errors
    /// None, too many, or one that is none.
    pub fn parse_file(text: &str) -> Result<Vec<Secret>, SecretError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let secrets: Vec<Secret> = lines.map(Secret::new).collect::<Result<_, _>>()?;
        match secrets.len() {
            1..=SECRETS_MAX => Ok(secrets),
            n => Err(SecretError::Count(n)),
        }
    }
}

/// A key's public name: the first bytes of its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A gossip key: AES-256.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; 32]>);

struct Aes256;

impl hkdf::KeyType for Aes256 {
    fn len(&self) -> usize {
        32
    }
}

impl Key {
    /// The key of `secret` in a cluster: with another environment or another cluster's name it is another key. `None` only
    /// if the cryptography fails.
    pub(crate) fn derive(secret: &Secret, environment: &Name, cluster: &Name) -> Option<Key> {
        let (environment, cluster) = (environment.as_str().as_bytes(), cluster.as_str().as_bytes());
        // Names have at most 64 bytes, and their lengths keep `ab` + `c` apart from `a` + `bc`.
        let lengths = [environment.len() as u8, cluster.len() as u8];
        let info = [&lengths[..], environment, cluster];
        let mut key = Zeroizing::new([0; 32]);
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&secret.0);
        pseudorandom.expand(&info, Aes256).ok()?.fill(&mut key[..]).ok()?;
        Some(Key(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn id(&self) -> KeyId {
        let digest = digest::digest(&digest::SHA256, &self.0[..]);
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_ref()[..8]);
        KeyId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 4: the same secret is another key in another environment, or under another cluster's name.
    #[test]
    fn another_environment_has_another_key() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let key = |environment: &str, cluster: &str| {
            let name = |text| Name::new(text).unwrap();
            Key::derive(&secret, &name(environment), &name(cluster)).unwrap().id()
        };
        assert_eq!(key("prod", "east"), key("prod", "east"));
        for (environment, cluster) in [("test", "east"), ("prod", "west"), ("prode", "ast"), ("east", "prod")] {
            assert_ne!(key("prod", "east"), key(environment, cluster), "{environment} {cluster}");
        }
    }

    /// A secret_file holds one to eight good secrets, the first of them is used; short ones do not pass.
    #[test]
    fn secret_files_are_read_strictly() {
        let line = |n: usize| format!("{n:032}\n");
        let file = |n: usize| (0..n).map(line).collect::<String>();
        assert_eq!(Secret::parse_file(&file(SECRETS_MAX)).unwrap().len(), SECRETS_MAX);
        assert_eq!(*Secret::parse_file("\n 0123456789abcdef \n").unwrap()[0].0, b"0123456789abcdef");
        assert_eq!(Secret::parse_file("\n").unwrap_err(), SecretError::Count(0));
        assert_eq!(Secret::parse_file(&file(SECRETS_MAX + 1)).unwrap_err(), SecretError::Count(SECRETS_MAX + 1));
        assert_eq!(Secret::parse_file("0123456789abcde").unwrap_err(), SecretError::Length(15));
        assert_eq!(format!("{:?}", Secret::new("0123456789abcdef").unwrap()), "Secret(…)");
    }
}
