//! The token file: a line `NAME TOKEN` for each who may use the API over HTTP.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::listen::tls::sha256;
use crate::platform;

/// Shortest token, in bytes: 128 bits as hexadecimal digits.
const TOKEN_BYTES_MIN: usize = 32;
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// Names are of a-z, A-Z, 0-9, dot, dash, underscore and at sign; at most so many.
const NAME_BYTES_MAX: usize = 64;
/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Tokens as their hashes, so that none stays in memory and all comparisons are of the same length.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<(Arc<str>, [u8; 32])>);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is readable by others, or has a line that is no name and token: what is wrong, and what to do.
    pub(crate) fn read(file: &Path) -> Result<Tokens, String> {
        let about = std::fs::metadata(file).map_err(|e| e.to_string())?;
        match platform::mode(&about) {
            Some(mode) if mode & 0o007 != 0 => {
                return Err(format!("everybody on this machine may use it (mode {mode:o}); chmod 640 or 600"));
            }
            Some(_) => {}
            None => tracing::warn!(
                "http.token_file: {}: this system does not tell who may use it; see to it that its access control list names the broker's \
                 user and administrators alone",
                file.display()
            ),
        }
        if about.len() > FILE_BYTES_MAX {
            return Err(format!("is {} bytes, at most {FILE_BYTES_MAX} are read", about.len()));
        }
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(|e| e.to_string())?);
        Tokens::parse(&text)
    }

    fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens: Vec<(Arc<str>, [u8; 32])> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            // Nothing of a line is said: it may be a token.
            let wrong = |what: &str| Err(format!("line {number}: {what}"));
            let mut words = line.split_whitespace();
            let (name, token) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(first), ..) if first.starts_with('#') => continue,
                (Some(name), Some(token), None) => (name, token),
                _ => return wrong("must be a name and a token"),
            };
            let usable = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
            if name.len() > NAME_BYTES_MAX || !name.bytes().all(usable) {
                return wrong("a name is at most 64 of a-z, A-Z, 0-9, `.`, `-`, `_` and `@`");
            }
            if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len())
                || !token.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return wrong("a token is 32 to 512 printable characters, such as from `openssl rand -hex 32`");
            }
            let hash = sha256(token.as_bytes());
            if tokens.iter().any(|(known, other)| **known == *name || *other == hash) {
                return wrong("its name or its token is in the file twice");
            }
            tokens.push((name.into(), hash));
        }
        if tokens.is_empty() {
            return Err("has no token; write a line with a name and a token".to_owned());
        }
        Ok(Tokens(tokens))
    }

    /// Whose token it is. Takes as long for a wrong one as for a right one.
    pub(super) fn owner(&self, token: &str) -> Option<Arc<str>> {
        let hash = sha256(token.as_bytes());
        let mut owner = None;
        for (name, known) in &self.0 {
            if verify_slices_are_equal(known, &hash).is_ok() {
                owner = Some(name);
            }
        }
        owner.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ONE: &str = "0123456789abcdef0123456789abcdef";

    /// Guards who a token is, and that no other one, and no part of one, is anybody.
    #[test]
    fn a_token_is_its_owner() {
        let two = ONE.replace('0', "x");
        let tokens = Tokens::parse(&format!("# operators\n\nann {ONE}\n bob\t{two} \n")).unwrap();
        let owner = |token: &str| tokens.owner(token).map(|name| name.to_string());
        assert_eq!((owner(ONE).as_deref(), owner(&two).as_deref()), (Some("ann"), Some("bob")));
        for wrong in ["", &ONE[1..], &format!("{ONE}0"), &ONE.to_uppercase(), "ann"] {
            assert_eq!(owner(wrong), None, "{wrong:?}");
        }
    }

    /// Guards the file: what is no name and token, is short, is there twice, or is open to others is refused, and no token is said.
    #[test]
    fn a_wrong_file_is_refused() {
        for (text, wanted) in [
            (String::new(), "no token"),
            ("ann".into(), "line 1: must be a name and a token"),
            (format!("ann {ONE} x"), "must be a name and a token"),
            (format!("\nan/n {ONE}"), "line 2: a name"),
            (format!("ann {}", &ONE[1..]), "32 to 512"),
            (format!("ann {ONE}\nann {ONE}x"), "line 2: its name or its token"),
            (format!("ann {ONE}\nbob {ONE}"), "twice"),
        ] {
            let problem = Tokens::parse(&text).unwrap_err();
            assert!(problem.contains(wanted) && !problem.contains(&ONE[1..]), "{text:?}: {problem}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("ann {ONE}")).unwrap();
        let with_mode = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            Tokens::read(file.path())
        };
        assert!(with_mode(0o644).unwrap_err().contains("chmod"));
        assert!(with_mode(0o640).is_ok());
    }
}
