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
                    self.nothing_more(cx);
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

    /// The peer has gone. Where nothing of it waits, its rate is not waited for: the next read ends the connection.
    fn nothing_more(&mut self, cx: &mut Context) {
        match &mut self.pause {
            Pause::Rate(_, parked) if parked.looked_at == 0 => {
                self.pause = Pause::No;
                after_the_others(cx);
            }
            _ => self.parked().into_iter().for_each(|parked| parked.over = true),
        }
    }

    /// Takes what needs no order out of the whole packets that were not looked at yet.
    fn handle_parked(&mut self, worker: &Worker, hot: &mut Hot, mut parked: Parked) -> Result<(), Ending> {
        let mut tail = std::mem::take(&mut self.tail);
        let mut lane = Lane { node: &worker.node, hot, now_ms: worker.now_ms.get() };
        let taken = self.take_unordered(&mut lane, &mut tail, &mut parked);
        // Also when the connection ends: what was acknowledged before its end is not sent again (MQTT-4.4.0-1).
        self.client.settle(&mut lane);
        self.tail = tail;
        taken?;
        self.parked().into_iter().for_each(|held| *held = parked);
        Ok(())
    }

    /// Handles what needs no order in the whole packets not looked at yet, and takes it out.
    fn take_unordered(&mut self, lane: &mut Lane, tail: &mut Vec<u8>, parked: &mut Parked) -> Result<(), Ending> {
        let (mut from, mut to) = (parked.looked_at, parked.looked_at);
        while !parked.over {
            let Ok(framed) = self.client.frame(&tail[from..]) else {
                // It ends the connection in its turn, behind what came before it.
                parked.over = true;
                break;
            };
            let Framed::Frame { first, head, len } = framed else { break };
            let packet = from..from + len;
            from += len;
            let (kind, is_front) = (first >> 4, to == 0);
            let is_handled = match kind {
                // The packet that asks is the first one.
                kind::PINGREQ | kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => {
                    !(is_front && parked.asks)
                }
                kind::DISCONNECT => is_front && !parked.asks,
                _ => false,
            };
            if is_handled {
                // None of them leads to a pause.
                self.client.packet(lane, &tail[packet], head)?;
                self.client.packets_received += 1;
                self.client.share.count(|traffic| traffic.packets_received += 1);
            } else {
                tail.copy_within(packet, to);
                to += len;
                // Nothing counts behind a DISCONNECT.
                parked.over = kind == kind::DISCONNECT;
            }
        }
        tail.drain(to..from);
        parked.looked_at = to;
        Ok(())
    }
}
