//! Bytes of an entry of a queue, and of the queue's position.

use crate::types::bytes::{Reader, Writer};
use crate::{Delivery, Message};

const VERSION: u8 = 1;
const INLINE: u8 = 0;
const SHARED: u8 = 1;
const RELEASED: u8 = 2;

/// Where an entry's message is.
pub(super) enum Place<'a> {
    /// With it: the bytes of the message.
    Inline(&'a [u8]),
    /// Under a number, and how many bytes it has.
    Shared(u64, u32),
    /// Nowhere: its receiver has it. What has a lower number here was released earlier.
    Released(u64),
}

/// An entry as it is stored.
pub(super) struct Stored<'a> {
    pub(super) delivery: Delivery,
    pub(super) place: Place<'a>,
}

impl<'a> Stored<'a> {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        self.delivery.write(&mut writer);
        match self.place {
            Place::Inline(message) => writer.u8(INLINE).raw(message),
            Place::Shared(number, bytes) => writer.u8(SHARED).u64(number).u32(bytes),
            Place::Released(order) => writer.u8(RELEASED).u64(order),
        };
        writer.into_bytes()
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let delivery = Delivery::read(&mut reader)?;
        let place = match reader.u8()? {
            INLINE => Place::Inline(reader.rest()),
            SHARED => {
                let place = Place::Shared(reader.u64()?, reader.u32()?);
                reader.end()?;
                place
            }
            RELEASED => {
                let place = Place::Released(reader.u64()?);
                reader.end()?;
                place
            }
            _ => return None,
        };
        Some(Stored { delivery, place })
    }

    /// Bytes of the message's topic, properties and payload.
    pub(super) fn len(&self) -> u64 {
        match self.place {
            Place::Inline(message) => Message::len_of(message),
            Place::Shared(_, bytes) => u64::from(bytes),
            Place::Released(_) => 0,
        }
    }
}

/// Entries up to `acked` are done with, and none had a higher number than `last`.
pub(super) fn write_position(acked: u64, last: u64) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.u64(acked).u64(last);
    writer.into_bytes()
}

pub(super) fn read_position(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut reader = Reader::of_version(VERSION, bytes)?;
    let position = (reader.u64()?, reader.u64()?);
    reader.end()?;
    Some(position)
}

pub(super) fn read_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
