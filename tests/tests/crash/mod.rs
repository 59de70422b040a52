//! Promise 5 for one node: what was acknowledged is there after `kill -9`, and after a power cut.

pub(crate) mod load;
pub(crate) mod publisher;
mod resend;
mod shared;
mod store;
pub(crate) mod subscriber;
mod survives;
mod wills;

use gatemq_tests::Kind;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::Connect;

/// A broker whose clients may do everything.
fn setup() -> Setup {
    Setup::new().mqtt("mqtt").faults(r##"config.grants = [{ allow = ["all"], filter = "#", share_groups = ["*"] }]"##)
}

/// A broker that is killed as soon as something is acknowledged.
struct Node {
    broker: Broker,
    tls: Tls,
}

impl Node {
    fn start(setup: Setup) -> Node {
        Node { broker: setup.start(), tls: Tls::new(&Pki::new("Acme"), None) }
    }

    fn join(&self, connect: &Connect<'_>) -> (Client, bool) {
        self.broker.joined(Kind::Mqtt, &self.tls, connect)
    }

    /// Clients keep their connections until the broker is gone.
    fn crash(self, crash: &mut impl FnMut(Setup) -> Setup) -> Node {
        Node { broker: crash(self.broker.kill()).start(), tls: self.tls }
    }
}
