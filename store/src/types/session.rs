//! A session's record and its subscriptions.

use super::bytes::{Reader, Writer};
use super::message::Message;
use crate::{Epoch, Seq, SessionId};

const VERSION: u8 = 1;

/// Whose session it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// Tenant.
    pub tenant: Box<str>,
    /// User.
    pub user: Box<str>,
    /// Client identifier.
    pub client_id: Box<str>,
}

/// What a session is, apart from its queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// Of whoever writes it.
    pub epoch: Epoch,
    /// The node that has it.
    pub node: u64,
    /// The higher one is the later one; a session's first has 0.
    pub version: u64,
    /// Protocol level of the client that has it or had it last.
    pub level: u8,
    /// Session Expiry Interval in seconds; `u32::MAX` is never.
    pub expiry_s: u32,
    /// When its connection ended, in milliseconds since 1970; 0 while it has one. A node that starts takes its own start
    /// for it then.
    pub away_since_ms: u64,
    /// The will that is yet to be published.
    pub will: Option<Will>,
    /// Whatever else the broker wants to know again.
    pub state: Box<[u8]>,
}

/// A will that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// What is published.
    pub message: Message,
    /// First byte of its PUBLISH: QoS and RETAIN.
    pub first: u8,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Whether a provider had been asked, and allowed it.
    pub asked: bool,
}

/// A subscription of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The filter as it was subscribed, `$share/…` included.
    pub filter: Box<str>,
    /// Subscription options as in MQTT 5 (3.8.3.1).
    pub options: u8,
    /// Subscription Identifier; 0 is none.
    pub identifier: u32,
}

/// A session as a scan gives it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSession {
    /// Its number.
    pub session: SessionId,
    /// Its record.
    pub record: Record,
    /// Entries up to this one are done with.
    pub acked: Seq,
    /// No entry had a higher number: the next one is this and one more.
    pub last: Seq,
    /// Entries in its queue.
    pub messages: u32,
    /// Bytes of their topics, properties and payloads.
    pub bytes: u64,
    /// Its subscriptions, in no order.
    pub subscriptions: Vec<Subscription>,
    /// Packet identifiers of QoS 2 messages that the client has not released, ascending.
    pub incoming: Vec<u16>,
}

impl Record {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        let Owner { tenant, user, client_id } = &self.owner;
        writer.u64(self.epoch.0).u64(self.node).u64(self.version).text(tenant).text(user).text(client_id);
        writer.u8(self.level).u32(self.expiry_s).u64(self.away_since_ms);
        match &self.will {
            None => writer.u8(0),
            Some(Will { message, first, delay_s, asked }) => {
                writer.u8(1).bytes(message.as_bytes()).u8(*first).u32(*delay_s).u8(u8::from(*asked))
            }
        };
        writer.bytes(&self.state);
        writer.into_bytes()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let (epoch, node, version) = (Epoch(reader.u64()?), reader.u64()?, reader.u64()?);
        let mut text = || reader.text().map(Box::from);
        let owner = Owner { tenant: text()?, user: text()?, client_id: text()? };
        let (level, expiry_s, away_since_ms) = (reader.u8()?, reader.u32()?, reader.u64()?);
        let will = match reader.flag()? {
            false => None,
            true => Some(Will {
                message: Message::read(reader.bytes()?)?,
                first: reader.u8()?,
                delay_s: reader.u32()?,
                asked: reader.flag()?,
            }),
        };
        let state = reader.bytes()?.into();
        reader.end()?;
        Some(Record { owner, epoch, node, version, level, expiry_s, away_since_ms, will, state })
    }
}

impl Subscription {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        writer.u8(self.options).u32(self.identifier).raw(self.filter.as_bytes());
        writer.into_bytes()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let (options, identifier) = (reader.u8()?, reader.u32()?);
        Some(Subscription { filter: std::str::from_utf8(reader.rest()).ok()?.into(), options, identifier })
    }
}
