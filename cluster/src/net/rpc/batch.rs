//! Publications on their way to another node: a batch is built once into the bytes that travel, and read in place.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::core::Boot;

/// Messages in a batch.
pub const BATCH_MESSAGES_MAX: usize = 512;
/// Bytes of the messages of a batch after which it takes no further one. One message alone may be larger.
pub const BATCH_BYTES_FULL: usize = 256 * 1024;
/// Bytes of the largest batch, which holds one message: what a frame can carry.
pub const BATCH_BYTES_MAX: usize = super::FRAME_BYTES_MAX - 1024;

/// A publication of another node's client.
///
/// On the wire it has a fixed part, little endian, and its texts behind it: it is read twice on its way (once to check it, once
/// by the host), and reading postcard was the largest part of our own code in a profile of forwarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHead<'a> {
    /// Which process of the origin counted it.
    pub boot: Boot,
    /// Its number there for this receiver, from 1 on. 0: nobody counts it (QoS 0).
    pub seq: u64,
    /// The lowest number of the same `boot` that may still come.
    pub low: u64,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it is to be retained.
    pub retain: bool,
    /// The host's own.
    pub flags: u32,
    /// How long it still lives, in milliseconds.
    pub expiry_ms: Option<u64>,
    /// Tenant.
    pub tenant: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Who published it.
    pub user: &'a str,
    /// With which client identifier.
    pub client_id: &'a str,
    /// MQTT 5 properties as the host writes them.
    pub properties: &'a [u8],
}

/// Bytes of the fixed part: four numbers of 8 bytes, flags, QoS and retain, four lengths of 2 bytes and two of 4.
const FIXED_BYTES: usize = 4 * 8 + 4 + 1 + 4 * 2 + 2 * 4;
/// In the byte with the QoS.
const RETAIN: u8 = 4;
/// No expiry.
const NEVER: u64 = u64::MAX;

/// Builds a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    messages: u16,
    /// Bytes of the last batch: as many are made ready for the next.
    last: usize,
}

/// The batch takes no further message: send it and begin another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is full.
    #[error("the batch is full")]
    Full,
    /// The message alone is larger than a frame: it cannot be sent to another node at all.
    #[error("the message is larger than {BATCH_BYTES_MAX} bytes")]
    TooLarge,
}

impl BatchBuilder {
    /// Adds a message, whose payload is copied.
    ///
    /// # Errors
    /// The batch is full, or the message larger than any batch; the batch is as it was.
    pub fn push(&mut self, head: &MessageHead<'_>, payload: &[u8]) -> Result<(), PushError> {
        let texts = [head.tenant, head.topic, head.user, head.client_id];
        let bytes = FIXED_BYTES + texts.map(str::len).iter().sum::<usize>() + head.properties.len() + payload.len();
        let fits = bytes <= BATCH_BYTES_MAX && texts.iter().all(|text| text.len() <= usize::from(u16::MAX));
        if !fits || head.qos > 2 {
            return Err(PushError::TooLarge);
        }
        let is_full = usize::from(self.messages) >= BATCH_MESSAGES_MAX || self.bytes.len() + bytes > BATCH_BYTES_FULL;
        if self.messages > 0 && is_full {
            return Err(PushError::Full);
        }
        self.bytes.reserve(if self.messages == 0 { bytes.max(self.last) } else { bytes });
        let numbers = [head.boot.0, head.seq, head.low, head.expiry_ms.unwrap_or(NEVER)];
        numbers.iter().for_each(|n| self.bytes.put_u64_le(*n));
        self.bytes.put_u32_le(head.flags);
        self.bytes.put_u8(head.qos | if head.retain { RETAIN } else { 0 });
        texts.iter().for_each(|text| self.bytes.put_u16_le(text.len() as u16));
        self.bytes.put_u32_le(head.properties.len() as u32);
        self.bytes.put_u32_le(payload.len() as u32);
        texts.iter().for_each(|text| self.bytes.put_slice(text.as_bytes()));
        self.bytes.put_slice(head.properties);
        self.bytes.put_slice(payload);
        self.messages += 1;
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.messages.into()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The batch; the builder begins another.
    pub fn finish(&mut self) -> Batch {
        self.last = self.bytes.len();
        Batch { bytes: self.bytes.split().freeze(), messages: std::mem::take(&mut self.messages) }
    }
}

/// Publications for one node. What comes from a peer was checked whole before it is one. Cheap to clone.
///
/// Payloads that are read from it share its memory: copy one that is to be kept for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    messages: u16,
}

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {at} of the batch is malformed")]
pub(crate) struct BatchError {
    at: usize,
}

impl Batch {
    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.into()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The messages, in order, each with its payload.
    pub fn messages(&self) -> Messages<'_> {
        Messages { batch: self, at: 0 }
    }

    pub(crate) fn encoded(&self) -> (&Bytes, u16) {
        (&self.bytes, self.messages)
    }

    /// Checks what a peer sent.
    pub(crate) fn decode(bytes: Bytes, messages: u16) -> Result<Batch, BatchError> {
        if usize::from(messages) > BATCH_MESSAGES_MAX || messages == 0 {
            return Err(BatchError { at: 0 });
        }
        let mut at = 0;
        for n in 0..usize::from(messages) {
            let (_, payload) = take(&bytes, at).ok_or(BatchError { at: n })?;
            at = payload.end;
        }
        if at == bytes.len() { Ok(Batch { bytes, messages }) } else { Err(BatchError { at: messages.into() }) }
    }
}

/// The message at `at`: its head, and where its payload is. `None`: it is malformed.
fn take(bytes: &[u8], at: usize) -> Option<(MessageHead<'_>, Range<usize>)> {
    let (mut fixed, texts) = bytes.get(at..)?.split_at_checked(FIXED_BYTES)?;
    let [boot, seq, low, expiry_ms] = std::array::from_fn(|_| fixed.get_u64_le());
    let (flags, bits) = (fixed.get_u32_le(), fixed.get_u8());
    let lengths: [u16; 4] = std::array::from_fn(|_| fixed.get_u16_le());
    let (properties, payload) = (fixed.get_u32_le() as usize, fixed.get_u32_le() as usize);
    let (qos, retain) = (bits & !RETAIN, bits & RETAIN != 0);
    if qos > 2 {
        return None;
    }
    let (mut rest, mut read) = (texts, [""; 4]);
    for (text, length) in read.iter_mut().zip(lengths) {
        let (bytes, behind) = rest.split_at_checked(length.into())?;
        (*text, rest) = (std::str::from_utf8(bytes).ok()?, behind);
    }
    let (properties, rest) = rest.split_at_checked(properties)?;
    let start = bytes.len() - rest.len();
    let end = start + rest.get(..payload)?.len();
    let [tenant, topic, user, client_id] = read;
    let expiry_ms = (expiry_ms != NEVER).then_some(expiry_ms);
    let boot = Boot(boot);
    let head =
        MessageHead { boot, seq, low, qos, retain, flags, expiry_ms, tenant, topic, user, client_id, properties };
    Some((head, start..end))
}

/// See [`Batch::messages`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    batch: &'a Batch,
    at: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = (MessageHead<'a>, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, payload) = take(&self.batch.bytes, self.at)?;
        self.at = payload.end;
        Some((head, self.batch.bytes.slice(payload)))
    }
}

/// What became of each message of a batch, in its order. The codes are the host's; 0 is "accepted".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes(Bytes);

impl Outcomes {
    /// The outcome of each message.
    pub fn new(codes: Vec<u8>) -> Outcomes {
        Outcomes(codes.into())
    }

    /// All of `messages` accepted.
    pub fn accepted(messages: usize) -> Outcomes {
        Outcomes(vec![0; messages].into())
    }

    /// A code for each message.
    pub fn codes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_wire(codes: Bytes) -> Outcomes {
        Outcomes(codes)
    }

    pub(crate) fn encoded(&self) -> &Bytes {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> MessageHead<'static> {
        MessageHead {
            boot: Boot(7),
            seq,
            low: 1,
            qos: 1,
            retain: true,
            flags: 3,
            expiry_ms: Some(60_000),
            tenant: "acme",
            topic: "a/b",
            user: "u",
            client_id: "c",
            properties: b"\x01\x02",
        }
    }

    fn batch(messages: u64) -> Batch {
        let mut builder = BatchBuilder::default();
        (1..=messages).for_each(|seq| builder.push(&head(seq), &vec![seq as u8; seq as usize]).unwrap());
        builder.finish()
    }

    /// What was pushed is read, payloads without a copy.
    #[test]
    fn what_is_pushed_is_read() {
        let sent = batch(3);
        let (bytes, messages) = sent.encoded();
        let received = Batch::decode(bytes.clone(), messages).unwrap();
        let read: Vec<_> = received.messages().collect();
        assert_eq!(read.len(), 3);
        for (seq, (got, payload)) in (1..).zip(&read) {
            assert_eq!((*got, payload.to_vec()), (head(seq), vec![seq as u8; seq as usize]));
            assert!(bytes.as_ptr_range().contains(&payload.as_ptr()), "the payload was copied");
        }
    }

    /// A peer's bytes are a batch whole or not at all: cut, longer, miscounted or with a QoS 3 they are none.
    #[test]
    fn malformed_batches_are_refused() {
        let sent = batch(2);
        let (bytes, messages) = sent.encoded();
        assert!(Batch::decode(bytes.clone(), messages).is_ok());
        (0..bytes.len()).for_each(|n| assert!(Batch::decode(bytes.slice(..n), messages).is_err(), "cut at {n}"));
        assert!(Batch::decode(bytes.clone(), 1).is_err());
        assert!(Batch::decode(bytes.clone(), 3).is_err());
        assert!(Batch::decode(Bytes::new(), 0).is_err());
        assert!(Batch::decode(bytes.clone(), BATCH_MESSAGES_MAX as u16 + 1).is_err());
        let mut other = bytes.to_vec();
        let bits = FIXED_BYTES - 17;
        assert_eq!(other[bits], 1 | RETAIN);
        other[bits] = 3;
        assert!(Batch::decode(other.into(), messages).is_err());
    }

    /// A batch is bounded by count and by bytes, and one large message still goes alone.
    #[test]
    fn batches_are_bounded() {
        let mut builder = BatchBuilder::default();
        for _ in 0..BATCH_MESSAGES_MAX {
            builder.push(&head(1), b"x").unwrap();
        }
        assert_eq!(builder.push(&head(1), b"x"), Err(PushError::Full));
        assert_eq!(builder.finish().len(), BATCH_MESSAGES_MAX);
        let large = vec![0; BATCH_BYTES_FULL * 2];
        builder.push(&head(1), &large).unwrap();
        assert_eq!(builder.push(&head(2), b"x"), Err(PushError::Full));
        builder.finish();
        assert_eq!(builder.push(&head(1), &vec![0; BATCH_BYTES_MAX]), Err(PushError::TooLarge));
        assert!(builder.is_empty());
    }
}
