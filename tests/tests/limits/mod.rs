//! Limits of clients and tenants: each has a key and, where it is a client's, an identity may lower it; each is told.
//!
//! | module | limits |
//! |---|---|
//! | [`packets`] | of one packet |
//! | [`clients`] | of what one client has |
//! | [`rates`] | of what is published per second |
//! | [`tenants`] | of what all clients of a tenant have |
//!
//! Retained messages are in `retained.rs`, rounds of authentication in `exchange.rs`, sessions that are away in `sessions.rs`,
//! what slow clients cost others in `slow.rs`.

mod clients;
mod packets;
mod rates;
mod tenants;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::Client;
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};
use serde_json::Value;

/// With these keys below `limits.`.
fn keyed(setup: Setup, keys: &[(&str, &str)]) -> Setup {
    keys.iter().fold(setup, |setup, (key, value)| setup.argument("--set").argument(&format!("limits.{key}={value}")))
}

/// With these keys below `limits.`, and these limits of every identity.
fn limited(keys: &[(&str, &str)], identity: &str) -> Setup {
    keyed(Setup::new().mqtt("mqtt").tape().faults(&format!("config.limits = {{ {identity} }}")), keys)
}

/// Two tenants, `one` and `two`, two workers, and these keys.
fn two_tenants(keys: &[(&str, &str)]) -> Broker {
    let setup = Setup::new().two_tenants(&Pki::new("Acme")).tape().toml("[auth]\nchain = [\"one\"]");
    keyed(setup.argument("--set").argument("node.workers=2"), keys).start()
}

fn client(broker: &Broker, connect: &Connect<'_>) -> Client {
    admitted(broker, "mqtt", connect)
}

fn of(broker: &Broker, tenant: &str, id: &str) -> Client {
    admitted(broker, &format!("{tenant}-mqtt"), &Connect::new(Level::V5, id))
}

fn admitted(broker: &Broker, listener: &str, connect: &Connect<'_>) -> Client {
    let (client, code) = greeted(broker, listener, connect);
    assert_eq!(code, 0, "{}", connect.client_id);
    client
}

/// A client and the code of its CONNACK.
fn greeted(broker: &Broker, listener: &str, connect: &Connect<'_>) -> (Client, u8) {
    let mut client = Client::tcp(broker.address(listener), connect.level.version()).unwrap();
    let code = client.greet(connect).code;
    (client, code)
}

/// Events of a limit for one client, up to the end of its connection.
fn told(broker: &mut Broker, client_id: &str) -> Vec<Value> {
    broker.tape().wait_for_client("ClientDisconnected", client_id);
    let of = |e: &&Value| e["event"] == "LimitExceeded" && e["client_id"] == client_id;
    broker.tape().events().iter().filter(of).map(|e| e["fields"].clone()).collect()
}

/// As [`told`], of which there is one, of this limit.
fn told_once(broker: &mut Broker, client_id: &str, which: &str, max: u64, action: &str) {
    let events = told(broker, client_id);
    assert_eq!(events.len(), 1, "{client_id}: {events:?}");
    let event = &events[0];
    assert_eq!((&event["which"], &event["max"], &event["action"]), (&which.into(), &max.into(), &action.into()));
}

/// Events of a limit of a tenant, whoever reached it, up to the end of this client's connection.
fn told_of_tenant(broker: &mut Broker, which: &str, until: &str) -> Vec<Value> {
    broker.tape().wait_for_client("ClientDisconnected", until);
    let of = |e: &&Value| e["event"] == "LimitExceeded" && e["fields"]["which"] == which;
    broker.tape().events().iter().filter(of).cloned().collect()
}
