//! `${…}` in a rule: names of the certificate, filled in where there is exactly one.

use gatemq_plugin_api::Certificate;

use crate::hex;

/// What a client shows: a certificate whose path was verified, and what goes with it.
pub(crate) struct Shown<'a> {
    /// Whose anchor verified it.
    pub(crate) tenant: &'a str,
    /// SHA-256 of the anchor's SubjectPublicKeyInfo.
    pub(crate) anchor: [u8; 32],
    pub(crate) listener: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) client_id_assigned: bool,
    pub(crate) certificate: &'a Certificate,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) spki: [u8; 32],
    /// When the first certificate of its path ends, in milliseconds since 1970.
    pub(crate) valid_until_ms: u64,
    pub(crate) now_ms: u64,
}

/// Names that may be filled in.
const NAMES: &[&str] = &[
    "client_id",
    "tenant",
    "cert.cn",
    "cert.o",
    "cert.ou",
    "cert.san.dns",
    "cert.san.uri",
    "cert.san.email",
    "cert.san.ip",
    "cert.serial",
    "cert.fingerprint",
];

impl Shown<'_> {
    /// A value that there is exactly once, and that is not empty.
    fn value(&self, name: &str) -> Result<String, String> {
        let c = self.certificate;
        let one = |values: &[String]| match values {
            [one] if !one.is_empty() => Ok(one.clone()),
            [_] => Err(format!("${{{name}}} cannot be filled in: it is empty, or cannot be read")),
            many => Err(format!("${{{name}}} cannot be filled in: the certificate has {} of it", many.len())),
        };
        match name {
            "client_id" => one(&[self.client_id.to_owned()]),
            "tenant" => Ok(self.tenant.to_owned()),
            "cert.cn" => one(&c.common_names),
            "cert.o" => one(&c.organizations),
            "cert.ou" => one(&c.organizational_units),
            "cert.san.dns" => one(&c.san_dns),
            "cert.san.uri" => one(&c.san_uri),
            "cert.san.email" => one(&c.san_email),
            "cert.san.ip" => one(&c.san_ip.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "cert.serial" => one(&[hex(&c.serial)]),
            "cert.fingerprint" => Ok(hex(&self.fingerprint)),
            other => Err(format!("${{{other}}} is not a value of a certificate")),
        }
    }
}

/// A text with values of the certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    /// Text, and the value behind it.
    pieces: Vec<(String, String)>,
    end: String,
}

impl Template {
    /// # Errors
    /// It is empty, a brace is open, or a name is none.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, begun)) = rest.split_once("${") {
            let (name, after) = begun.split_once('}').ok_or_else(|| format!("{text:?} has no closing brace"))?;
            if !NAMES.contains(&name) {
                return Err(format!("{text:?}: ${{{name}}} is none of {}", NAMES.join(", ")));
            }
            pieces.push((before.to_owned(), name.to_owned()));
            rest = after;
        }
        Ok(Template { pieces, end: rest.to_owned() })
    }

    /// The values in it, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(|(_, name)| name.as_str())
    }

    /// Fills it in.
    ///
    /// # Errors
    /// A value that is not there exactly once.
    pub(crate) fn fill(&self, shown: &Shown<'_>) -> Result<String, String> {
        Ok(self.parts(shown)?.join("*"))
    }

    /// Fills it in, divided at the `*` of the template: one of a value is no wildcard.
    ///
    /// # Errors
    /// As [`Template::fill`].
    pub(crate) fn parts(&self, shown: &Shown<'_>) -> Result<Vec<String>, String> {
        let mut parts = vec![String::new()];
        for (before, name) in &self.pieces {
            divide(&mut parts, before);
            if let Some(last) = parts.last_mut() {
                last.push_str(&shown.value(name)?);
            }
        }
        divide(&mut parts, &self.end);
        Ok(parts)
    }
}

/// Adds a text to the last part, and a part for each `*` in it.
fn divide(parts: &mut Vec<String>, text: &str) {
    let mut divided = text.split('*');
    if let (Some(last), Some(first)) = (parts.last_mut(), divided.next()) {
        last.push_str(first);
    }
    parts.extend(divided.map(str::to_owned));
}
