//! One version over one transport, and how a scenario says how it went. What the lines mean: see
//! `tests/interop/common.py`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::peer::{Brings, Peer, Seen};

/// How a scenario went, and why not.
pub type Went = Result<(), String>;

/// Its name, as in the table of `tests/interop/README.md`, and what it does.
pub type Scenario = (&'static str, fn(&Cell) -> Went);

pub struct Cell {
    pub version: &'static str,
    pub transport: &'static str,
    pub host: String,
    pub port: u16,
    pub ca: Option<Vec<u8>>,
    pub shown: Option<(Vec<u8>, Vec<u8>)>,
    /// With a right password.
    pub user: (String, String),
}

impl Cell {
    pub fn new(broker: &Value, version: &'static str, transport: &'static str) -> Cell {
        let text = |key: &str| broker[key].as_str().expect(key).to_owned();
        let read = |key: &str| fs::read(text(key)).expect(key);
        Cell {
            version,
            transport,
            host: text("host"),
            port: broker["ports"][transport].as_u64().expect("a port") as u16,
            ca: transport.starts_with("mqtts").then(|| read("ca")),
            shown: transport.ends_with("-cert").then(|| (read("certificate"), read("key"))),
            user: (text("user"), text("password")),
        }
    }

    /// The same over TLS without a certificate.
    pub fn without_certificate(&self) -> Cell {
        let (host, ca, user) = (self.host.clone(), self.ca.clone(), self.user.clone());
        Cell { shown: None, host, ca, user, ..*self }
    }

    pub fn name(&self, what: &str) -> String {
        format!("rumq{}{}{what}", self.version, self.transport)
    }

    pub fn topic(&self, what: &str) -> String {
        format!("interop/rumqttc/{}/{}/{what}", self.version, self.transport)
    }

    /// Runs them; how many failed.
    pub fn run(&self, scenarios: &[Scenario]) -> usize {
        let went = scenarios.iter().map(|(name, run)| {
            let went = catch_unwind(AssertUnwindSafe(|| run(self))).unwrap_or_else(|_| Err("it panicked".into()));
            let (how, why) = match &went {
                Ok(()) => ("ok", String::new()),
                Err(why) => ("FAILED", format!(": {}", why.replace('\n', " "))),
            };
            println!("{how} rumqttc {} {} {name}{why}", self.version, self.transport);
            went
        });
        went.filter(Result::is_err).count()
    }
}

pub fn equal<T: PartialEq + std::fmt::Debug>(got: T, want: T, what: &str) -> Went {
    if got == want { Ok(()) } else { Err(format!("{what} is {got:?}, not {want:?}")) }
}

pub fn check(holds: bool, what: &str) -> Went {
    if holds { Ok(()) } else { Err(what.into()) }
}

pub fn connect<P: Peer>(cell: &Cell, what: &str) -> Result<P, String> {
    connect_with(cell, what, Brings::default()).map(|(peer, _)| peer)
}

/// The client and Session Present.
pub fn connect_with<P: Peer>(cell: &Cell, what: &str, brings: Brings<'_>) -> Result<(P, bool), String> {
    connect_as(cell, &cell.name(what), brings)
}

/// As [`connect_with`], with a client id of its own.
pub fn connect_as<P: Peer>(cell: &Cell, name: &str, brings: Brings<'_>) -> Result<(P, bool), String> {
    let mut peer = P::new(cell, name, brings)?;
    let present = peer.wait(|seen| if let Seen::Connected(present) = seen { Some(*present) } else { None })?;
    Ok((peer, present))
}
