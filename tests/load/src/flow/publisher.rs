//! A publisher, and the clock that tells publishers when (open loop).

use std::io;
use std::rc::Rc;

use super::{Run, STAMP_BITS};
use crate::net::Conn;
use crate::wire::{self, PublishTemplate};

/// Bytes in a connection's output beyond which we let the socket catch up.
const OUT_MAX: usize = 32 * 1024;

pub(super) async fn publisher(
    run: Rc<Run>,
    me: usize,
    mut c: Conn,
    topics: Rc<Vec<PublishTemplate>>,
) -> io::Result<()> {
    let flow = &run.flows[me];
    let (mut pid, mut inflight, mut at) = (0u16, 0u64, me * 7919);
    // QoS 1/2 exchanges we keep open; brokers commonly allow 20 or more.
    let inflight_max = if run.qos == 0 { u64::MAX } else { run.window.clamp(1, 20) };
    loop {
        let now = run.now();
        while c.unsent() < OUT_MAX && inflight < inflight_max {
            let stamp = if run.window == 0 {
                match flow.due.borrow_mut().pop_front() {
                    Some(due) => due,
                    None => break,
                }
            } else if flow.sent.get() * run.fan < flow.received.get() + run.window * run.fan {
                now
            } else {
                break;
            };
            pid = pid.checked_add(1).unwrap_or(1);
            at = (at + 1) % topics.len();
            topics[at].put(&mut c.out, pid, (me as u64) << STAMP_BITS | stamp);
            flow.sent.set(flow.sent.get() + 1);
            inflight += (run.qos > 0) as u64;
        }
        tokio::select! {
            r = c.turn() => r?,
            _ = flow.wake.notified() => continue,
        }
        c.packets(|first, body, out| match first >> 4 {
            wire::PUBACK | wire::PUBCOMP => inflight = inflight.saturating_sub(1),
            wire::PUBREC => {
                if let Some(pid) = wire::u16_at(body, 0) {
                    wire::ack(out, wire::PUBREL, pid);
                }
            }
            _ => {}
        })?;
    }
}

/// Spreads `rate` messages a second evenly over time and publishers, spinning for exactness.
pub(super) async fn clock(run: Rc<Run>, rate: f64) {
    let step = 1e9 / rate;
    let mut next = run.now() as f64;
    let mut k = 0;
    loop {
        let now = run.now() as f64;
        while next <= now {
            let flow = &run.flows[k % run.flows.len()];
            flow.due.borrow_mut().push_back(next as u64);
            flow.wake.notify_one();
            next += step;
            k += 1;
        }
        tokio::task::yield_now().await;
    }
}
