//! Somebody who subscribes and keeps, across connections, what a correct client keeps: the identifiers of QoS 2 messages
//! that were not released.

use std::collections::HashMap;
use std::time::Duration;

use gatemq_tests::PATIENCE;
use gatemq_tests::client::{Client, Received};
use gatemq_tests::session::{ConnAck, Connect, Level, Message, ack};

use super::load::{END, Field, SHARED};
use super::publisher::{Served, is_not_now, packet};

/// How long nothing comes to one that has not everything: on a machine that has much too much to do messages wait for one another.
const IN_VAIN: Duration = PATIENCE.saturating_mul(3);

pub(crate) struct Subscriber {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) qos: u8,
    /// It shares its subscription.
    pub(crate) shares: bool,
    pub(crate) receive_max: Option<u16>,
    /// Messages after which it breaks its connection.
    pub(crate) breaks_after: Option<usize>,
    /// It then stays away until the broker is another, or is to end.
    pub(crate) stays_away: bool,
    /// Topic and number of everything that was new to it, in order.
    pub(crate) taken: Vec<(String, u64)>,
    pub(crate) unreleased: HashMap<u16, (String, Vec<u8>)>,
    pub(crate) has_session: bool,
    /// Where the last message may overtake others: it ends when it has everything and nothing has come for so long, or when it waits in
    /// vain.
    pub(crate) lingers: Option<Duration>,
    /// It has the last message, and for how long nothing has come since.
    pub(crate) has_last: bool,
    pub(crate) quiet: Duration,
}

impl Subscriber {
    pub(crate) fn new(name: &'static str, level: Level, qos: u8) -> Subscriber {
        let (receive_max, breaks_after, taken, unreleased) = (None, None, Vec::new(), HashMap::new());
        let (shares, stays_away, has_session, lingers) = (false, false, false, None);
        Subscriber {
            name,
            level,
            qos,
            shares,
            receive_max,
            breaks_after,
            stays_away,
            taken,
            unreleased,
            has_session,
            lingers,
            has_last: false,
            quiet: Duration::ZERO,
        }
    }

    /// Takes messages, through every crash, until the last one.
    pub(crate) fn run(&mut self, field: &Field) {
        let (mut generation, mut refused) = (0, None);
        let mut at = field.next_address(self.name, &mut generation);
        while let Some(address) = at {
            let served = Client::tcp(address, self.level.version()).ok().and_then(|mut c| self.serve(&mut c, field));
            if !matches!(served, Some(Served::NotNow)) {
                refused = None;
            }
            at = match served {
                Some(Served::Done) => return,
                Some(Served::NotNow) => {
                    field.pause(self.name, generation, &mut refused);
                    Some(address)
                }
                Some(Served::BrokenOff) if !self.stays_away || field.is_ending() => Some(address),
                _ => field.next_address(self.name, &mut generation),
            };
        }
    }

    /// One connection; `None` when it breaks.
    fn serve(&mut self, client: &mut Client, field: &Field) -> Option<Served> {
        let connect = Connect { receive_max: self.receive_max, ..Connect::stays(self.level, self.name) };
        client.send(&connect.bytes()).ok()?;
        let answer = ConnAck::read(&packet(client, self.name, || field.may_wait())?, client.version());
        if is_not_now(&answer, self.level) {
            return Some(Served::NotNow);
        }
        assert_eq!((answer.code, answer.session_present), (0, self.has_session), "{}: its session", self.name);
        if !self.has_session {
            // Nobody publishes yet and nobody is killed.
            let filters = if self.shares { &[SHARED, END][..] } else { &["load/#"] };
            for filter in filters {
                assert_eq!(client.subscribe(filter, self.qos), self.qos);
            }
            self.has_session = true;
            field.subscribed();
        }
        let mut count = 0;
        while self.breaks_after.is_none_or(|after| count < after || (self.stays_away && field.is_ending())) {
            let packet = match self.lingers.filter(|_| self.has_last) {
                None => packet(client, self.name, || field.may_wait())?,
                Some(long) => match client.receive(long) {
                    Ok(Received::Packet(packet)) => packet,
                    // It says nothing, so its keep alive is over, sooner or later.
                    Ok(Received::Closed) if !field.has_all(&self.taken) => return Some(Served::BrokenOff),
                    Ok(Received::Closed) => return Some(Served::Done),
                    Err(_) => {
                        self.quiet += long;
                        if field.has_all(&self.taken) || self.quiet >= IN_VAIN {
                            return Some(Served::Done);
                        }
                        continue;
                    }
                },
            };
            self.quiet = Duration::ZERO;
            match packet.first {
                ack::PUBREL => {
                    let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
                    self.unreleased.remove(&id);
                    client.send_ack(ack::PUBCOMP, id).ok()?;
                }
                _ => {
                    count += 1;
                    if self.take(client, Message::read(&packet, client.version()), field)? {
                        if self.lingers.is_none() {
                            return Some(Served::Done);
                        }
                        self.has_last = true;
                    }
                }
            }
        }
        Some(Served::BrokenOff)
    }

    /// Whether it is the last one.
    fn take(&mut self, client: &mut Client, message: Message, field: &Field) -> Option<bool> {
        assert!(message.qos > 0 && message.qos <= self.qos && !message.retain, "{}: {message:?}", self.name);
        let Message { topic, payload, id, dup, .. } = message;
        let known = message.qos == 2 && self.unreleased.contains_key(&id);
        if known {
            assert!(self.unreleased[&id] == (topic, payload), "{}: {id} is not free", self.name);
            assert!(dup, "{}: {id} comes again without DUP", self.name);
        } else {
            let number = std::str::from_utf8(&payload).unwrap().parse().unwrap();
            if topic == END {
                return Some(true);
            }
            self.taken.push((topic.clone(), number));
            if self.shares {
                field.taken_of_shared(topic.clone(), number);
            }
            if message.qos == 2 {
                self.unreleased.insert(id, (topic, payload));
            }
        }
        client.send_ack(if message.qos == 1 { ack::PUBACK } else { ack::PUBREC }, id).ok()?;
        Some(false)
    }
}
