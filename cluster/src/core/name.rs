//! Names of nodes, clusters and environments, and the SPIFFE ID that carries all three in a certificate.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes: three of them and their frame fit a SPIFFE ID and a gossip label.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// It has no characters. An environment without a name would match any other.
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// It begins with neither a letter nor a digit: `.` and `..` are no segments of a SPIFFE ID.
    Begins,
    /// It has something else than a-z, 0-9, dot, dash and underscore.
    Character,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("it is empty"),
            NameError::TooLong => write!(f, "it is longer than {NAME_BYTES_MAX} bytes"),
            NameError::Begins => f.write_str("it must begin with a letter or a digit"),
            NameError::Character => f.write_str("it may have a-z, 0-9, dot, dash and underscore only"),
        }
    }
}

impl std::error::Error for NameError {}

/// Whether a text may be the name of a node, a cluster or an environment.
///
/// # Errors
/// Why not.
pub fn check(text: &str) -> Result<(), NameError> {
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    match text.as_bytes() {
        [] => Err(NameError::Empty),
        bytes if bytes.len() > NAME_BYTES_MAX => Err(NameError::TooLong),
        bytes if !bytes.iter().all(|byte| lawful(*byte)) => Err(NameError::Character),
        [first, ..] if !first.is_ascii_alphanumeric() => Err(NameError::Begins),
        _ => Ok(()),
    }
}

/// The name of an environment, a cluster or a node: 1 to [`NAME_BYTES_MAX`] of a-z, 0-9, dot, dash and underscore.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// The name of a node: what it keeps over restarts, where its [`Boot`](super::Boot) changes.
pub type NodeName = Name;

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text).map(|()| Name(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Name::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a node's certificate says it is: `spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE`, its only SAN URI.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SpiffeId {
    /// The trust domain.
    pub environment: Name,
    /// The cluster within it.
    pub cluster: Name,
    /// The node.
    pub node: NodeName,
}

/// Why a URI names no node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpiffeError {
    /// It is not of the form `spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE`.
    Form,
    /// One of its three names is none: which, and why.
    Name(&'static str, NameError),
}

impl fmt::Display for SpiffeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpiffeError::Form => f.write_str("wanted spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE"),
            SpiffeError::Name(which, why) => write!(f, "its {which} is no name: {why}"),
        }
    }
}

impl std::error::Error for SpiffeError {}

impl SpiffeId {
    /// Reads the URI of a certificate. Byte for byte: no case folding, no escapes, no query, no port.
    ///
    /// # Errors
    /// Why it names no node.
    pub fn parse(uri: &str) -> Result<Self, SpiffeError> {
        let rest = uri.strip_prefix("spiffe://").ok_or(SpiffeError::Form)?;
        let mut segments = rest.split('/');
        let mut segment = || segments.next().ok_or(SpiffeError::Form);
        let (environment, product, cluster, node) = (segment()?, segment()?, segment()?, segment()?);
        if product != "gatemq" || segments.next().is_some() {
            return Err(SpiffeError::Form);
        }
        let name = |which, text| Name::new(text).map_err(|why| SpiffeError::Name(which, why));
        Ok(SpiffeId {
            environment: name("environment", environment)?,
            cluster: name("cluster", cluster)?,
            node: name("node", node)?,
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/gatemq/{}/{}", self.environment, self.cluster, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no name is none, and its twin that differs in one character is (DESIGN 10, SPIFFE trust domains).
    #[test]
    fn names_keep_to_their_letters() {
        for (bad, why, good) in [
            ("", NameError::Empty, "p"),
            ("Prod", NameError::Character, "prod"),
            ("pro d", NameError::Character, "pro-d"),
            ("a/b", NameError::Character, "a_b"),
            ("näme", NameError::Character, "name"),
            ("..", NameError::Begins, "0.."),
            ("-a", NameError::Begins, "a-"),
            (&"x".repeat(65), NameError::TooLong, &"x".repeat(64)),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad:?}");
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
    }

    /// A certificate's URI is read as it stands or not at all: a lenient reader would let one environment look like another.
    #[test]
    fn a_spiffe_id_has_one_form() {
        let uri = "spiffe://prod/gatemq/east/node-1";
        let id = SpiffeId::parse(uri).unwrap();
        assert_eq!((id.environment.as_str(), id.cluster.as_str(), id.node.as_str()), ("prod", "east", "node-1"));
        assert_eq!(id.to_string(), uri);
        for bad in [
            "spiffe:///gatemq/east/node-1",
            "SPIFFE://prod/gatemq/east/node-1",
            "spiffe://PROD/gatemq/east/node-1",
            "spiffe://prod/gatemq/east/node-1/",
            "spiffe://prod/gatemq/east",
            "spiffe://prod/other/east/node-1",
            "spiffe://prod:1/gatemq/east/node-1",
            "spiffe://prod/gatemq/east/node-1?x",
            "spiffe://prod/gatemq/../node-1",
            "https://prod/gatemq/east/node-1",
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }
}
