//! rumqttc's client of MQTT 5.

use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, Filter, LastWill, LastWillProperties, Packet, PubAckReason, PubRecReason, Publish,
    PublishProperties, SubscribeProperties, SubscribeReasonCode, UnsubAckReason,
};
use rumqttc::v5::mqttbytes::{QoS, qos as level};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};

use crate::cell::{Cell, Went};
use crate::peer::{Brings, Message, PACKET_BYTES_MAX, Peer, REQUESTS, Seen, text, transport};

pub struct V5 {
    client: Client,
    connection: Connection,
    kept: Vec<Seen>,
    connack: Option<ConnAckProperties>,
    /// Messages that came, for who acknowledges them by hand.
    unacknowledged: Vec<Publish>,
}

pub fn qos(qos: u8) -> Result<QoS, String> {
    level(qos).ok_or_else(|| format!("{qos} is no QoS"))
}

impl V5 {
    /// As [`Peer::new`], with options of MQTT 5.
    pub fn with(
        cell: &Cell,
        name: &str,
        brings: Brings<'_>,
        will: Option<LastWillProperties>,
        more: impl FnOnce(&mut MqttOptions) -> &mut MqttOptions,
    ) -> Result<Self, String> {
        let mut options = MqttOptions::new(name, &cell.host, cell.port);
        options.set_transport(transport(cell)).set_keep_alive(Duration::from_secs(brings.keep_alive_s));
        options.set_max_packet_size(Some(PACKET_BYTES_MAX));
        options.set_clean_start(!brings.stays).set_manual_acks(brings.manual_acks);
        options.set_session_expiry_interval(brings.stays.then_some(1000));
        if let Some((topic, payload, level, retain)) = brings.will {
            options.set_last_will(LastWill::new(topic, payload, qos(level)?, retain, will));
        }
        if let Some((user, password)) = brings.user {
            options.set_credentials(user, password);
        }
        more(&mut options);
        let (client, connection) = Client::new(options, REQUESTS);
        let (kept, unacknowledged) = (Vec::new(), Vec::new());
        Ok(V5 { client, connection, kept, connack: None, unacknowledged })
    }

    /// Waits for CONNACK; Session Present.
    pub fn connected(&mut self) -> Result<bool, String> {
        self.wait(|seen| if let Seen::Connected(present) = seen { Some(*present) } else { None })
    }

    /// Properties of CONNACK. The broker always has some.
    pub fn connack(&self) -> Result<ConnAckProperties, String> {
        self.connack.clone().ok_or_else(|| "CONNACK has no properties".into())
    }

    /// The code of the last acknowledgement.
    pub fn publish_with(&mut self, topic: &str, payload: &str, with: PublishProperties) -> Result<u8, String> {
        let payload = payload.as_bytes().to_vec();
        self.client.publish_with_properties(topic, QoS::AtLeastOnce, false, payload, with).map_err(text)?;
        self.published()
    }

    /// The code of SUBACK.
    pub fn subscribe_with(&mut self, filter: Filter, with: SubscribeProperties) -> Result<u8, String> {
        self.client.subscribe_many_with_properties([filter], with).map_err(text)?;
        self.wait(|seen| if let Seen::SubAck(codes) = seen { Some(codes[0]) } else { None })
    }

    /// Acknowledges the first message that is not.
    pub fn acknowledge(&mut self) -> Went {
        let first = self.unacknowledged.remove(0);
        self.client.ack(&first).map_err(text)
    }
}

impl Peer for V5 {
    const TELLS_WHY: bool = true;
    const KEEP_ALIVE_S: u64 = 5;

    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String> {
        Self::with(cell, name, brings, None, |options| options)
    }

    fn send_subscribe(&self, filters: &[(&str, u8)]) -> Result<(), String> {
        let filters: Result<Vec<_>, String> =
            filters.iter().map(|(path, level)| Ok(Filter::new(*path, qos(*level)?))).collect();
        self.client.subscribe_many(filters?).map_err(text)
    }

    fn send_unsubscribe(&self, filter: &str) -> Result<(), String> {
        self.client.unsubscribe(filter).map_err(text)
    }

    fn send_publish(&self, topic: &str, level: u8, retain: bool, payload: &[u8]) -> Result<(), String> {
        self.client.publish(topic, qos(level)?, retain, payload.to_vec()).map_err(text)
    }

    fn send_disconnect(&self) -> Result<(), String> {
        self.client.disconnect().map_err(text)
    }

    fn next(&mut self, within: Duration) -> Result<Seen, String> {
        let event = self.connection.recv_timeout(within).map_err(|e| format!("{e:?}"))?.map_err(text)?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(ack)) => {
                self.connack = ack.properties;
                Seen::Connected(ack.session_present)
            }
            Event::Incoming(Packet::SubAck(ack)) => Seen::SubAck(ack.return_codes.iter().map(suback).collect()),
            Event::Incoming(Packet::UnsubAck(ack)) => Seen::UnsubAck(match ack.reasons[0] {
                UnsubAckReason::Success => 0,
                UnsubAckReason::NoSubscriptionExisted => 0x11,
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
            Event::Incoming(Packet::Publish(message)) => {
                let seen = Seen::Message(Message {
                    topic: String::from_utf8_lossy(&message.topic).into_owned(),
                    qos: message.qos as u8,
                    retain: message.retain,
                    dup: message.dup,
                    payload: message.payload.to_vec(),
                    properties: message.properties.clone().unwrap_or_default(),
                });
                self.unacknowledged.push(message);
                seen
            }
            Event::Incoming(Packet::PingResp(_)) => Seen::Pinged,
            _ => Seen::Other,
        })
    }

    fn kept(&mut self) -> &mut Vec<Seen> {
        &mut self.kept
    }
}

fn suback(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::NotAuthorized => 0x87,
        _ => 0x80,
    }
}
