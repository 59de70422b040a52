//! Clients as the broker tells plugins of them, and what they want to do.
//!
//! All fields are public: change what matters, `Connect { keep_alive_s: 0, ..connect("c-1") }`.

use std::sync::Arc;

use gatemq_plugin_loader::Session;
use gatemq_types::{Action, ActionKind, Connect, Identity, QoS, Secret};

/// A client of MQTT 5.0 over TCP, without user name, password, will and certificate.
pub fn connect(client_id: &str) -> Connect {
    Connect { connection: 7, listener: "tcp".into(), remote: ([192, 0, 2, 1], 4711).into(), ..Connect::new(client_id) }
}

/// The same with user name and password.
pub fn connect_as(client_id: &str, user: &str, password: &str) -> Connect {
    let password = Some(Secret::new(password.into()));
    Connect { user_name: Some(user.into()), password, ..connect(client_id) }
}

/// An admitted client: what `authorize` and `refresh` are asked about.
pub fn session(connect: &Connect, identity: &Identity) -> Arc<Session> {
    Session::new(connect, identity)
}

/// A PUBLISH of three bytes at QoS 1.
pub fn publish(topic: &str) -> Action {
    Action {
        kind: ActionKind::Publish,
        topic: topic.into(),
        share_group: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        payload_bytes: 3,
        options: 0,
        user_properties: Vec::new(),
    }
}

/// A SUBSCRIBE at QoS 1.
pub fn subscribe(filter: &str) -> Action {
    Action { kind: ActionKind::Subscribe, payload_bytes: 0, ..publish(filter) }
}
