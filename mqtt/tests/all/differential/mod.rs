//! The codec beside `rmqtt-codec`: what the two say differently of the same bytes is a row of [`table`], with its reason.
//!
//! Both read one packet that a client sends. What each makes of it is put into the same words ([`words`]), so that it can be
//! compared. A difference without a row fails, and so does a row that its own example does not show.

mod packets;
mod table;
mod words;

use gatemq_mqtt::codec::frame::{Framed, frame};
use gatemq_mqtt::connection::ExpectConnect;
use gatemq_mqtt::{Breach, PacketLimits, kind};
use gatemq_types::Protocol;
use proptest::prelude::*;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

use table::{ROWS, Row};

/// As little as possible is refused for a limit: those the other one does not have.
const LIMITS: PacketLimits = PacketLimits {
    packet_bytes_max: 1 << 20,
    connect_bytes_max: 1 << 20,
    user_properties_bytes_max: u32::MAX,
    user_properties_max: u16::MAX,
    topic_levels_max: u16::MAX,
    topic_bytes_max: u16::MAX,
    filters_per_packet_max: u16::MAX,
    topic_alias_max: u16::MAX,
};

/// What the two say of the same bytes.
#[derive(Debug)]
pub(crate) struct Both {
    pub(crate) ours: Result<String, Breach>,
    pub(crate) theirs: Result<String, DecodeError>,
}

/// What differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    /// We refuse, they do not.
    WeRefuse(Breach),
    /// They refuse, we do not.
    TheyRefuse,
    /// Both read it, as something else.
    Words,
}

impl Both {
    fn of(protocol: Protocol, bytes: &[u8]) -> Both {
        Both { ours: ours(protocol, bytes), theirs: theirs(protocol, bytes) }
    }

    fn difference(&self) -> Option<Difference> {
        match (&self.ours, &self.theirs) {
            (Err(breach), Ok(_)) => Some(Difference::WeRefuse(*breach)),
            (Ok(_), Err(_)) => Some(Difference::TheyRefuse),
            (Ok(ours), Ok(theirs)) if ours != theirs => Some(Difference::Words),
            _ => None,
        }
    }
}

/// Bytes that end before their packet does count as refused: both would wait.
fn ours(protocol: Protocol, bytes: &[u8]) -> Result<String, Breach> {
    let Framed::Frame { first, head, len } = frame(bytes, LIMITS.packet_bytes_max)? else {
        return Err(Breach::EndsEarly);
    };
    let bytes = &bytes[..len];
    if first >> 4 == kind::CONNECT {
        let (connect, _) = ExpectConnect::new(LIMITS).first(bytes, head)?;
        return Ok(words::connect(&connect));
    }
    let (_, next) = ExpectConnect::new(LIMITS).first(&packets::greeting(protocol), 2)?;
    let mut established = next.accept(LIMITS);
    established.packet(bytes, head).map(|packet| words::packet(&packet, protocol))
}

fn theirs(protocol: Protocol, bytes: &[u8]) -> Result<String, DecodeError> {
    let mut bytes = bytes::BytesMut::from(bytes);
    let decoded = match protocol {
        Protocol::V5 => v5::Codec::default().decode(&mut bytes)?.map(|(packet, _)| words::their_v5(&packet)),
        _ => v3::Codec::default().decode(&mut bytes)?.map(|(packet, _)| words::their_v3(&packet)),
    };
    decoded.ok_or(DecodeError::InvalidLength)
}

fn row_of(protocol: Protocol, bytes: &[u8], both: &Both) -> Option<&'static Row> {
    let difference = both.difference()?;
    ROWS.iter().find(|row| row.difference == difference && row.protocols.contains(&protocol) && (row.fits)(bytes, both))
}

/// Guards the table against rows that explain nothing any more: its example shows each, and they are found by it.
#[test]
fn every_row_is_shown_by_its_example() {
    for row in ROWS {
        let protocol = row.protocols[0];
        let both = Both::of(protocol, row.example);
        let found = row_of(protocol, row.example, &both);
        assert!(found.is_some_and(|found| std::ptr::eq(found, row)), "{}: {both:?}", row.why);
    }
}

/// Guards the comparison itself: of what is sound, both must say the same, and not by refusing it.
#[test]
fn sound_packets_are_read_alike() {
    for (protocol, bytes) in packets::sound() {
        let both = Both::of(protocol, &bytes);
        assert!(both.ours.is_ok() && both.difference().is_none(), "{protocol:?} {bytes:02X?} {both:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50_000))]

    /// Guards every rule of the codec at once, against somebody else's reading of the same standard.
    #[test]
    fn every_difference_has_its_reason((protocol, bytes) in packets::packets()) {
        let both = Both::of(protocol, &bytes);
        let explained = both.difference().is_none() || row_of(protocol, &bytes, &both).is_some();
        prop_assert!(explained, "{:?} {:02X?}\n{:#?}", protocol, bytes, both);
    }
}
