//! Somebody who publishes numbers, and sends again what was not acknowledged.

use std::collections::{BTreeSet, VecDeque};

use gatemq_tests::PATIENCE;
use gatemq_tests::client::{Client, Received};
use gatemq_tests::session::{ConnAck, Connect, Level, ack};

use super::load::Field;

/// Messages under way at a time: fewer than any broker allows by default.
const WINDOW: usize = 20;
const DISCONNECT: u8 = 0xE0;

/// How a connection ended, where it did not break.
pub(crate) enum Served {
    /// Everything is acknowledged, or the last message has come.
    Done,
    /// It was refused for the moment.
    NotNow,
    /// The client itself broke it.
    BrokenOff,
}

/// Whether the client is to come again: the node is about to stop, or the nodes of a cluster do not agree yet who has its session.
pub(crate) fn is_not_now(answer: &ConnAck, level: Level) -> bool {
    answer.code == if level == Level::V5 { 0x88 } else { 3 }
}

/// A message that is not acknowledged to its end.
struct Flight {
    id: u16,
    number: u64,
    /// PUBREC has come.
    released: bool,
    /// PUBREL was sent again.
    released_again: bool,
}

pub(crate) struct Publisher {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) qos: u8,
    /// Its session outlives its connections; otherwise what is under way at QoS 1 is sent again as new, and at QoS 2 given up.
    pub(crate) stays: bool,
    /// Numbers that were acknowledged, by PUBACK or PUBREC.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// Those that were under way when a connection ended.
    pub(crate) again: BTreeSet<u64>,
    /// How many numbers it has sent.
    pub(crate) sent: u64,
    under_way: VecDeque<Flight>,
    has_session: bool,
    last_id: u16,
}

impl Publisher {
    pub(crate) fn new(name: &'static str, level: Level, qos: u8, stays: bool) -> Publisher {
        let (acknowledged, again, under_way) = (BTreeSet::new(), BTreeSet::new(), VecDeque::new());
        Publisher { name, level, qos, stays, acknowledged, again, sent: 0, under_way, has_session: false, last_id: 0 }
    }

    /// Each number goes to one of two topics.
    pub(crate) fn topic(&self, number: u64) -> String {
        format!("load/{}/{}", self.name, number % 2)
    }

    /// Publishes, through every crash, until the field is to end and everything is acknowledged.
    pub(crate) fn run(&mut self, field: &Field) {
        let mut generation = 0;
        while let Some(address) = field.next_address(self.name, &mut generation) {
            let mut refused = None;
            while let Ok(mut client) = Client::tcp(address, self.level.version()) {
                match self.serve(&mut client, field) {
                    Some(Served::Done) => return,
                    Some(Served::NotNow) => field.pause(self.name, generation, &mut refused),
                    Some(Served::BrokenOff) | None => break,
                }
            }
        }
    }

    /// One connection; `None` when it breaks.
    fn serve(&mut self, client: &mut Client, field: &Field) -> Option<Served> {
        let clean = Connect::new(self.level, self.name);
        let connect = if self.stays { Connect::stays(self.level, self.name) } else { clean };
        client.send(&connect.bytes()).ok()?;
        let answer = ConnAck::read(&packet(client, self.name, || false)?, client.version());
        if is_not_now(&answer, self.level) {
            return Some(Served::NotNow);
        }
        assert_eq!(answer.code, 0, "{}", self.name);
        if self.stays {
            assert!(answer.session_present || !self.has_session, "{}: its session is lost", self.name);
            self.has_session = true;
        } else if self.qos == 2 {
            self.under_way.clear();
        }
        for flight in &mut self.under_way {
            flight.released_again = flight.released;
        }
        self.again.extend(self.under_way.iter().filter(|flight| !flight.released).map(|flight| flight.number));
        for flight in &self.under_way {
            match flight.released {
                true => client.send_ack(ack::PUBREL, flight.id).ok()?,
                false => self.send(client, flight, self.stays)?,
            }
        }
        loop {
            while self.under_way.len() < WINDOW && !field.is_ending() {
                self.last_id = self.last_id.checked_add(1).unwrap_or(1);
                let flight = Flight { id: self.last_id, number: self.sent, released: false, released_again: false };
                self.sent += 1;
                let sent = self.send(client, &flight, false);
                self.under_way.push_back(flight);
                sent?;
            }
            if self.under_way.is_empty() {
                return Some(Served::Done);
            }
            field.breathe();
            self.take(client, field)?;
        }
    }

    fn send(&self, client: &mut Client, flight: &Flight, dup: bool) -> Option<()> {
        let flags = self.qos << 1 | u8::from(dup) << 3;
        client.publish_as(flags, &self.topic(flight.number), flight.id, flight.number.to_string().as_bytes()).ok()
    }

    /// Takes an acknowledgement.
    fn take(&mut self, client: &mut Client, field: &Field) -> Option<()> {
        let packet = packet(client, self.name, || false)?;
        let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
        let code = packet.body.get(2).copied().unwrap_or(0);
        let at = self.under_way.iter().position(|flight| flight.id == id);
        let at = at.unwrap_or_else(|| panic!("{}: {packet:?} is for nothing", self.name));
        match (packet.first, self.qos) {
            (ack::PUBACK, 1) | (ack::PUBREC, 2) => {
                assert!(code < 0x80, "{}: {packet:?}", self.name);
                let flight = &mut self.under_way[at];
                flight.released = true;
                let number = flight.number;
                if self.acknowledged.insert(number) {
                    field.acknowledged(self.topic(number), number);
                }
            }
            // 0x92: it had been released before the crash (3.7.2.1).
            (ack::PUBCOMP, 2) => {
                let flight = &self.under_way[at];
                let is_known = code == 0 || (flight.released_again && code == 0x92);
                assert!(flight.released && is_known, "{}: {packet:?}", self.name);
            }
            _ => panic!("{}: {packet:?}", self.name),
        }
        match packet.first {
            ack::PUBREC => client.send_ack(ack::PUBREL, id).ok()?,
            _ => drop(self.under_way.remove(at)),
        }
        Some(())
    }
}

/// The next packet; `None` when the connection has ended. Nothing may come for long while `may_wait` says so: whoever began to
/// wait then begins anew.
pub(crate) fn packet(
    client: &mut Client,
    who: &str,
    may_wait: impl Fn() -> bool,
) -> Option<gatemq_tests::client::Packet> {
    loop {
        let might_wait = may_wait();
        match client.receive(PATIENCE) {
            // The broker is stopped.
            Ok(Received::Packet(packet)) if packet.first == DISCONNECT && packet.body.first() == Some(&0x8B) => {
                return None;
            }
            Ok(Received::Packet(packet)) => return Some(packet),
            Ok(Received::Closed) => return None,
            Err(_) if might_wait || may_wait() => {}
            Err(e) => panic!("{who}: no packet: {e}"),
        }
    }
}
