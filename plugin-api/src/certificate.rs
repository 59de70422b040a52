//! Certificates, parsed when somebody asks.

use std::net::IpAddr;

use gatemq_types::Der;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// What a certificate says of its subject. Parsing it verifies nothing: ask [`crate::Tls::verified`] and
/// [`crate::Tls::path`] whether the chain was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Certificate {
    /// Subject, in its order and the form `CN=sensor-1, O=Acme`. In a value `,`, `+`, `\` and a `#` at its beginning
    /// come after a `\`, so that no two subjects look the same; one that cannot be read is `#` and hexadecimal.
    pub subject: String,
    /// Common names of the subject, in order. One that cannot be read is empty, here and below.
    pub common_names: Vec<String>,
    /// Organizations of the subject, in order.
    pub organizations: Vec<String>,
    /// Organizational units of the subject, in order.
    pub organizational_units: Vec<String>,
    /// Issuer, in the form of the subject.
    pub issuer: String,
    /// Serial number, big-endian bytes.
    pub serial: Vec<u8>,
    /// DNS names of the subject alternative name.
    pub san_dns: Vec<String>,
    /// URIs of it.
    pub san_uri: Vec<String>,
    /// Mail addresses of it.
    pub san_email: Vec<String>,
    /// IP addresses of it.
    pub san_ip: Vec<IpAddr>,
    /// Valid from, seconds since 1970.
    pub not_before_s: i64,
    /// Valid until, seconds since 1970.
    pub not_after_s: i64,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// Bits of Key Usage (RFC 5280, 4.2.1.3; digitalSignature is bit 0); 0 if it has none.
    pub key_usage: u16,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

/// Bytes that are not a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotACertificate(pub String);

impl std::fmt::Display for NotACertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not an X.509 certificate: {}", self.0)
    }
}

impl std::error::Error for NotACertificate {}

impl Certificate {
    /// Parses.
    ///
    /// # Errors
    /// The bytes are not one whole certificate.
    pub fn parse(der: &Der) -> Result<Certificate, NotACertificate> {
        let (rest, x509) = X509Certificate::from_der(der.as_bytes()).map_err(|e| NotACertificate(e.to_string()))?;
        if !rest.is_empty() {
            return Err(NotACertificate(format!("{} bytes after its end", rest.len())));
        }
        let subject = x509.subject();
        // One that is left out would make the other the only one.
        let texts = |it: &mut dyn Iterator<Item = &AttributeTypeAndValue<'_>>| {
            it.map(|a| a.as_str().unwrap_or_default().to_owned()).collect()
        };
        let mut certificate = Certificate {
            subject: distinguished(subject),
            common_names: texts(&mut subject.iter_common_name()),
            organizations: texts(&mut subject.iter_organization()),
            organizational_units: texts(&mut subject.iter_organizational_unit()),
            issuer: distinguished(x509.issuer()),
            serial: x509.raw_serial().to_vec(),
            not_before_s: x509.validity().not_before.timestamp(),
            not_after_s: x509.validity().not_after.timestamp(),
            is_ca: x509.is_ca(),
            spki: x509.public_key().raw.to_vec(),
            ..Certificate::default()
        };
        for extension in x509.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    san.general_names.iter().for_each(|n| certificate.add(n))
                }
                ParsedExtension::KeyUsage(usage) => certificate.key_usage = usage.flags,
                _ => {}
            }
        }
        Ok(certificate)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(dns) => self.san_dns.push((*dns).to_owned()),
            GeneralName::URI(uri) => self.san_uri.push((*uri).to_owned()),
            GeneralName::RFC822Name(mail) => self.san_email.push((*mail).to_owned()),
            GeneralName::IPAddress(bytes) => self.san_ip.extend(match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
                _ => None,
            }),
            _ => {}
        }
    }

    /// The common name, if there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        match self.common_names.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// A name as text from which it can be told again, as in RFC 4514 but in the order of the certificate.
fn distinguished(name: &X509Name<'_>) -> String {
    let attribute = |a: &AttributeTypeAndValue<'_>| {
        let kind = oid2abbrev(a.attr_type(), oid_registry()).map_or_else(|_| a.attr_type().to_string(), str::to_owned);
        let value = match a.as_str() {
            Ok(text) => text.chars().fold(String::new(), |mut escaped, c| {
                if matches!(c, ',' | '+' | '\\') || (c == '#' && escaped.is_empty()) {
                    escaped.push('\\');
                }
                escaped.push(c);
                escaped
            }),
            Err(_) => a.as_slice().iter().fold("#".to_owned(), |hex, byte| hex + &format!("{byte:02x}")),
        };
        format!("{kind}={value}")
    };
    let parts = |it: &mut dyn Iterator<Item = String>, between| it.collect::<Vec<_>>().join(between);
    parts(&mut name.iter_rdn().map(|rdn| parts(&mut rdn.iter().map(attribute), " + ")), ", ")
}
