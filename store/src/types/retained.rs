//! A retained message.

use super::bytes::{Reader, Writer};
use super::message::Message;

/// 1 had neither tags, nor certificate, nor `withheld`.
const VERSION: u8 = 2;
/// In `flags`.
const WITHHELD: u8 = 1;
const CERTIFICATE: u8 = 2;

/// The retained message of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retained {
    /// The message.
    pub message: Message,
    /// QoS that it was published with, 0 to 2.
    pub qos: u8,
    /// It goes to nobody who subscribes, until its publisher is admitted again.
    pub withheld: bool,
    /// User that published it.
    pub user: Box<str>,
    /// Client identifier that published it.
    pub client_id: Box<str>,
    /// Tags of the identity that published it.
    pub tags: Box<[String]>,
    /// SHA-256 of its publisher's certificate.
    pub leaf_sha256: Option<[u8; 32]>,
}

impl Retained {
    /// With its tenant, which the key may only have a hash of.
    pub fn write(&self, tenant: &str) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        let certificate = if self.leaf_sha256.is_some() { CERTIFICATE } else { 0 };
        let flags = certificate | if self.withheld { WITHHELD } else { 0 };
        writer.text(tenant).u8(self.qos).u8(flags).text(&self.user).text(&self.client_id);
        writer.raw(self.leaf_sha256.as_ref().map_or(&[], |leaf| &leaf[..]));
        writer.u32(u32::try_from(self.tags.len()).unwrap_or(u32::MAX));
        for tag in &self.tags {
            writer.text(tag);
        }
        writer.raw(self.message.as_bytes());
        writer.into_bytes()
    }

    /// What [`Self::write`] wrote, and its tenant; `None`: it is none.
    pub fn read(bytes: &[u8]) -> Option<(Box<str>, Self)> {
        let (version, mut reader) = Reader::new(bytes).filter(|(version, _)| (1..=VERSION).contains(version))?;
        let (tenant, qos) = (reader.text()?.into(), reader.u8().filter(|qos| *qos <= 2)?);
        let flags =
            if version == 1 { 0 } else { reader.u8().filter(|flags| flags & !(WITHHELD | CERTIFICATE) == 0)? };
        let (user, client_id) = (reader.text()?.into(), reader.text()?.into());
        let leaf_sha256 = match flags & CERTIFICATE {
            0 => None,
            _ => Some(reader.raw(32)?.try_into().ok()?),
        };
        let mut tags = Vec::new();
        for _ in 0..if version == 1 { 0 } else { reader.u32()? } {
            tags.push(reader.text()?.to_owned());
        }
        let (withheld, tags) = (flags & WITHHELD != 0, tags.into());
        let message = Message::read(reader.rest())?;
        Some((tenant, Retained { message, qos, withheld, user, client_id, tags, leaf_sha256 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards stores of before: a message of version 1 is read, as of a publisher without tags, and not withheld.
    #[test]
    fn version_1_is_read() {
        let message = Message::new("a/b", &[], b"payload", 77).unwrap();
        let mut writer = Writer::new(1);
        writer.text("t").u8(1).text("u").text("c").raw(message.as_bytes());
        let (user, client_id, tags) = ("u".into(), "c".into(), Box::default());
        let wanted = Retained { message, qos: 1, withheld: false, user, client_id, tags, leaf_sha256: None };
        assert_eq!(Retained::read(&writer.into_bytes()), Some(("t".into(), wanted)));
    }
}
