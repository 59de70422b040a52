//! rumqttc's client of MQTT 3.1.1.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::{Event, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode};

use crate::cell::Cell;
use crate::peer::{Brings, Message, PACKET_BYTES_MAX, Peer, REQUESTS, Seen, text, transport};

pub struct V4 {
    client: rumqttc::Client,
    connection: rumqttc::Connection,
    kept: Vec<Seen>,
}

fn qos(qos: u8) -> Result<QoS, String> {
    rumqttc::qos(qos).map_err(|e| format!("{e:?}"))
}

impl Peer for V4 {
    const TELLS_WHY: bool = false;
    const KEEP_ALIVE_S: u64 = 2;

    fn new(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<Self, String> {
        let mut options = MqttOptions::new(name, &cell.host, cell.port);
        options.set_transport(transport(cell)).set_keep_alive(Duration::from_secs(brings.keep_alive_s));
        options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
        options.set_clean_session(!brings.stays).set_manual_acks(brings.manual_acks);
        if let Some((topic, payload, level, retain)) = brings.will {
            options.set_last_will(LastWill::new(topic, payload, qos(level)?, retain));
        }
        if let Some((user, password)) = brings.user {
            options.set_credentials(user, password);
        }
        let (client, connection) = rumqttc::Client::new(options, REQUESTS);
        Ok(V4 { client, connection, kept: Vec::new() })
    }

    fn send_subscribe(&self, filters: &[(&str, u8)]) -> Result<(), String> {
        let filters: Result<Vec<_>, String> =
            filters.iter().map(|(path, level)| Ok(SubscribeFilter::new((*path).into(), qos(*level)?))).collect();
        self.client.subscribe_many(filters?).map_err(text)
    }

    fn send_unsubscribe(&self, filter: &str) -> Result<(), String> {
        self.client.unsubscribe(filter).map_err(text)
    }

    fn send_publish(&self, topic: &str, level: u8, retain: bool, payload: &[u8]) -> Result<(), String> {
        self.client.publish(topic, qos(level)?, retain, payload).map_err(text)
    }

    fn send_disconnect(&self) -> Result<(), String> {
        self.client.disconnect().map_err(text)
    }

    fn next(&mut self, within: Duration) -> Result<Seen, String> {
        let event = self.connection.recv_timeout(within).map_err(|e| format!("{e:?}"))?.map_err(text)?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(ack)) => Seen::Connected(ack.session_present),
            Event::Incoming(Packet::SubAck(ack)) => Seen::SubAck(ack.return_codes.iter().map(code).collect()),
            Event::Incoming(Packet::UnsubAck(_)) => Seen::UnsubAck(0),
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
                Seen::Published(0)
            }
            Event::Incoming(Packet::Publish(message)) => Seen::Message(Message {
                qos: message.qos as u8,
                retain: message.retain,
                dup: message.dup,
                payload: message.payload.to_vec(),
                topic: message.topic,
                properties: PublishProperties::default(),
            }),
            Event::Incoming(Packet::PingResp) => Seen::Pinged,
            _ => Seen::Other,
        })
    }

    fn kept(&mut self) -> &mut Vec<Seen> {
        &mut self.kept
    }
}

fn code(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::Failure => 0x80,
    }
}
