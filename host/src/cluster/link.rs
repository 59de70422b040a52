//! The way to the other nodes is the network's.

use std::sync::{Arc, OnceLock};

use gatemq_cluster::core::{Boot, Control, NodeName};
use gatemq_cluster::net::{Batch, BatchBuilder, MessageHead, Net, PushError};

use super::outgoing::{Delivered, Link, Message};

/// See the module.
pub(super) struct NetLink {
    net: Arc<OnceLock<Net>>,
}

impl NetLink {
    /// The network is there before the first node is.
    pub(super) fn new(net: Arc<OnceLock<Net>>) -> Self {
        NetLink { net }
    }
}

impl Link for NetLink {
    fn net(&self) -> Option<&Net> {
        self.net.get()
    }

    fn control(&self, to: &NodeName, control: &Control, protocol: u16) {
        let Some(net) = self.net.get() else { return };
        match control.encode(protocol) {
            // Where there is no way to it the link is made again, and both cores are told.
            Ok(bytes) => _ = net.send_control(to, bytes.into()),
            Err(e) => tracing::error!(node = to.as_str(), "a message for a node cannot be written: {e}"),
        }
    }

    fn deliver(&self, to: &NodeName, lane: u8, batch: Vec<Message>) -> Delivered {
        let Some(net) = self.net.get() else { return Box::pin(async { None }) };
        let (mut builder, mut sent, mut fits) = (BatchBuilder::default(), Vec::new(), Vec::with_capacity(batch.len()));
        let mut send = |batch: Batch| sent.push(net.deliver(to, lane, batch));
        for message in &batch {
            let mut pushed = push(&mut builder, message);
            if pushed == Err(PushError::Full) {
                send(builder.finish());
                pushed = push(&mut builder, message);
            }
            if pushed.is_err() {
                tracing::warn!(node = to.as_str(), "a message is too large for another node");
            }
            fits.push(pushed.is_ok());
        }
        if !builder.is_empty() {
            send(builder.finish());
        }
        Box::pin(async move {
            let mut codes = Vec::new();
            for sent in sent {
                match sent.await {
                    Ok(outcomes) => codes.extend_from_slice(outcomes.codes()),
                    // What came before is answered; the rest is not.
                    Err(_) => break,
                }
            }
            let mut codes = codes.into_iter();
            Some(fits.into_iter().map(|fits| fits && codes.next() == Some(0)).collect())
        })
    }
}

fn push(builder: &mut BatchBuilder, message: &Message) -> Result<(), PushError> {
    let Message { number, header, packet } = message;
    let (flags, shares) = header.write();
    let (boot, seq, low) = number.map_or((Boot(0), 0, 0), |(of, low)| (of.boot, of.seq, low));
    let head = MessageHead {
        boot,
        seq,
        low,
        qos: packet.first().map_or(0, |first| first >> 1 & 3),
        retain: packet.first().is_some_and(|first| first & 1 != 0),
        flags,
        expiry_ms: None,
        tenant: &header.tenant,
        topic: "",
        user: "",
        client_id: "",
        properties: &shares,
    };
    builder.push(&head, packet)
}
