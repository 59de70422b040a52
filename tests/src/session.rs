//! What a raw client needs to have a session: CONNECT with everything in it, CONNACK and PUBLISH taken apart, each
//! acknowledgement by hand.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Kind;
use crate::broker::Broker;
use crate::client::{Client, Packet, Tls, Version, packet, text};

/// A version of the protocol, 3.1 included, which differs from 3.1.1 in the CONNECT alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// 3.1
    V31,
    /// 3.1.1
    V311,
    /// 5.0
    V5,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 3] = [Level::V31, Level::V311, Level::V5];

    /// How packets other than CONNECT look.
    pub fn version(self) -> Version {
        match self {
            Level::V31 | Level::V311 => Version::V3,
            Level::V5 => Version::V5,
        }
    }
}

/// A will.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Will Delay Interval in seconds; 0 is not sent.
    pub delay_s: u32,
}

impl<'a> Will<'a> {
    /// At QoS 1, not retained, without delay.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Will<'a> {
        Will { topic, payload, qos: 1, retain: false, delay_s: 0 }
    }
}

/// A CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// Version.
    pub level: Level,
    /// Client identifier.
    pub client_id: &'a str,
    /// User name; the password is `x`.
    pub user: Option<&'a str>,
    /// Clean Start, or Clean Session of MQTT 3.
    pub clean: bool,
    /// Keep Alive in seconds.
    pub keep_alive_s: u16,
    /// Session Expiry Interval in seconds; MQTT 3 has none.
    pub expiry_s: Option<u32>,
    /// Receive Maximum; MQTT 3 has none.
    pub receive_max: Option<u16>,
    /// Will.
    pub will: Option<Will<'a>>,
}

impl<'a> Connect<'a> {
    /// A client that leaves nothing behind: clean, keep alive 60 s.
    pub fn new(level: Level, client_id: &'a str) -> Connect<'a> {
        Connect {
            level,
            client_id,
            user: None,
            clean: true,
            keep_alive_s: 60,
            expiry_s: None,
            receive_max: None,
            will: None,
        }
    }

    /// A client whose session outlives its connection, by 1,000 s where the version can say so, and which resumes the one
    /// that it has.
    pub fn stays(level: Level, client_id: &'a str) -> Connect<'a> {
        let expiry_s = (level == Level::V5).then_some(1000);
        Connect { clean: false, expiry_s, ..Connect::new(level, client_id) }
    }

    /// With this will.
    pub fn will(self, will: Will<'a>) -> Connect<'a> {
        Connect { will: Some(will), ..self }
    }

    /// The packet.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = match self.level {
            Level::V31 => ("MQIsdp", 3),
            Level::V311 => ("MQTT", 4),
            Level::V5 => ("MQTT", 5),
        };
        text(&mut body, name);
        let will = self.will.map_or(0, |will| 4 | will.qos << 3 | u8::from(will.retain) << 5);
        let user = if self.user.is_some() { 0b1100_0000 } else { 0 };
        body.extend([level, user | will | u8::from(self.clean) << 1]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.level == Level::V5 {
            let expiry = self.expiry_s.into_iter().flat_map(|s| [[0x11].as_slice(), &s.to_be_bytes()].concat());
            let receive = self.receive_max.into_iter().flat_map(|n| [[0x21].as_slice(), &n.to_be_bytes()].concat());
            properties(&mut body, &expiry.chain(receive).collect::<Vec<u8>>());
        }
        text(&mut body, self.client_id);
        if let Some(will) = self.will {
            if self.level == Level::V5 {
                let delay = Some(will.delay_s).filter(|s| *s > 0);
                let delay = delay.into_iter().flat_map(|s| [[0x18].as_slice(), &s.to_be_bytes()].concat());
                properties(&mut body, &delay.collect::<Vec<u8>>());
            }
            text(&mut body, will.topic);
            body.extend(u16::try_from(will.payload.len()).expect("at most 65,535 bytes").to_be_bytes());
            body.extend_from_slice(will.payload);
        }
        if let Some(user) = self.user {
            text(&mut body, user);
            text(&mut body, "x");
        }
        packet(0x10, &body)
    }
}

/// Fewer than 128 bytes of properties.
fn properties(body: &mut Vec<u8>, properties: &[u8]) {
    assert!(properties.len() < 128, "their length would take two bytes");
    body.push(u8::try_from(properties.len()).expect("below 128"));
    body.extend_from_slice(properties);
}

/// A CONNACK.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnAck {
    /// Session Present.
    pub session_present: bool,
    /// Reason code, or the return code of MQTT 3.
    pub code: u8,
    /// Properties by their identifiers, those that are numbers.
    pub numbers: Vec<(u8, u32)>,
}

impl ConnAck {
    /// # Panics
    /// When it is none.
    pub fn read(packet: &Packet, version: Version) -> ConnAck {
        assert!(packet.first == 0x20 && packet.body.len() >= 2, "wanted a CONNACK, got {packet:?}");
        let (flags, code) = (packet.body[0], packet.body[1]);
        assert!(flags & !1 == 0, "reserved flags of {packet:?}");
        let numbers = match version {
            Version::V3 => Vec::new(),
            Version::V5 => {
                let (length, at) = length_of(&packet.body[2..]);
                numbers(&packet.body[2 + at..2 + at + length])
            }
        };
        ConnAck { session_present: flags == 1, code, numbers }
    }

    /// A property that is a number.
    pub fn number(&self, identifier: u8) -> Option<u32> {
        self.numbers.iter().find(|(id, _)| *id == identifier).map(|(_, value)| *value)
    }
}

/// A variable byte integer and how many bytes it takes.
fn length_of(bytes: &[u8]) -> (usize, usize) {
    let (mut value, mut at) = (0, 0);
    loop {
        value |= usize::from(bytes[at] & 0x7F) << (7 * at);
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (value, at);
        }
    }
}

/// The properties that are numbers (2.2.2.2); the others are passed over.
fn numbers(mut properties: &[u8]) -> Vec<(u8, u32)> {
    let mut found = Vec::new();
    while let Some((&identifier, rest)) = properties.split_first() {
        let string = |at: usize| 2 + usize::from(u16::from_be_bytes([rest[at], rest[at + 1]]));
        let (bytes, is_number) = match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => (1, true),
            0x13 | 0x21..=0x23 => (2, true),
            0x02 | 0x11 | 0x18 | 0x27 => (4, true),
            0x26 => (string(0) + string(string(0)), false),
            0x0B => (length_of(rest).1, false),
            _ => (string(0), false),
        };
        if is_number {
            found.push((identifier, rest[..bytes].iter().fold(0, |n, byte| n << 8 | u32::from(*byte))));
        }
        properties = &rest[bytes..];
    }
    found
}

/// A PUBLISH as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic name.
    pub topic: String,
    /// Packet identifier, 0 at QoS 0.
    pub id: u16,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// # Panics
    /// When it is none.
    pub fn read(packet: &Packet, version: Version) -> Message {
        assert!(packet.kind() == 3, "wanted a PUBLISH, got {packet:?}");
        let (flags, body) = (packet.first, &packet.body);
        let qos = flags >> 1 & 3;
        let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..at].to_vec()).expect("UTF-8");
        let id = if qos > 0 { u16::from_be_bytes([body[at], body[at + 1]]) } else { 0 };
        at += if qos > 0 { 2 } else { 0 };
        if version == Version::V5 {
            let (length, bytes) = length_of(&body[at..]);
            at += bytes + length;
        }
        Message { dup: flags & 8 != 0, qos, retain: flags & 1 != 0, topic, id, payload: body[at..].to_vec() }
    }

    /// The payload as text, for what tests send is text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("UTF-8")
    }
}

/// PUBACK, PUBREC, PUBREL (with its flags) and PUBCOMP, as first bytes.
pub mod ack {
    #![allow(missing_docs)]
    pub const PUBACK: u8 = 0x40;
    pub const PUBREC: u8 = 0x50;
    pub const PUBREL: u8 = 0x62;
    pub const PUBCOMP: u8 = 0x70;
}

impl Client {
    /// Says this CONNECT, which must be of the client's version; what the CONNACK says.
    ///
    /// # Panics
    /// When something else comes.
    pub fn greet(&mut self, connect: &Connect<'_>) -> ConnAck {
        assert_eq!(self.version(), connect.level.version(), "opened with another version");
        self.send(&connect.bytes()).expect("CONNECT");
        ConnAck::read(&self.packet(), self.version())
    }

    /// The next packet, which must be a PUBLISH. It is not acknowledged.
    ///
    /// # Panics
    /// When something else comes.
    pub fn next_message(&mut self) -> Message {
        Message::read(&self.packet(), self.version())
    }

    /// As [`Client::next_message`], and acknowledged to the end.
    ///
    /// # Panics
    /// When something else comes.
    pub fn take_message(&mut self) -> Message {
        let message = self.next_message();
        match message.qos {
            0 => {}
            1 => self.send_ack(ack::PUBACK, message.id).expect("PUBACK"),
            _ => {
                self.send_ack(ack::PUBREC, message.id).expect("PUBREC");
                assert_eq!(self.expect_ack(ack::PUBREL, message.id), 0);
                self.send_ack(ack::PUBCOMP, message.id).expect("PUBCOMP");
            }
        }
        message
    }

    /// Sends an acknowledgement without a reason code.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_ack(&mut self, first: u8, id: u16) -> io::Result<()> {
        self.send_packet(first, &id.to_be_bytes())
    }

    /// The next packet that is no PUBLISH, which must be this acknowledgement of this id: its reason code.
    ///
    /// # Panics
    /// When something else comes.
    pub fn expect_ack(&mut self, first: u8, id: u16) -> u8 {
        let packet = self.answer();
        let fits = packet.first == first && packet.body.starts_with(&id.to_be_bytes());
        assert!(fits, "wanted {first:#04x} for {id}, got {packet:?}");
        packet.body.get(2).copied().unwrap_or(0)
    }

    /// Sends a PUBLISH with a packet id of its own choice and these flags (DUP, QoS, RETAIN).
    ///
    /// # Errors
    /// Those of the socket.
    pub fn publish_as(&mut self, flags: u8, topic: &str, id: u16, payload: &[u8]) -> io::Result<()> {
        let mut body = Vec::new();
        text(&mut body, topic);
        if flags & 6 != 0 {
            body.extend(id.to_be_bytes());
        }
        if self.version() == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(payload);
        self.send_packet(0x30 | flags, &body)
    }

    /// Publishes, and at QoS 1 and 2 acknowledges to the end: the last reason code, 0 at QoS 0.
    ///
    /// # Panics
    /// When something else than acknowledgements comes.
    pub fn published(&mut self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> u8 {
        let id = self.next_id();
        self.publish_as(qos << 1 | u8::from(retain), topic, id, payload).expect("PUBLISH");
        match qos {
            0 => return 0,
            1 => return self.expect_ack(ack::PUBACK, id),
            _ => {}
        }
        match self.expect_ack(ack::PUBREC, id) {
            0 | 0x10 => {
                self.send_ack(ack::PUBREL, id).expect("PUBREL");
                self.expect_ack(ack::PUBCOMP, id)
            }
            refused => refused,
        }
    }

    /// Ends a subscription: the code of UNSUBACK, of which MQTT 3 has none.
    ///
    /// # Panics
    /// When something else comes.
    pub fn unsubscribe(&mut self, filter: &str) -> Option<u8> {
        let mut body = self.next_id().to_be_bytes().to_vec();
        let id = body.clone();
        if self.version() == Version::V5 {
            body.push(0);
        }
        text(&mut body, filter);
        self.send_packet(0xA2, &body).expect("UNSUBSCRIBE");
        let answer = self.answer();
        assert!(answer.first == 0xB0 && answer.body.starts_with(&id), "wanted an UNSUBACK, got {answer:?}");
        answer.body[2..].last().copied()
    }

    /// Says DISCONNECT with this code and, where there is one, this Session Expiry Interval. MQTT 5 only.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn say_goodbye(&mut self, code: u8, expiry_s: Option<u32>) -> io::Result<()> {
        let mut body = vec![code];
        let expiry = expiry_s.into_iter().flat_map(|s| [[0x11].as_slice(), &s.to_be_bytes()].concat());
        properties(&mut body, &expiry.collect::<Vec<u8>>());
        self.send_packet(0xE0, &body)
    }

    /// The next packet, which must be a DISCONNECT, and the end: its reason code. MQTT 3 is told nothing, which is `None`.
    ///
    /// # Panics
    /// When something else comes.
    pub fn expect_goodbye(&mut self) -> Option<u8> {
        let code = (self.version() == Version::V5).then(|| {
            let packet = self.packet();
            assert!(packet.first == 0xE0, "wanted a DISCONNECT, got {packet:?}");
            packet.body.first().copied().unwrap_or(0)
        });
        self.expect_closed();
        code
    }

    /// That nothing is on its way to this client but what was sent after it: another one, of the same tenant, publishes to
    /// a topic of its own below `fence/`, and that is what comes next. It must not be subscribed to it already.
    ///
    /// # Panics
    /// When something else comes first.
    pub fn nothing_came(&mut self, other: &mut Client) {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let fence = format!("fence/{}", LAST.fetch_add(1, Ordering::Relaxed));
        assert_eq!(self.subscribe(&fence, 1), 1);
        assert_eq!(other.published(&fence, 1, false, b"fence"), 0);
        let next = self.take_message();
        assert_eq!(next.topic, fence, "came instead of nothing: {next:?}");
    }
}

impl Broker {
    /// Connects to the listener of this kind with this CONNECT: the client, admitted or not, and the CONNACK.
    ///
    /// # Panics
    /// When there is no CONNACK.
    pub fn greeted(&self, kind: Kind, tls: &Tls, connect: &Connect<'_>) -> (Client, ConnAck) {
        let mut client = self.open(kind, tls, connect.level.version());
        let answer = client.greet(connect);
        (client, answer)
    }

    /// As [`Broker::greeted`], for who is admitted: the client and Session Present.
    ///
    /// # Panics
    /// When it is not.
    pub fn joined(&self, kind: Kind, tls: &Tls, connect: &Connect<'_>) -> (Client, bool) {
        let (client, answer) = self.greeted(kind, tls, connect);
        assert_eq!(answer.code, 0, "{} is refused on {}: {answer:?}", connect.client_id, kind.name());
        (client, answer.session_present)
    }
}
