//! The first state: nothing but a CONNECT.

use gatemq_types::Protocol;

use crate::codec::frame::{Framed, frame};
use crate::connection::ExpectDecision;
use crate::packet::connect::Connect;
use crate::{Breach, PacketLimits, kind};

/// A connection of which nothing is known yet.
#[derive(Clone, Copy, Debug)]
pub struct ExpectConnect {
    limits: PacketLimits,
}

impl ExpectConnect {
    /// With the limits of the listener.
    pub const fn new(limits: PacketLimits) -> Self {
        ExpectConnect { limits }
    }

    /// The packet at the start of `bytes`, refused as early as possible: by its first byte when that is not a CONNECT's, by
    /// its length beyond `connect_bytes_max`.
    ///
    /// # Errors
    /// [`Breach::ConnectNotFirst`] (MQTT-3.1.0-1), [`Breach::FlagsReserved`], and those of [`frame`].
    pub fn frame(&self, bytes: &[u8]) -> Result<Framed, Breach> {
        if let Some(&first) = bytes.first() {
            check_first(first)?;
        }
        frame(bytes, self.limits.connect_bytes_max)
    }

    /// Takes the first packet (a whole one, its body at `head`). After a breach the peer may be answered with
    /// [`connack::refuse`](crate::packet::connack::refuse) before the connection is closed.
    ///
    /// # Errors
    /// [`Breach::ConnectNotFirst`] (MQTT-3.1.0-1), and those of [`Connect::read`].
    pub fn first(self, frame: &[u8], head: usize) -> Result<(Connect, ExpectDecision), Breach> {
        check_first(frame.first().copied().unwrap_or(0))?;
        let connect = Connect::read(frame, head, &self.limits)?;
        let next = ExpectDecision {
            protocol: connect.protocol,
            expires_at_once: connect.protocol == Protocol::V5 && connect.session_expiry_s == 0,
            auth_method: connect.auth_method.as_deref().map(Box::from),
            limits: self.limits,
        };
        Ok((connect, next))
    }
}

fn check_first(first: u8) -> Result<(), Breach> {
    match (first >> 4, first & 0x0F) {
        (kind::CONNECT, 0) => Ok(()),
        (kind::CONNECT, _) => Err(Breach::FlagsReserved),
        _ => Err(Breach::ConnectNotFirst),
    }
}
