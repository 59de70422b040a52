//! A subscriber: acknowledges, counts for the publisher that the stamp names, and records the latency.

use std::io;
use std::rc::Rc;

use super::{Run, STAMP_BITS};
use crate::net::Conn;
use crate::wire;

pub(super) async fn subscriber(run: Rc<Run>, mut c: Conn) -> io::Result<()> {
    let v5 = c.v5;
    loop {
        c.turn().await?;
        let now = run.now();
        let recording = run.recording.get();
        let mut latency = run.latency.borrow_mut();
        c.packets(|first, body, out| match first >> 4 {
            wire::PUBLISH => {
                let Some(a) = wire::arrived(first, body, v5) else { return };
                match a.qos {
                    1 => wire::ack(out, wire::PUBACK, a.pid),
                    2 => wire::ack(out, wire::PUBREC, a.pid),
                    _ => {}
                }
                let Some(flow) = run.flows.get((a.stamp >> STAMP_BITS) as usize) else { return };
                let n = flow.received.get() + 1;
                flow.received.set(n);
                if run.window > 0 && n % run.fan == 0 {
                    flow.wake.notify_one();
                }
                if recording {
                    let sent = a.stamp & ((1 << STAMP_BITS) - 1);
                    latency.saturating_record(now.saturating_sub(sent) / 1000);
                }
            }
            wire::PUBREL => {
                if let Some(pid) = wire::u16_at(body, 0) {
                    wire::ack(out, wire::PUBCOMP, pid);
                }
            }
            _ => {}
        })?;
    }
}
