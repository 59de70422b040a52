//! A message for another node, as it is sent and as it is kept while that node is away.

use std::sync::Arc;

use bytes::Bytes;
use gatemq_broker::remote::Forward;
use gatemq_broker::session::{Late, Message, Way};
use gatemq_broker::{Session, Tenant};
use gatemq_cluster::core::NodeName;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// What goes with a message's packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Tenant.
    pub(crate) tenant: Box<str>,
    /// Deliver it to all who share their subscription with nobody.
    pub(crate) plain: bool,
    /// And to one member of each of these.
    pub(crate) shares: Vec<Box<str>>,
    /// The number of its publication.
    pub(crate) publication: u64,
    /// Only to this session, which has come from the node that sends it: user, client identifier, first byte of its PUBLISH,
    /// Subscription Identifier.
    pub(crate) late: Option<(Box<str>, Box<str>, u8, u32)>,
    /// The way by which that follows the session; 0: by that of the node that sends it, as one of an earlier version does.
    #[serde(skip)]
    pub(crate) way: Way,
}

/// The way by which a message follows a session from one of the times that it was at a node.
pub(super) fn way_from(node: &NodeName, boot_ms: u64, session: &Session) -> Way {
    let number = session.number().to_le_bytes();
    xxh3_64(&[node.as_str().as_bytes(), &boot_ms.to_le_bytes(), &number].concat()) as u32 | 1 << 31
}

/// The message goes to all who share their subscription with nobody.
const PLAIN: u32 = 1;

impl Header {
    /// As it goes over the wire, beside the tenant.
    pub(super) fn write(&self) -> (u32, Vec<u8>) {
        // Texts and numbers have bytes. What an earlier version does not know is behind what it reads.
        let rest = (&self.shares, self.publication, &self.late, self.way);
        (if self.plain { PLAIN } else { 0 }, postcard::to_allocvec(&rest).unwrap_or_default())
    }

    /// From there; `None`: it is none.
    pub(super) fn read(tenant: &str, flags: u32, rest: &[u8]) -> Option<Self> {
        let ((shares, publication, late), rest) = postcard::take_from_bytes(rest).ok()?;
        let way = if rest.is_empty() { 0 } else { postcard::from_bytes(rest).ok()? };
        Some(Header { tenant: tenant.into(), plain: flags & PLAIN != 0, shares, publication, late, way })
    }
}

/// A message for one node.
#[derive(Clone)]
pub(super) struct Content {
    forward: Arc<Forward>,
    plain: bool,
    shares: Arc<[Box<str>]>,
    late: Option<(Box<str>, Box<str>, u8, u32)>,
    way: Way,
}

impl Content {
    pub(super) fn new(forward: &Arc<Forward>, plain: bool, shares: Vec<Box<str>>) -> Self {
        Content { forward: forward.clone(), plain, shares: shares.into(), late: None, way: 0 }
    }

    /// What came for a session after its state had left.
    pub(super) fn late(session: &Session, late: Late, way: Way) -> Self {
        let Late { first, identifier, message, .. } = late;
        let key = session.key();
        let tenant = key.tenant().clone();
        let forward = Arc::new(Forward { tenant, message, first, from: None, to: Vec::new() });
        let late = Some((key.user().into(), key.client_id().into(), first, identifier));
        Content { forward, plain: false, shares: Arc::default(), late, way }
    }

    /// What followed a session here, for where that is now. `late` and `way`: as it came.
    pub(super) fn astray(tenant: Arc<Tenant>, message: Message, late: (Box<str>, Box<str>, u8, u32), way: Way) -> Self {
        let (message, first) = (Arc::new(message), late.2);
        let forward = Arc::new(Forward { tenant, message, first, from: None, to: Vec::new() });
        Content { forward, plain: false, shares: Arc::default(), late: Some(late), way }
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.forward.message.payload().len() + self.forward.message.topic().len() + 128
    }

    /// When its time is over, in milliseconds since 1970.
    pub(super) fn expires_ms(&self) -> u64 {
        self.forward.message.expires_ms()
    }

    /// Its header, and its PUBLISH of MQTT 5 with the time that remains; `None`: its time is over.
    pub(super) fn parts(&self, now_ms: u64) -> Option<(Header, Bytes)> {
        let Forward { tenant, message, first, .. } = &*self.forward;
        let header = Header {
            tenant: tenant.name().into(),
            plain: self.plain,
            shares: self.shares.to_vec(),
            publication: message.publication(),
            late: self.late.clone(),
            way: self.way,
        };
        (now_ms < message.expires_ms()).then(|| (header, message.packet(*first, now_ms).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards a rolling upgrade: what goes with a message is read from a node of the version before, and by one.
    #[test]
    fn an_earlier_version_reads_and_is_read() {
        type Earlier = (Vec<Box<str>>, u64, Option<(Box<str>, Box<str>, u8, u32)>);
        let late = Some(("u".into(), "c".into(), 0x34, 5));
        let earlier: Earlier = (Vec::new(), 7, late.clone());
        let bytes = postcard::to_allocvec(&earlier).unwrap();
        let header = Header::read("t", 0, &bytes).unwrap();
        let read = |header: &Header| (header.shares.clone(), header.publication, header.late.clone());
        assert_eq!((read(&header), header.way), (earlier.clone(), 0));
        let (_, bytes) = Header { way: 1 << 31 | 9, ..header }.write();
        assert_eq!(postcard::from_bytes::<Earlier>(&bytes).unwrap(), earlier);
        assert_eq!(Header::read("t", 0, &bytes).unwrap().way, 1 << 31 | 9);
    }
}
