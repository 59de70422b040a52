//! While a question is asked, or a client that publishes too fast waits, only what needs no order is handled: PINGREQ and
//! acknowledgements. The rest waits.

use std::task::{Context, Poll};

use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::kind;

use super::client::Lane;
use super::{Connection, Ending, Pause, READS_PER_TURN, after_the_others};
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Bytes that may wait, with a packet that asks; a client that sends more is not read meanwhile.
const PARKED_BYTES_MAX: usize = 64 << 10;

/// How far the bytes that wait were looked at.
#[derive(Clone, Copy, Default)]
pub(super) struct Parked {
    /// The first packet in `tail` is the one that asks.
    asks: bool,
    /// Up to here `tail` holds packets that wait.
    looked_at: usize,
    /// Nothing more is to be had; why shows the next read, after the answer: what was sent before a close counts.
    over: bool,
}

impl Parked {
    /// Of what is behind a packet that asks.
    pub(super) fn behind_a_packet() -> Self {
        Parked { asks: true, ..Parked::default() }
    }
}

impl Connection {
    /// How far what waits was looked at, where something does.
    fn parked(&mut self) -> Option<&mut Parked> {
        match &mut self.pause {
            Pause::Asking(_, parked) | Pause::Rate(_, parked) => Some(parked),
            Pause::No | Pause::Yield | Pause::Over => None,
        }
    }

    /// Reads on while something waits.
    pub(super) fn read_parked(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        let Some(parked) = self.parked().copied() else { return Ok(()) };
        self.handle_parked(worker, hot, parked)?;
        for _ in 0..READS_PER_TURN {
            let room = PARKED_BYTES_MAX.saturating_sub(self.tail.len()).min(hot.scratch.len());
            if room == 0 || self.parked().is_none_or(|parked| parked.over) {
                return Ok(());
            }
            match self.stream.poll_read(cx, &mut hot.scratch[..room], &mut hot.cipher) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.parked().into_iter().for_each(|parked| parked.over = true);
                    return Ok(());
                }
                Poll::Ready(Ok(n)) => {
                    self.client.share.count(|traffic| traffic.bytes_received += n as u64);
                    self.tail.extend_from_slice(&hot.scratch[..n]);
                }
            }
            let Some(parked) = self.parked().copied() else { return Ok(()) };
            self.handle_parked(worker, hot, parked)?;
        }
        after_the_others(cx);
        Ok(())
    }

    /// Takes what needs no order out of the whole packets that were not looked at yet.
    fn handle_parked(&mut self, worker: &Worker, hot: &mut Hot, parked: Parked) -> Result<(), Ending> {
        let mut tail = std::mem::take(&mut self.tail);
        let mut lane = Lane { node: &worker.node, hot, now_ms: worker.now_ms.get() };
        let (mut from, mut to) = (parked.looked_at, parked.looked_at);
        while let Framed::Frame { first, head, len } = self.client.frame(&tail[from..])? {
            let packet = from..from + len;
            from += len;
            let needs_no_order =
                matches!(first >> 4, kind::PINGREQ | kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP);
            if (to > 0 || !parked.asks) && needs_no_order {
                // None of them leads to a pause.
                self.client.packet(&mut lane, &tail[packet], head)?;
                self.client.packets_received += 1;
                self.client.share.count(|traffic| traffic.packets_received += 1);
            } else {
                tail.copy_within(packet, to);
                to += len;
            }
        }
        tail.drain(to..from);
        self.client.settle(&mut lane);
        self.tail = tail;
        self.parked().into_iter().for_each(|parked| parked.looked_at = to);
        Ok(())
    }
}
