//! A retained message.

use super::bytes::{Reader, Writer};
use super::message::Message;

const VERSION: u8 = 1;

/// The retained message of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retained {
    /// The message.
    pub message: Message,
    /// QoS that it was published with, 0 to 2.
    pub qos: u8,
    /// User that published it.
    pub user: Box<str>,
    /// Client identifier that published it.
    pub client_id: Box<str>,
}

impl Retained {
    /// With its tenant, which the key may only have a hash of.
    pub(crate) fn write(&self, tenant: &str) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        writer.text(tenant).u8(self.qos).text(&self.user).text(&self.client_id).raw(self.message.as_bytes());
        writer.into_bytes()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<(Box<str>, Self)> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let (tenant, qos) = (reader.text()?.into(), reader.u8().filter(|qos| *qos <= 2)?);
        let (user, client_id) = (reader.text()?.into(), reader.text()?.into());
        Some((tenant, Retained { message: Message::read(reader.rest())?, qos, user, client_id }))
    }
}
