//! Certificates that are revoked, one a line of a file:
//!
//! ```text
//! # stolen on 3 May
//! sha256 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
//! serial acme 4D:2F CN=Acme Devices CA, O=Acme
//! ```
//!
//! A line that begins with `#` is a comment. A serial number is unique only per issuer (RFC 5280, 4.1.2.2), and names of issuers only within an anchor; so a line gives both.

use std::collections::HashSet;
use std::path::Path;

use gatemq_plugin_api::Certificate;
use gatemq_plugin_api::service::Selector;
use gatemq_plugin_http::file;
use sha2::{Digest, Sha256};

use crate::anchors::Anchors;
use crate::{hex, parse_sha256};

/// Largest file, in bytes: about a hundred thousand certificates.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Wrong lines that are told; more are counted.
const TOLD_MAX: usize = 20;

/// What of a certificate is revoked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Entry {
    /// SHA-256 of the certificate.
    Fingerprint([u8; 32]),
    Serial {
        tenant: String,
        issuer: String,
        /// Without zeros at its beginning.
        serial: Vec<u8>,
    },
}

impl Entry {
    /// What a certificate of a verified path can be revoked by.
    pub(crate) fn of(tenant: &str, fingerprint: [u8; 32], certificate: &Certificate) -> [Entry; 2] {
        let (tenant, issuer) = (tenant.to_owned(), certificate.issuer.clone());
        let serial = without_zeros(&certificate.serial).to_vec();
        [Entry::Fingerprint(fingerprint), Entry::Serial { tenant, issuer, serial }]
    }

    /// The tag of an identity whose path has it.
    pub(crate) fn tag(&self) -> String {
        match self {
            Entry::Fingerprint(sha256) => format!("sha256:{}", hex(sha256)),
            Entry::Serial { issuer, serial, .. } => format!("serial:{}:{issuer}", hex(serial)),
        }
    }

    /// The clients that have it.
    pub(crate) fn selector(&self) -> Selector {
        let tenant = match self {
            Entry::Fingerprint(_) => None,
            Entry::Serial { tenant, .. } => Some(tenant.clone()),
        };
        Selector { tenant, tag: Some(self.tag()), ..Selector::default() }
    }
}

fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

/// One reading of the file.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Revoked {
    entries: HashSet<Entry>,
    /// Tenants and serial numbers of them, of whatever issuer.
    serials: HashSet<(String, Vec<u8>)>,
    /// SHA-256 of the file.
    pub(crate) sha256: [u8; 32],
}

impl Revoked {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// It cannot be read, somebody else could have written it, or lines in it are wrong: with its name, a line each.
    pub(crate) fn read(path: &Path, anchors: &Anchors) -> Result<Self, String> {
        let bytes = file::read(path, BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| format!("{}: is not UTF-8: {e}", path.display()))?;
        let (mut entries, mut wrong) = (HashSet::new(), Vec::new());
        for (n, line) in (1..).zip(text.lines()) {
            match entry(line.trim(), anchors) {
                Ok(found) => entries.extend(found),
                Err(e) => wrong.push(format!("{}:{n}: {e}", path.display())),
            }
        }
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(TOLD_MAX);
            wrong.truncate(TOLD_MAX);
            wrong.extend((more > 0).then(|| format!("{}: and {more} more", path.display())));
            return Err(wrong.join("\n"));
        }
        let mut revoked = Revoked { sha256: Sha256::digest(&bytes).into(), ..Revoked::default() };
        revoked.add(entries);
        Ok(revoked)
    }

    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if let Entry::Serial { tenant, serial, .. } = &entry {
                self.serials.insert((tenant.clone(), serial.clone()));
            }
            self.entries.insert(entry);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn has(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    /// Whether the serial number of an entry is revoked, of another issuer: perhaps one whose name is written wrong.
    pub(crate) fn has_serial_of_another(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Fingerprint(_) => false,
            Entry::Serial { tenant, serial, .. } => {
                !self.has(entry) && self.serials.contains(&(tenant.clone(), serial.clone()))
            }
        }
    }

    /// What it has and `before` has not.
    pub(crate) fn since(&self, before: &Revoked) -> Vec<Entry> {
        self.entries.difference(&before.entries).cloned().collect()
    }

    /// What is in force when this is read after `before`. What it takes back counts when the next look finds the same: a file that is
    /// being written lacks its end. `taking_back` is the mark of such a file.
    pub(crate) fn after(mut self, before: &Revoked, taking_back: &mut Option<[u8; 32]>) -> Revoked {
        let takes_back = Some(self.sha256).filter(|_| !before.since(&self).is_empty());
        let seen = std::mem::replace(taking_back, takes_back);
        if takes_back.is_none() || seen == takes_back {
            return self;
        }
        self.add(before.entries.iter().cloned());
        // Not the file's: the next look takes it for another one.
        Revoked { sha256: [0; 32], ..self }
    }
}

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// What a line says; nothing where it is empty.
fn entry(line: &str, anchors: &Anchors) -> Result<Option<Entry>, String> {
    let (kind, rest) = word(line);
    match kind {
        comment if comment.is_empty() || comment.starts_with('#') => Ok(None),
        "sha256" => Ok(Some(Entry::Fingerprint(parse_sha256(rest)?))),
        "serial" => {
            let ((tenant, rest), wanted) = (word(rest), "wanted is `serial TENANT HEXADECIMAL ISSUER`");
            let (number, issuer) = word(rest);
            if !anchors.has_tenant(tenant) {
                return Err(format!("{tenant:?} is no tenant in anchors; {wanted}"));
            }
            let serial = parse_serial(number).ok_or_else(|| format!("{number:?} is no serial number; {wanted}"))?;
            // As `openssl x509 -noout -issuer` writes it, in some version.
            let issuer = issuer.strip_prefix("issuer=").unwrap_or(issuer).trim().replace(" = ", "=");
            if !issuer.contains('=') {
                return Err(format!("{issuer:?} is no issuer, which is one like CN=Acme CA, O=Acme; {wanted}"));
            }
            Ok(Some(Entry::Serial { tenant: tenant.to_owned(), issuer, serial }))
        }
        other => Err(format!("{other:?} is neither `sha256` nor `serial`")),
    }
}

fn parse_serial(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .trim_start_matches("0x")
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let padded: Vec<u8> = std::iter::repeat_n(0, digits.len() % 2).chain(digits).collect();
    let bytes: Vec<u8> = padded.as_chunks::<2>().0.iter().map(|[high, low]| high * 16 + low).collect();
    Some(without_zeros(&bytes).to_vec()).filter(|serial| !serial.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[u8]) -> Revoked {
        let mut revoked = Revoked { sha256: Sha256::digest(entries).into(), ..Revoked::default() };
        revoked.add(entries.iter().map(|n| Entry::Fingerprint([*n; 32])));
        revoked
    }

    /// Promise 7: a file that is seen while it is written lets nobody in; what is added counts at once, what is gone at the second look.
    #[test]
    fn promise_7_half_a_file_takes_nothing_back() {
        let mut taking_back = None;
        let mut look = |file: &[u8], before: &Revoked| of(file).after(before, &mut taking_back);
        let all = of(&[1, 2]);
        let half = look(&[1, 3], &all);
        assert_eq!(half.entries, of(&[1, 2, 3]).entries);
        let whole = look(&[1, 2, 3], &half);
        assert_eq!(whole, of(&[1, 2, 3]));
        let first = look(&[1], &whole);
        let other = look(&[2], &first);
        assert_eq!((first.len(), other.len()), (3, 3), "two looks, and not the same file");
        assert_eq!(look(&[2], &other), of(&[2]));
    }

    /// Guards that a number is the same however it is written, and that what is none is refused.
    #[test]
    fn a_serial_number_is_a_number() {
        for (text, serial) in [("4D:2F", vec![0x4d, 0x2f]), ("0x04d2f", vec![0x4d, 0x2f]), ("0f00", vec![0x0f, 0])] {
            assert_eq!(parse_serial(text), Some(serial), "{text}");
        }
        for text in ["", "0x", "00", "4g", "-1"] {
            assert_eq!(parse_serial(text), None, "{text}");
        }
    }
}
