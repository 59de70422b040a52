//! Where a packet ends.

use crate::Breach;

/// What stands at the start of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed {
    /// No whole packet yet.
    Incomplete {
        /// Bytes that the whole packet has; 0 while its length is not known.
        need: usize,
    },
    /// A whole packet.
    Frame {
        /// First byte: packet type and flags.
        first: u8,
        /// Where the body starts, 2 to 5.
        head: usize,
        /// Length of the packet in bytes, fixed header included.
        len: usize,
    },
}

/// The packet at the start of `bytes`.
///
/// A packet of more than `packet_bytes_max` bytes is refused as soon as its length is known. Allocates nothing: what a
/// peer announced costs nothing before it has arrived.
///
/// # Errors
/// [`Breach::LengthTooLong`], [`Breach::LengthNotMinimal`] (MQTT-1.5.5-1), [`Breach::PacketTooLarge`].
#[inline]
pub fn frame(bytes: &[u8], packet_bytes_max: u32) -> Result<Framed, Breach> {
    let mut length = 0usize;
    for i in 0..4 {
        let Some(&digit) = bytes.get(1 + i) else { return Ok(Framed::Incomplete { need: 0 }) };
        length |= usize::from(digit & 0x7F) << (7 * i);
        if digit & 0x80 == 0 {
            if i > 0 && digit == 0 {
                return Err(Breach::LengthNotMinimal);
            }
            let head = 2 + i;
            let len = head + length;
            if len > packet_bytes_max as usize {
                return Err(Breach::PacketTooLarge);
            }
            return Ok(match bytes.len() >= len {
                true => Framed::Frame { first: bytes[0], head, len },
                false => Framed::Incomplete { need: len },
            });
        }
    }
    Err(Breach::LengthTooLong)
}
