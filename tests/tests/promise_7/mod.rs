//! Promise 7, on one node: a bad client can be named and stopped within a second, and nobody can have somebody else denied.
//!
//! | module | what it shows |
//! |---|---|
//! | [`stopped`] | each kind of denial: kicked, refused at the earliest point, also after a restart, and let in when it is lifted |
//! | [`attacks`] | what must not be possible |
//! | [`guard`] | the whole story, with the plugin that finds bad clients |
//! | [`services`] | what else plugins may ask of the broker |

mod attacks;
mod guard;
mod services;
mod stopped;

use std::net::Ipv4Addr;

use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Version};
use gatemq_tests::pki::Credentials;
use gatemq_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// CONNACK and reason code: Banned.
const BANNED: u8 = 0x8A;
/// DISCONNECT: Administrative action. 0x8A is for CONNACK alone (MQTT 5.0, table 3-13).
const ADMINISTRATIVE_ACTION: u8 = 0x98;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn leaf(credentials: &Credentials) -> Value {
    json!({"kind": "certificate", "sha256": hex(&Sha256::digest(&credentials.chain[0]))})
}

fn key(credentials: &Credentials) -> Value {
    json!({"kind": "key", "sha256": hex(&Sha256::digest(credentials.key_info()))})
}

fn user(tenant: &str, user: &str) -> Value {
    json!({"kind": "user", "tenant": tenant, "user": user})
}

fn client(tenant: &str, user: &str, client_id: &str) -> Value {
    json!({"kind": "client", "tenant": tenant, "user": user, "client_id": client_id})
}

fn address(ip: Ipv4Addr) -> Value {
    json!({"kind": "address", "address": ip.to_string(), "bits": 32})
}

/// The CONNACK's code from this address; `None`: the connection ends instead.
fn code_from(broker: &Broker, source: Ipv4Addr, client_id: &str) -> Option<(Client, u8)> {
    let mut client = Client::tcp_from(source, broker.address("plain"), Version::V5).ok()?;
    let code = client.connect(client_id).ok()?;
    Some((client, code))
}

/// Somebody at this address fails to authenticate: what an address may be denied for.
fn fail_from(broker: &mut Broker, source: Ipv4Addr) {
    assert_eq!(code_from(broker, source, "fault-reject").expect("a CONNACK").1, 0x86);
    let from = format!("{source}:");
    broker.tape().wait_for("its failure", |e| {
        e["event"] == "ClientRefused" && e["remote"].as_str().is_some_and(|remote| remote.starts_with(&from))
    });
}

/// A client from this address, as soon as it is let in.
fn admitted_soon(broker: &Broker, source: Ipv4Addr, client_id: &str) -> Client {
    wait_for("it is let in", PATIENCE, || {
        code_from(broker, source, client_id).filter(|(_, code)| *code == 0).map(|(client, _)| client)
    })
}
