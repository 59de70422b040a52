//! The second state: CONNECT has come, whether the client is admitted is not decided.

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::frame::{Framed, frame};
use crate::connection::Established;
use crate::packet::auth::Auth;
use crate::packet::disconnect::Disconnect;
use crate::{Breach, PacketLimits, kind};

/// A client that waits for its CONNACK. What it sends meanwhile is left unread, unless it takes part in an enhanced
/// authentication.
#[derive(Clone, Debug)]
pub struct ExpectDecision {
    pub(super) protocol: Protocol,
    pub(super) expires_at_once: bool,
    pub(super) auth_method: Option<Box<str>>,
    pub(super) limits: PacketLimits,
}

/// What may come in the middle of an enhanced authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exchange<'a> {
    /// The next step, code 0x18.
    Auth(Auth<'a>),
    /// The client gives up.
    Disconnect(Disconnect<'a>),
}

impl ExpectDecision {
    /// Version of the client.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Authentication Method of the CONNECT.
    pub fn auth_method(&self) -> Option<&str> {
        self.auth_method.as_deref()
    }

    /// The packet at the start of `bytes`, at most `connect_bytes_max` long: it comes from somebody not yet known.
    ///
    /// # Errors
    /// Those of [`frame`].
    pub fn frame(&self, bytes: &[u8]) -> Result<Framed, Breach> {
        frame(bytes, self.limits.connect_bytes_max)
    }

    /// Takes a packet (a whole one, its body at `head`) in the middle of an enhanced authentication.
    ///
    /// # Errors
    /// [`Breach::BeforeConnAck`] (MQTT-3.1.2-30), [`Breach::ConnectAgain`] (MQTT-3.1.0-2), [`Breach::AuthNotOffered`]
    /// (MQTT-4.12.0-7), [`Breach::AuthCode`] (MQTT-4.12.0-3), [`Breach::AuthMethodChanged`] (MQTT-4.12.0-5), and those of
    /// the packets.
    pub fn packet<'a>(&self, frame: &'a [u8], head: usize) -> Result<Exchange<'a>, Breach> {
        match frame.first().map_or(0, |first| first >> 4) {
            kind::AUTH if self.protocol == Protocol::V5 => {
                let auth = Auth::read(frame, head, &self.limits)?;
                check_method(self.auth_method.as_deref(), &auth)?;
                match auth.reason {
                    ReasonCode::CONTINUE_AUTHENTICATION => Ok(Exchange::Auth(auth)),
                    _ => Err(Breach::AuthCode),
                }
            }
            kind::DISCONNECT => Disconnect::read(frame, head, self.protocol, &self.limits, self.expires_at_once)
                .map(Exchange::Disconnect),
            kind::CONNECT => Err(Breach::ConnectAgain),
            _ => Err(Breach::BeforeConnAck),
        }
    }

    /// The client is admitted and given the limits that its identity has.
    pub fn accept(self, limits: PacketLimits) -> Established {
        let ExpectDecision { protocol, expires_at_once, auth_method, .. } = self;
        Established { protocol, expires_at_once, reauthenticating: false, auth_method, limits }
    }
}

/// That AUTH was offered by CONNECT and has its method.
pub(super) fn check_method(offered: Option<&str>, auth: &Auth<'_>) -> Result<(), Breach> {
    match offered {
        None => Err(Breach::AuthNotOffered),
        Some(method) if method != auth.method => Err(Breach::AuthMethodChanged),
        Some(_) => Ok(()),
    }
}
