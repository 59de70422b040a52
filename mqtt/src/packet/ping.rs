//! PINGREQ (3.12); its answer is [`write::ping_resp`](crate::codec::write::ping_resp).

use crate::Breach;
use crate::codec::read::Reader;
use crate::packet::flags_0000;

/// Checks a PINGREQ: no flags, no body.
///
/// # Errors
/// [`Breach::FlagsReserved`] (MQTT-2.1.3-1), [`Breach::BytesLeft`].
pub fn read(frame: &[u8], head: usize) -> Result<(), Breach> {
    flags_0000(frame, Breach::FlagsReserved)?;
    Reader::new(frame, head).end()
}
