//! The last state: the client is admitted.

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::frame::{Framed, frame};
use crate::connection::expect_decision::check_method;
use crate::packet::ack::Ack;
use crate::packet::auth::Auth;
use crate::packet::disconnect::Disconnect;
use crate::packet::ping;
use crate::packet::publish::Publish;
use crate::packet::subscribe::Subscribe;
use crate::packet::unsubscribe::Unsubscribe;
use crate::{Breach, PacketLimits, kind};

/// What an admitted client may send, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// A message.
    Publish(Publish<'a>),
    /// Answer to a QoS 1 message.
    PubAck(Ack<'a>),
    /// First answer to a QoS 2 message.
    PubRec(Ack<'a>),
    /// Release of a QoS 2 message.
    PubRel(Ack<'a>),
    /// Last answer to a QoS 2 message.
    PubComp(Ack<'a>),
    /// Subscription request.
    Subscribe(Subscribe<'a>),
    /// Request to end subscriptions.
    Unsubscribe(Unsubscribe<'a>),
    /// Sign of life.
    PingReq,
    /// Farewell.
    Disconnect(Disconnect<'a>),
    /// A step of a re-authentication.
    Auth(Auth<'a>),
}

/// An admitted client.
#[derive(Clone, Debug)]
pub struct Established {
    pub(super) protocol: Protocol,
    pub(super) expires_at_once: bool,
    pub(super) reauthenticating: bool,
    pub(super) auth_method: Option<Box<str>>,
    pub(super) limits: PacketLimits,
}

impl Established {
    /// Version of the client.
    #[inline]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What it may send.
    #[inline]
    pub const fn limits(&self) -> &PacketLimits {
        &self.limits
    }

    /// Gives it other limits, as a re-authentication may.
    pub const fn set_limits(&mut self, limits: PacketLimits) {
        self.limits = limits;
    }

    /// Authentication Method of the CONNECT.
    pub fn auth_method(&self) -> Option<&str> {
        self.auth_method.as_deref()
    }

    /// The packet at the start of `bytes`, at most `packet_bytes_max` long.
    ///
    /// # Errors
    /// Those of [`frame`].
    #[inline]
    pub fn frame(&self, bytes: &[u8]) -> Result<Framed, Breach> {
        frame(bytes, self.limits.packet_bytes_max)
    }

    /// Takes a packet (a whole one, its body at `head`).
    ///
    /// # Errors
    /// What it breaks.
    #[inline]
    pub fn packet<'a>(&mut self, frame: &'a [u8], head: usize) -> Result<Packet<'a>, Breach> {
        match frame.first().map_or(0, |first| first >> 4) {
            kind::PUBLISH => Publish::read(frame, head, self.protocol, &self.limits).map(Packet::Publish),
            kind::PUBACK => self.ack(frame, head).map(Packet::PubAck),
            kind::PUBREC => self.ack(frame, head).map(Packet::PubRec),
            kind::PUBREL => self.ack(frame, head).map(Packet::PubRel),
            kind::PUBCOMP => self.ack(frame, head).map(Packet::PubComp),
            other => self.rare(other, frame, head),
        }
    }

    #[inline]
    fn ack<'a>(&self, frame: &'a [u8], head: usize) -> Result<Ack<'a>, Breach> {
        Ack::read(frame, head, self.protocol, &self.limits)
    }

    /// Apart, so that the usual packets stay in line.
    #[inline(never)]
    fn rare<'a>(&mut self, kind: u8, frame: &'a [u8], head: usize) -> Result<Packet<'a>, Breach> {
        match kind {
            kind::SUBSCRIBE => Subscribe::read(frame, head, self.protocol, &self.limits).map(Packet::Subscribe),
            kind::UNSUBSCRIBE => Unsubscribe::read(frame, head, self.protocol, &self.limits).map(Packet::Unsubscribe),
            kind::PINGREQ => ping::read(frame, head, self.protocol).map(|()| Packet::PingReq),
            kind::DISCONNECT => {
                Disconnect::read(frame, head, self.protocol, &self.limits, self.expires_at_once).map(Packet::Disconnect)
            }
            kind::AUTH if self.protocol == Protocol::V5 => self.auth(frame, head),
            kind::CONNECT => Err(Breach::ConnectAgain),
            kind::CONNACK | kind::SUBACK | kind::UNSUBACK | kind::PINGRESP => Err(Breach::ServerPacket),
            _ => Err(Breach::TypeReserved),
        }
    }

    /// A re-authentication begins with 0x19 and goes on with 0x18 (MQTT-4.12.1-1, MQTT-4.12.0-3).
    fn auth<'a>(&mut self, frame: &'a [u8], head: usize) -> Result<Packet<'a>, Breach> {
        let auth = Auth::read(frame, head, &self.limits)?;
        check_method(self.auth_method.as_deref(), &auth)?;
        if self.reauthenticating != (auth.reason == ReasonCode::CONTINUE_AUTHENTICATION) {
            return Err(Breach::AuthCode);
        }
        self.reauthenticating = true;
        Ok(Packet::Auth(auth))
    }

    /// A re-authentication has ended well: the next one begins with 0x19 again.
    pub const fn reauthenticated(&mut self) {
        self.reauthenticating = false;
    }
}
