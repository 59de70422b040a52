//! PINGREQ (3.12); its answer is [`write::ping_resp`](crate::codec::write::ping_resp).

use gatemq_types::Protocol;

use crate::Breach;
use crate::codec::read::Reader;
use crate::packet::flags_0000;

/// Checks a PINGREQ: no flags, no body.
///
/// # Errors
/// [`Breach::FlagsReserved`] (MQTT-2.1.3-1), [`Breach::BytesLeft`].
pub fn read(frame: &[u8], head: usize, protocol: Protocol) -> Result<(), Breach> {
    flags_0000(frame, protocol, Breach::FlagsReserved)?;
    Reader::new(frame, head).end()
}
