//! The two clients of rumqttc behind one trait.

use std::time::{Duration, Instant};

use rumqttc::{TlsConfiguration, Transport, v5};

use crate::Cell;

/// Long for a busy machine; nothing is waited out that has happened.
const PATIENCE: Duration = Duration::from_secs(20);
const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Requests that wait for the event loop.
const REQUESTS: usize = 10;

/// What a client was told.
pub enum Seen {
    /// With Session Present.
    Connected(bool),
    SubAck(u8),
    /// The last acknowledgement of a message, or at QoS 0 that it is written.
    Published(u8),
    Message {
        topic: String,
        qos: u8,
        retain: bool,
        payload: Vec<u8>,
    },
    Other,
}

/// What a client brings.
#[derive(Clone, Copy, Default)]
pub struct Brings<'a> {
    /// It resumes its session, which outlives its connection.
    pub stays: bool,
    /// A will at QoS 1: topic and payload.
    pub will: Option<(&'a str, &'a str)>,
}

pub trait Peer: Sized {
    /// Whether this version has reason codes.
    const TELLS_WHY: bool;
    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String>;
    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), String>;
    fn publish(&self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<(), String>;
    fn disconnect(&self) -> Result<(), String>;
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

    /// That the connection ends.
    fn end(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.next(deadline.saturating_duration_since(Instant::now())).is_err() {
                return Ok(());
            }
        }
        Err("the connection does not end".into())
    }
}

fn transport(cell: &Cell) -> Transport {
    match &cell.ca {
        None => Transport::Tcp,
        Some(ca) => Transport::Tls(TlsConfiguration::Simple {
            ca: ca.clone(),
            alpn: Some(vec![b"mqtt".to_vec()]),
            client_auth: cell.shown.clone(),
        }),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub struct V4 {
    client: rumqttc::Client,
    connection: rumqttc::Connection,
    kept: Vec<Seen>,
}

impl Peer for V4 {
    const TELLS_WHY: bool = false;

    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String> {
        let mut options = rumqttc::MqttOptions::new(name, &cell.host, cell.port);
        options.set_transport(transport(cell)).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
        options.set_clean_session(!brings.stays);
        if let Some((topic, payload)) = brings.will {
            options.set_last_will(rumqttc::LastWill::new(topic, payload, rumqttc::QoS::AtLeastOnce, false));
        }
        let (client, connection) = rumqttc::Client::new(options, REQUESTS);
        Ok(V4 { client, connection, kept: Vec::new() })
    }

    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), String> {
        self.client.subscribe(filter, rumqttc::qos(qos).map_err(|e| format!("{e:?}"))?).map_err(text)
    }

    fn publish(&self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<(), String> {
        let qos = rumqttc::qos(qos).map_err(|e| format!("{e:?}"))?;
        self.client.publish(topic, qos, retain, payload).map_err(text)
    }

    fn disconnect(&self) -> Result<(), String> {
        self.client.disconnect().map_err(text)
    }

    fn next(&mut self, within: Duration) -> Result<Seen, String> {
        use rumqttc::{Event, Outgoing, Packet};
        let event = self.connection.recv_timeout(within).map_err(|e| format!("{e:?}"))?.map_err(text)?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(ack)) => Seen::Connected(ack.session_present),
            Event::Incoming(Packet::SubAck(ack)) => Seen::SubAck(match ack.return_codes[0] {
                rumqttc::SubscribeReasonCode::Success(qos) => qos as u8,
                rumqttc::SubscribeReasonCode::Failure => 0x80,
            }),
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
                Seen::Published(0)
            }
            Event::Incoming(Packet::Publish(message)) => {
                let (qos, retain) = (message.qos as u8, message.retain);
                Seen::Message { topic: message.topic, qos, retain, payload: message.payload.to_vec() }
            }
            _ => Seen::Other,
        })
    }

    fn kept(&mut self) -> &mut Vec<Seen> {
        &mut self.kept
    }
}

pub struct V5 {
    client: v5::Client,
    connection: v5::Connection,
    kept: Vec<Seen>,
}

impl Peer for V5 {
    const TELLS_WHY: bool = true;

    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String> {
        let mut options = v5::MqttOptions::new(name, &cell.host, cell.port);
        options.set_transport(transport(cell)).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(Some(PACKET_BYTES_MAX));
        options.set_clean_start(!brings.stays);
        options.set_session_expiry_interval(brings.stays.then_some(1000));
        if let Some((topic, payload)) = brings.will {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            options.set_last_will(v5::mqttbytes::v5::LastWill::new(topic, payload, qos, false, None));
        }
        let (client, connection) = v5::Client::new(options, REQUESTS);
        Ok(V5 { client, connection, kept: Vec::new() })
    }

    fn subscribe(&self, filter: &str, qos: u8) -> Result<(), String> {
        self.client.subscribe(filter, v5::mqttbytes::qos(qos).ok_or("a QoS")?).map_err(text)
    }

    fn publish(&self, topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Result<(), String> {
        let qos = v5::mqttbytes::qos(qos).ok_or("a QoS")?;
        self.client.publish(topic, qos, retain, payload.to_vec()).map_err(text)
    }

    fn disconnect(&self) -> Result<(), String> {
        self.client.disconnect().map_err(text)
    }

    fn next(&mut self, within: Duration) -> Result<Seen, String> {
        use rumqttc::Outgoing;
        use v5::Event;
        use v5::mqttbytes::v5::{Packet, PubAckReason, PubRecReason, SubscribeReasonCode};
        let event = self.connection.recv_timeout(within).map_err(|e| format!("{e:?}"))?.map_err(text)?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(ack)) => Seen::Connected(ack.session_present),
            Event::Incoming(Packet::SubAck(ack)) => Seen::SubAck(match ack.return_codes[0] {
                SubscribeReasonCode::Success(qos) => qos as u8,
                SubscribeReasonCode::NotAuthorized => 0x87,
                _ => 0x80,
            }),
            Event::Incoming(Packet::PubAck(ack)) => Seen::Published(match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => 0,
                PubAckReason::NotAuthorized => 0x87,
                _ => 0x80,
            }),
            // A refused QoS 2 message ends with its PUBREC.
            Event::Incoming(Packet::PubRec(ack)) if ack.reason == PubRecReason::NotAuthorized => Seen::Published(0x87),
            Event::Incoming(Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => Seen::Published(0),
            Event::Incoming(Packet::Publish(message)) => Seen::Message {
                topic: String::from_utf8_lossy(&message.topic).into_owned(),
                qos: message.qos as u8,
                retain: message.retain,
                payload: message.payload.to_vec(),
            },
            _ => Seen::Other,
        })
    }

    fn kept(&mut self) -> &mut Vec<Seen> {
        &mut self.kept
    }
}
