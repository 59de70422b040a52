//! The cluster, with real processes: several nodes are one broker, and another environment's never join.

mod costs;
mod denials;
mod exclusive;
mod messages;
mod moves;
mod operators;
mod orders;
mod page;
mod partitions;
mod promise_4;
mod promise_5;
mod refused;
mod retained;
mod rolling;
mod shared;
mod strangers;
mod tenants;
mod wills;

use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Received, Tls};
use gatemq_tests::cluster::{self, Member};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{Kind, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};

/// So many nodes that know each other, with a listener whose clients may do everything.
fn started(count: usize) -> (Vec<Member>, Vec<Broker>) {
    let members = cluster::members("test", count);
    let brokers = cluster::start(members.iter().map(Member::setup));
    (members, brokers)
}

/// A client of MQTT 5 that leaves nothing behind.
fn comes(to: &Broker, client_id: &str) -> Client {
    joins(to, &Connect::new(Level::V5, client_id)).0
}

/// A client with this CONNECT, and Session Present.
fn joins(to: &Broker, connect: &Connect<'_>) -> (Client, bool) {
    to.joined(Kind::Mqtt, &Tls::new(&Pki::new("Acme"), None), connect)
}

fn signal(to: &Broker, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(to.pid()).unwrap()).unwrap(), signal).unwrap();
}

/// The end of a connection, whatever comes before.
fn expect_end(client: &mut Client) {
    while client.receive(PATIENCE).expect("an end") != Received::Closed {}
}
