//! What both clients of rumqttc have in common, behind one trait.

use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::{TlsConfiguration, Transport};

use crate::cell::{Cell, Went};

/// Long for a busy machine; nothing is waited out that has happened.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Requests that wait for the event loop.
pub const REQUESTS: usize = 10;

/// A message that came. MQTT 3 has no properties.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub payload: Vec<u8>,
    pub properties: PublishProperties,
}

impl Message {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// What a client was told.
pub enum Seen {
    /// With Session Present.
    Connected(bool),
    SubAck(Vec<u8>),
    /// MQTT 3 says 0 for all.
    UnsubAck(u8),
    /// The last acknowledgement of a message, or at QoS 0 that it is written.
    Published(u8),
    Message(Message),
    /// PINGRESP.
    Pinged,
    Other,
}

/// A will: topic, payload, QoS, RETAIN.
pub type Will<'a> = (&'a str, &'a str, u8, bool);

/// What a client brings.
#[derive(Clone, Copy)]
pub struct Brings<'a> {
    /// It resumes its session, which outlives its connection.
    pub stays: bool,
    pub will: Option<Will<'a>>,
    pub keep_alive_s: u64,
    /// With a password.
    pub user: Option<(&'a str, &'a str)>,
    /// It acknowledges nothing by itself.
    pub manual_acks: bool,
}

impl Default for Brings<'_> {
    fn default() -> Self {
        Brings { stays: false, will: None, keep_alive_s: 30, user: None, manual_acks: false }
    }
}

pub trait Peer: Sized {
    /// Whether this version has reason codes.
    const TELLS_WHY: bool;
    /// A short one: that of MQTT 5 takes no less than five seconds.
    const KEEP_ALIVE_S: u64;
    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String>;
    fn send_subscribe(&self, filters: &[(&str, u8)]) -> Result<(), String>;
    fn send_unsubscribe(&self, filter: &str) -> Result<(), String>;
    fn send_publish(&self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<(), String>;
    fn send_disconnect(&self) -> Result<(), String>;
    /// What comes next; an error is the connection's end.
    fn next(&mut self, within: Duration) -> Result<Seen, String>;
    /// What came while something else was waited for.
    fn kept(&mut self) -> &mut Vec<Seen>;

    fn wait<T>(&mut self, wanted: impl Fn(&Seen) -> Option<T>) -> Result<T, String> {
        let kept = self.kept();
        if let Some((at, found)) = kept.iter().enumerate().find_map(|(at, seen)| Some((at, wanted(seen)?))) {
            kept.remove(at);
            return Ok(found);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.next(deadline.saturating_duration_since(Instant::now()))?;
            if let Some(found) = wanted(&seen) {
                return Ok(found);
            }
            self.kept().push(seen);
        }
    }

    /// That the connection ends, and what its error says.
    fn end(&mut self) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Err(why) = self.next(deadline.saturating_duration_since(Instant::now())) {
                return Ok(why);
            }
        }
        Err("the connection does not end".into())
    }

    /// Says goodbye.
    fn leave(mut self) -> Went {
        self.send_disconnect()?;
        self.end().map(drop)
    }

    /// The codes of SUBACK.
    fn subscribe_all(&mut self, filters: &[(&str, u8)]) -> Result<Vec<u8>, String> {
        self.send_subscribe(filters)?;
        self.wait(|seen| if let Seen::SubAck(codes) = seen { Some(codes.clone()) } else { None })
    }

    /// The code of SUBACK.
    fn subscribe(&mut self, filter: &str, qos: u8) -> Result<u8, String> {
        self.subscribe_all(&[(filter, qos)]).map(|codes| codes[0])
    }

    fn unsubscribe(&mut self, filter: &str) -> Result<u8, String> {
        self.send_unsubscribe(filter)?;
        self.wait(|seen| if let Seen::UnsubAck(code) = seen { Some(*code) } else { None })
    }

    /// The reason code of the last acknowledgement.
    fn publish(&mut self, topic: &str, qos: u8, payload: &str) -> Result<u8, String> {
        self.publish_as(topic, qos, false, payload.as_bytes())
    }

    fn publish_as(&mut self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<u8, String> {
        self.send_publish(topic, qos, retain, payload)?;
        self.published()
    }

    fn published(&mut self) -> Result<u8, String> {
        self.wait(|seen| if let Seen::Published(code) = seen { Some(*code) } else { None })
    }

    fn message(&mut self) -> Result<Message, String> {
        self.wait(|seen| if let Seen::Message(message) = seen { Some(message.clone()) } else { None })
    }

    /// What the next messages say.
    fn texts(&mut self, count: usize) -> Result<Vec<String>, String> {
        (0..count).map(|_| self.message().map(|message| message.text())).collect()
    }

    fn pinged(&mut self) -> Went {
        self.wait(|seen| matches!(seen, Seen::Pinged).then_some(()))
    }
}

pub fn transport(cell: &Cell) -> Transport {
    match &cell.ca {
        None => Transport::Tcp,
        Some(ca) => Transport::Tls(TlsConfiguration::Simple {
            ca: ca.clone(),
            alpn: Some(vec![b"mqtt".to_vec()]),
            client_auth: cell.shown.clone(),
        }),
    }
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
