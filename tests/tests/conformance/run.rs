//! Plays a case against the broker.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::cases::{Action, Case, Packet, Step};
use super::decode::decode;
use super::named::{Named, Value};
use super::raw::{self, Piece};
use super::wire::{Came, Wire};
use super::{Version, encode, expect};

/// Values that were seen, by the names that the case gives them.
pub(crate) type Variables = HashMap<String, Vec<u8>>;

/// Where a case is played.
pub(crate) struct Place {
    /// Its address: the broker makes a tenant of each, so that cases do not meet.
    pub(crate) source: Ipv4Addr,
    /// The listener.
    pub(crate) broker: SocketAddr,
    /// How long it waits for what must come.
    pub(crate) patience: Duration,
}

struct Play<'a> {
    place: &'a Place,
    version: Version,
    connections: HashMap<String, Connection>,
    variables: Variables,
}

struct Connection {
    wire: Wire,
    /// Came before something that a step asked for.
    waiting: VecDeque<Came>,
}

/// Plays all steps.
///
/// # Errors
/// The step that goes wrong, and how.
pub(crate) fn play(case: &Case, version: Version, place: &Place) -> Result<(), String> {
    let mut play = Play { place, version, connections: HashMap::new(), variables: Variables::new() };
    for step in case.steps.iter().filter(|step| step.versions.contains(&version)) {
        play.step(step).map_err(|why| format!("{}: {why}", step.place))?;
    }
    Ok(())
}

impl Play<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let name = &step.connection;
        match &step.action {
            Action::Send(packet) => {
                let bytes = self.bytes(packet)?;
                self.send(name, &bytes)
            }
            Action::Expect(packet) => {
                let came = self.next(name)?;
                self.is(&came, packet).then_some(()).ok_or_else(|| self.instead(&came))
            }
            Action::ExpectAmong(packet) => self.among(name, packet),
            Action::ExpectBytes(pieces) => self.expect_bytes(name, pieces),
            Action::ExpectHead(text) => {
                let patience = self.place.patience;
                let head = self.connection(name)?.wire.head(patience)?;
                let has = |text: &str| head.to_lowercase().contains(&text.to_lowercase());
                if has(text) { Ok(()) } else { Err(format!("instead: {head}")) }
            }
            Action::Joins(connect) => {
                self.send_named(name, connect)?;
                let persistent = connect.fields.iter().any(|(name, _)| name == "persistent" || name == "clean");
                let fields = if persistent { vec![("present", Value::Any)] } else { vec![] };
                self.expect_named(name, "CONNACK", [vec![("code", Value::Is(b"0".to_vec()))], fields].concat())
            }
            Action::Takes(subscribe) => {
                self.send_named(name, subscribe)?;
                let granted = subscribe.fields.iter().filter(|(name, _)| name == "filter");
                let codes = granted.filter_map(|(_, value)| Some(("code", Value::Is(vec![qos_of(value)?]))));
                let id = ("id", Value::Is(b"65000".to_vec()));
                self.among_named(name, "SUBACK", [id].into_iter().chain(codes).collect())
            }
            Action::Closed(code) => self.closed(name, code.as_ref()),
            Action::Silence => {
                self.send(name, &[0xC0, 0])?;
                let came = self.next(name)?;
                if came == Came::Packet(vec![0xD0, 0]) { Ok(()) } else { Err(self.instead(&came)) }
            }
            Action::Leaves => {
                self.send(name, &[0xE0, 0])?;
                self.closed(name, None)
            }
            Action::Drops => {
                let connection = self.connections.remove(name).ok_or("it is not connected")?;
                connection.wire.shut();
                Ok(())
            }
            Action::Wait(ms) => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(())
            }
        }
    }

    fn connection(&mut self, name: &str) -> Result<&mut Connection, String> {
        self.connections.get_mut(name).ok_or_else(|| "it is not connected".into())
    }

    fn bytes(&self, packet: &Packet) -> Result<Vec<u8>, String> {
        match packet {
            Packet::Named(named) => encode::encode(named, self.version, &self.variables),
            Packet::Raw(pieces) => {
                let mut bytes = Vec::new();
                raw::encode(pieces, self.version, &mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// Sends bytes; opens the connection where there is none.
    fn send(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        if !self.connections.contains_key(name) {
            let wire = Wire::open(self.place.source, self.place.broker)?;
            self.connections.insert(name.to_owned(), Connection { wire, waiting: VecDeque::new() });
        }
        let patience = self.place.patience;
        self.connection(name)?.wire.send(bytes, patience);
        Ok(())
    }

    fn send_named(&mut self, name: &str, named: &Named) -> Result<(), String> {
        let bytes = encode::encode(named, self.version, &self.variables)?;
        self.send(name, &bytes)
    }

    fn next(&mut self, name: &str) -> Result<Came, String> {
        let patience = self.place.patience;
        let connection = self.connection(name)?;
        match connection.waiting.pop_front() {
            Some(came) => Ok(came),
            None => connection.wire.receive(patience),
        }
    }

    /// Whether it is that packet. One that a server must not send is none.
    fn is(&mut self, came: &Came, packet: &Packet) -> bool {
        let Came::Packet(bytes) = came else { return false };
        match packet {
            Packet::Raw(pieces) => raw::fits(pieces, self.version, bytes),
            Packet::Named(named) => {
                decode(bytes, self.version).is_ok_and(|seen| expect::fits(named, &seen, &mut self.variables))
            }
        }
    }

    fn among(&mut self, name: &str, packet: &Packet) -> Result<(), String> {
        let waiting = std::mem::take(&mut self.connection(name)?.waiting);
        let mut before = VecDeque::new();
        let mut waiting = waiting.into_iter();
        let found = loop {
            let patience = self.place.patience;
            let came = match waiting.next() {
                Some(came) => Ok(came),
                None => self.connection(name)?.wire.receive(patience),
            };
            match came {
                Ok(came) if self.is(&came, packet) => break Ok(()),
                Ok(Came::End) => break Err("the connection ends".to_owned()),
                Ok(came) => before.push_back(came),
                Err(why) => break Err(why),
            }
        };
        let found = found.map_err(|why| before.iter().fold(why, |all, came| format!("{all}; {}", self.instead(came))));
        before.extend(waiting);
        self.connection(name)?.waiting = before;
        found
    }

    fn among_named(&mut self, name: &str, kind: &'static str, fields: Vec<(&str, Value)>) -> Result<(), String> {
        self.among(name, &Packet::Named(named(kind, fields)))
    }

    fn expect_named(&mut self, name: &str, kind: &'static str, fields: Vec<(&str, Value)>) -> Result<(), String> {
        let came = self.next(name)?;
        let fits = self.is(&came, &Packet::Named(named(kind, fields)));
        if fits { Ok(()) } else { Err(self.instead(&came)) }
    }

    fn expect_bytes(&mut self, name: &str, pieces: &[Piece]) -> Result<(), String> {
        let mut wanted = Vec::new();
        raw::encode(pieces, self.version, &mut wanted)?;
        let patience = self.place.patience;
        let bytes = self.connection(name)?.wire.bytes(wanted.len(), patience)?;
        if bytes == wanted { Ok(()) } else { Err(format!("instead: {bytes:02x?}")) }
    }

    fn closed(&mut self, name: &str, code: Option<&Named>) -> Result<(), String> {
        if let Some(disconnect) = code.filter(|_| self.version.has_properties()) {
            let came = self.next(name)?;
            let fits = self.is(&came, &Packet::Named(disconnect.clone()));
            if !fits {
                return Err(self.instead(&came));
            }
        }
        let came = self.next(name)?;
        if came != Came::End {
            return Err(self.instead(&came));
        }
        self.connections.remove(name);
        Ok(())
    }

    fn instead(&self, came: &Came) -> String {
        match came {
            Came::End => "instead: the connection ends".into(),
            Came::Packet(bytes) => match decode(bytes, self.version) {
                Ok(seen) => format!("instead: {seen}"),
                Err(why) => format!("instead: {:02x?} ({why})", &bytes[..bytes.len().min(100)]),
            },
        }
    }
}

fn named(kind: &'static str, fields: Vec<(&str, Value)>) -> Named {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Named { kind, fields, open: false }
}

/// The digit behind the colon of `FILTER:QOS`.
fn qos_of(filter: &Value) -> Option<u8> {
    let Value::Is(text) = filter else { return None };
    let at = text.iter().rposition(|b| *b == b':')?;
    text.get(at + 1).copied()
}
