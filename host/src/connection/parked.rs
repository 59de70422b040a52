//! While a question is asked only what needs no order is handled: PINGREQ and acknowledgements. The rest waits behind the
//! packet that asks.

use std::task::{Context, Poll};

use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::kind;

use super::client::Lane;
use super::{Connection, Ending, Pause, READS_PER_TURN, after_the_others};
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Bytes that may wait behind a packet that asks; a client that sends more is not read meanwhile.
const PARKED_BYTES_MAX: usize = 64 << 10;

/// How far the bytes behind a packet that asks were looked at.
#[derive(Clone, Copy, Default)]
pub(super) struct Parked {
    /// Up to here `tail` holds packets that wait, the first of them the one that asks.
    looked_at: usize,
    /// Nothing more is to be had; why shows the next read, after the answer: what was sent before a close counts.
    over: bool,
}

impl Connection {
    /// Reads on while a question is asked.
    pub(super) fn read_parked(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        let Pause::Asking(_, parked) = self.pause else { return Ok(()) };
        self.handle_parked(worker, hot, parked)?;
        for _ in 0..READS_PER_TURN {
            let Pause::Asking(_, parked) = &mut self.pause else { return Ok(()) };
            let room = PARKED_BYTES_MAX.saturating_sub(self.tail.len()).min(hot.scratch.len());
            if parked.over || room == 0 {
                return Ok(());
            }
            match self.stream.poll_read(cx, &mut hot.scratch[..room], &mut hot.cipher) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => {
                    parked.over = true;
                    return Ok(());
                }
                Poll::Ready(Ok(n)) => self.tail.extend_from_slice(&hot.scratch[..n]),
            }
            let parked = *parked;
            self.handle_parked(worker, hot, parked)?;
        }
        after_the_others(cx);
        Ok(())
    }

    /// Takes what needs no order out of the whole packets that were not looked at yet.
    fn handle_parked(&mut self, worker: &Worker, hot: &mut Hot, parked: Parked) -> Result<(), Ending> {
        let mut tail = std::mem::take(&mut self.tail);
        let mut lane = Lane { node: &worker.node, hot, now_ms: worker.now_ms.get() };
        let looked_at = self.take_unordered(&mut lane, &mut tail, parked.looked_at);
        // Also when the connection ends: what was acknowledged before its end is not sent again (MQTT-4.4.0-1).
        self.client.settle(&mut lane);
        self.tail = tail;
        let looked_at = looked_at?;
        if let Pause::Asking(_, parked) = &mut self.pause {
            parked.looked_at = looked_at;
        }
        Ok(())
    }

    /// Handles what needs no order in the whole packets from `looked_at` on, and takes it out. Returns where they end now.
    fn take_unordered(&mut self, lane: &mut Lane, tail: &mut Vec<u8>, looked_at: usize) -> Result<usize, Ending> {
        let (mut from, mut to) = (looked_at, looked_at);
        while let Framed::Frame { first, head, len } = self.client.frame(&tail[from..])? {
            let packet = from..from + len;
            from += len;
            let needs_no_order =
                matches!(first >> 4, kind::PINGREQ | kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP);
            if to > 0 && needs_no_order {
                // None of them leads to a pause.
                self.client.packet(lane, &tail[packet], head)?;
                self.client.packets_received += 1;
            } else {
                tail.copy_within(packet, to);
                to += len;
            }
        }
        tail.drain(to..from);
        Ok(to)
    }
}
