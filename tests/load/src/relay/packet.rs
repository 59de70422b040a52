//! The little MQTT that the relays understand.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::wire;

/// Who gets what: subscribers by exact filter, or by first level where it has a wildcard.
#[derive(Default)]
pub(super) struct Routes {
    exact: HashMap<Vec<u8>, Vec<usize>>,
    first: HashMap<Vec<u8>, Vec<usize>>,
}

impl Routes {
    /// `who` subscribes to `filter`.
    pub(super) fn add(&mut self, filter: &[u8], who: usize) {
        match filter.iter().position(|c| matches!(c, b'+' | b'#')) {
            None => self.exact.entry(filter.to_vec()).or_default().push(who),
            Some(_) => self.first.entry(first_level(filter).to_vec()).or_default().push(who),
        }
    }

    /// The subscribers of `topic`.
    pub(super) fn of(&self, topic: &[u8]) -> &[usize] {
        self.exact.get(topic).or_else(|| self.first.get(first_level(topic))).map_or(&[], |v| v)
    }

    /// `who` is gone.
    pub(super) fn drop(&mut self, who: usize) {
        for v in self.exact.values_mut().chain(self.first.values_mut()) {
            v.retain(|w| *w != who);
        }
    }
}

fn first_level(topic: &[u8]) -> &[u8] {
    topic.split(|c| *c == b'/').next().unwrap_or(b"")
}

/// Appends a forwarded PUBLISH to a client's output, with its next packet id where `pid_at` says that there is one.
/// What does not fit is dropped.
#[inline]
pub(super) fn forward(out: &mut Vec<u8>, pid: &mut u16, frame: &[u8], pid_at: Option<usize>) {
    let from = out.len();
    if from > super::OUT_MAX {
        return;
    }
    out.extend_from_slice(frame);
    if let Some(p) = pid_at {
        *pid = pid.checked_add(1).unwrap_or(1);
        out[from + p..from + p + 2].copy_from_slice(&pid.to_be_bytes());
    }
}

/// Handles one packet of connection `me`: replies go to `reply`, a PUBLISH to `forward(who, frame, place of its
/// packet id)`. False: the client is leaving, or what it sent makes no sense.
pub(super) fn packet(
    routes: &RefCell<Routes>,
    me: usize,
    frame: &[u8],
    head: usize,
    reply: &mut Vec<u8>,
    forward: impl FnMut(usize, &[u8], Option<usize>),
) -> bool {
    let body = &frame[head..];
    match frame[0] >> 4 {
        1 => match body.get(6) {
            Some(5) => reply.extend_from_slice(&[0x20, 3, 0, 0, 0]),
            _ => reply.extend_from_slice(&[0x20, 2, 0, 0]),
        },
        wire::PUBLISH => return publish(routes, frame, head, reply, forward).is_some(),
        8 => return subscribe(routes, me, body, reply).is_some(),
        12 => reply.extend_from_slice(&[0xD0, 0]),
        wire::DISCONNECT => return false,
        _ => {}
    }
    true
}

#[inline]
fn publish(
    routes: &RefCell<Routes>,
    frame: &[u8],
    head: usize,
    reply: &mut Vec<u8>,
    mut forward: impl FnMut(usize, &[u8], Option<usize>),
) -> Option<()> {
    let body = &frame[head..];
    let qos = (frame[0] >> 1) & 3;
    let len = wire::u16_at(body, 0)? as usize;
    let topic = body.get(2..2 + len)?;
    let pid_at = (qos > 0).then_some(head + 2 + len);
    if let Some(at) = pid_at {
        wire::ack(reply, wire::PUBACK, wire::u16_at(frame, at)?);
    }
    for who in routes.borrow().of(topic) {
        forward(*who, frame, pid_at);
    }
    Some(())
}

fn subscribe(routes: &RefCell<Routes>, me: usize, body: &[u8], reply: &mut Vec<u8>) -> Option<()> {
    // With MQTT 5 the generator sends an empty property length after the id; no filter of 3.1.1 is empty (4.7.3).
    let v5 = wire::u16_at(body, 2)? == 0;
    let (mut at, mut codes) = (2 + v5 as usize, 0u8);
    while at + 2 < body.len() {
        let len = wire::u16_at(body, at)? as usize;
        routes.borrow_mut().add(body.get(at + 2..at + 2 + len)?, me);
        at += 3 + len;
        codes = codes.checked_add(1).filter(|n| *n < 120)?;
    }
    reply.extend_from_slice(&[0x90, 2 + v5 as u8 + codes, body[0], body[1]]);
    reply.resize(reply.len() + v5 as usize + codes as usize, 0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PublishTemplate;

    fn feed(routes: &RefCell<Routes>, me: usize, bytes: &[u8]) -> (bool, Vec<u8>, Vec<usize>) {
        let (mut reply, mut to) = (Vec::new(), Vec::new());
        let (head, _) = wire::frame(bytes).unwrap().unwrap();
        let alive = packet(routes, me, bytes, head, &mut reply, |who, _, _| to.push(who));
        (alive, reply, to)
    }

    /// The generator's scenarios depend on it: exact and first-level wildcard filters get what was meant for them,
    /// in both versions, and a client that left gets no more.
    #[test]
    fn subscribers_get_their_topics() {
        let routes = RefCell::default();
        for (me, v5, filter) in [(1, false, "pair/1/t"), (2, true, "in/+/t"), (3, true, "pair/1/t")] {
            let mut b = Vec::new();
            wire::subscribe(&mut b, v5, 9, &[filter], 0);
            let (alive, reply, _) = feed(&routes, me, &b);
            let suback: &[u8] = if v5 { &[0x90, 4, 0, 9, 0, 0] } else { &[0x90, 3, 0, 9, 0] };
            assert!(alive && reply == suback, "{reply:?}");
        }
        let publish = |topic: &str, qos| {
            let mut b = Vec::new();
            PublishTemplate::new(true, topic, qos, false, 8).put(&mut b, 5, 0);
            feed(&routes, 7, &b)
        };
        assert_eq!(publish("pair/1/t", 0), (true, vec![], vec![1, 3]));
        assert_eq!(publish("in/44/t", 1), (true, vec![0x40, 2, 0, 5], vec![2]));
        assert_eq!(publish("pair/2/t", 0).2, [0usize; 0]);
        routes.borrow_mut().drop(3);
        assert_eq!(publish("pair/1/t", 0).2, [1]);
    }

    /// Senseless packets end the connection instead of the relay.
    #[test]
    fn nonsense_is_left() {
        let routes = RefCell::default();
        for bytes in [&[0x30, 0][..], &[0x32, 3, 0, 1, b'a'], &[0x82, 7, 0, 1, 0, 9, b'x', 0, 0], &[0xE0, 0]] {
            assert!(!feed(&routes, 0, bytes).0, "{bytes:?}");
        }
    }
}
