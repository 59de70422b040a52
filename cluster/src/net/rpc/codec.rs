//! Frames: what tarpc's messages are on the wire.
//!
//! ```text
//! 4 bytes  length of what follows, big endian     at most the limit, or the connection is closed unread
//! 1 byte   format, 1
//! 4 bytes  length of the head, big endian
//!          head, postcard: `Ask` or `Reply`
//!          tail, raw: messages
//! ```
//!
//! Deadlines travel as milliseconds and are cut to [`DEADLINE_MS_MAX`]: tarpc adds what it is given to the clock, and panics
//! when that is more than a clock can show.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Request, Response, ServerError, context, trace};
use tokio_util::codec::{Decoder, Encoder};

use super::batch::{Batch, Outcomes};
use super::service::{HelloReply, JoinAsk, JoinReply, NodeRequest, NodeResponse, Purpose};
use super::{FRAME_BYTES_MAX, HELLO_BYTES_MAX};
use crate::core::Hello;

const FORMAT: u8 = 1;
/// Bytes before the head, behind the length of the frame.
const BEFORE_HEAD: usize = 5;
/// Memory that is made ready for a frame before its bytes have come. A batch that is full has place in it.
const AHEAD_BYTES_MAX: usize = 512 * 1024;
/// A call waits for its answer no longer.
pub(crate) const DEADLINE_MS_MAX: u32 = 60_000;
/// Control messages in a call.
pub(crate) const CONTROLS_MAX: usize = 1024;

/// The head of what a client sends.
#[derive(Serialize, Deserialize)]
enum Ask {
    Call { id: u64, deadline_ms: u32, call: Call },
    Cancel { id: u64 },
}

#[derive(Serialize, Deserialize)]
enum Call {
    Hello(Hello, Purpose),
    Join(JoinAsk),
    /// The tail: each message with its length before it.
    Control(u16),
    /// The tail: the batch.
    Deliver(u16),
    Ping,
    Goodbye,
}

/// The head of what a server sends.
#[derive(Serialize, Deserialize)]
struct Reply {
    id: u64,
    answer: Answer,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Hello(HelloReply),
    Join(JoinReply),
    Control,
    /// The tail: a code a message.
    Deliver,
    Ping,
    Goodbye,
    Failed,
}

/// The bytes of messages, for one end of a connection: `In` is received, `Out` sent.
pub(crate) struct Codec<In, Out> {
    limit: Arc<AtomicUsize>,
    types: PhantomData<fn(Out) -> In>,
}

/// The client's end.
pub(crate) type ClientCodec = Codec<Response<NodeResponse>, ClientMessage<NodeRequest>>;
/// The server's end.
pub(crate) type ServerCodec = Codec<ClientMessage<NodeRequest>, Response<NodeResponse>>;

/// How long frames of a connection may be. Small until the Hello was accepted.
#[derive(Clone)]
pub(crate) struct FrameLimit(Arc<AtomicUsize>);

impl FrameLimit {
    pub(crate) fn raise(&self) {
        self.0.store(FRAME_BYTES_MAX, Ordering::Relaxed);
    }
}

impl<In, Out> Codec<In, Out> {
    pub(crate) fn new() -> (Self, FrameLimit) {
        let limit = Arc::new(AtomicUsize::new(HELLO_BYTES_MAX));
        (Codec { limit: limit.clone(), types: PhantomData }, FrameLimit(limit))
    }
}

/// What can be received.
pub(crate) trait Incoming: Sized {
    fn from_frame(head: &[u8], tail: Bytes) -> io::Result<Self>;
}

/// What can be sent.
pub(crate) trait Outgoing {
    fn into_frame(self, frame: &mut Frame<'_>) -> io::Result<()>;
}

impl<In: Incoming, Out> Decoder for Codec<In, Out> {
    type Item = In;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<In>> {
        let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        let limit = self.limit.load(Ordering::Relaxed);
        if length > limit {
            return Err(malformed(format!("a frame of {length} bytes, at most {limit} are taken")));
        }
        if buffer.len() - 4 < length {
            buffer.reserve((4 + length - buffer.len()).min(AHEAD_BYTES_MAX));
            return Ok(None);
        }
        let mut frame = buffer.split_to(4 + length).freeze();
        frame.advance(4);
        match *frame {
            [FORMAT, a, b, c, d, ..] => {
                frame.advance(BEFORE_HEAD);
                let head = u32::from_be_bytes([a, b, c, d]) as usize;
                if head > frame.len() {
                    return Err(malformed("a frame shorter than its head"));
                }
                let head = frame.split_to(head);
                In::from_frame(&head, frame).map(Some)
            }
            [format, ..] if format != FORMAT => Err(malformed(format!("a frame of format {format}, wanted {FORMAT}"))),
            _ => Err(malformed("a frame without a head")),
        }
    }
}

impl<In, Out: Outgoing> Encoder<Out> for Codec<In, Out> {
    type Error = io::Error;

    fn encode(&mut self, message: Out, buffer: &mut BytesMut) -> io::Result<()> {
        let before = buffer.len();
        let result = message.into_frame(&mut Frame { buffer, start: before });
        let length = buffer.len() - before;
        if result.is_err() || length > FRAME_BYTES_MAX {
            buffer.truncate(before);
            return result.and(Err(malformed("a message larger than a frame")));
        }
        Ok(())
    }
}

/// A frame that is being written.
pub(crate) struct Frame<'a> {
    buffer: &'a mut BytesMut,
    start: usize,
}

impl Frame<'_> {
    /// Writes lengths and head; `tail` bytes must follow.
    fn head(&mut self, head: &impl Serialize, tail: usize) -> io::Result<()> {
        let head = postcard::to_allocvec(head).map_err(malformed)?;
        let length = u32::try_from(BEFORE_HEAD + head.len() + tail).map_err(malformed)?;
        self.buffer.reserve(4 + BEFORE_HEAD + head.len() + tail);
        self.buffer.put_u32(length);
        self.buffer.put_u8(FORMAT);
        self.buffer.put_u32(head.len() as u32);
        self.buffer.put_slice(&head);
        debug_assert!(self.start + 4 + BEFORE_HEAD + head.len() == self.buffer.len());
        Ok(())
    }
}

impl Outgoing for ClientMessage<NodeRequest> {
    fn into_frame(self, frame: &mut Frame<'_>) -> io::Result<()> {
        let (id, deadline, request) = match self {
            ClientMessage::Request(request) => (request.id, request.context.deadline, request.message),
            ClientMessage::Cancel { request_id, .. } => return frame.head(&Ask::Cancel { id: request_id }, 0),
            _ => return Err(malformed("a message of tarpc's that is not known")),
        };
        let left_ms = deadline.saturating_duration_since(Instant::now()).as_millis();
        let deadline_ms = u32::try_from(left_ms).unwrap_or(DEADLINE_MS_MAX).min(DEADLINE_MS_MAX);
        let ask = |call| Ask::Call { id, deadline_ms, call };
        match request {
            NodeRequest::Hello { hello, purpose } => frame.head(&ask(Call::Hello(hello, purpose)), 0),
            NodeRequest::Join { ask: join } => frame.head(&ask(Call::Join(join)), 0),
            NodeRequest::Control { messages } => {
                let count = u16::try_from(messages.len()).map_err(malformed)?;
                frame.head(&ask(Call::Control(count)), messages.iter().map(|m| 4 + m.len()).sum())?;
                for message in &messages {
                    frame.buffer.put_u32(message.len() as u32);
                    frame.buffer.put_slice(message);
                }
                Ok(())
            }
            NodeRequest::Deliver { batch } => {
                let (bytes, messages) = batch.encoded();
                frame.head(&ask(Call::Deliver(messages)), bytes.len())?;
                frame.buffer.put_slice(bytes);
                Ok(())
            }
            NodeRequest::Ping {} => frame.head(&ask(Call::Ping), 0),
            NodeRequest::Goodbye {} => frame.head(&ask(Call::Goodbye), 0),
        }
    }
}

impl Incoming for ClientMessage<NodeRequest> {
    fn from_frame(head: &[u8], tail: Bytes) -> io::Result<Self> {
        let (id, deadline_ms, call) = match take(head)? {
            (Ask::Call { id, deadline_ms, call }, rest) => {
                // What later releases append to a Hello is not for us.
                let is_open = matches!(call, Call::Hello(..) | Call::Join(_));
                if !is_open && !rest.is_empty() {
                    return Err(malformed("a head longer than what is in it"));
                }
                (id, deadline_ms, call)
            }
            (Ask::Cancel { id }, _) => {
                return Ok(ClientMessage::Cancel { trace_context: trace::Context::default(), request_id: id });
            }
        };
        let message = match call {
            Call::Control(count) => NodeRequest::Control { messages: split(tail, count)? },
            Call::Deliver(messages) => {
                NodeRequest::Deliver { batch: Batch::decode(tail, messages).map_err(malformed)? }
            }
            _ if !tail.is_empty() => return Err(malformed("bytes behind a call that has none")),
            Call::Hello(hello, purpose) => NodeRequest::Hello { hello, purpose },
            Call::Join(ask) => NodeRequest::Join { ask },
            Call::Ping => NodeRequest::Ping {},
            Call::Goodbye => NodeRequest::Goodbye {},
        };
        let mut context = context::current();
        context.deadline = Instant::now() + Duration::from_millis(deadline_ms.min(DEADLINE_MS_MAX).into());
        Ok(ClientMessage::Request(Request { context, id, message }))
    }
}

/// The messages of a control call.
fn split(mut tail: Bytes, count: u16) -> io::Result<Vec<Bytes>> {
    if usize::from(count) > CONTROLS_MAX {
        return Err(malformed("more control messages than a call has"));
    }
    let mut messages = Vec::with_capacity(count.into());
    for _ in 0..count {
        let Some(length) = tail.first_chunk::<4>() else { return Err(malformed("control messages that are cut")) };
        let length = u32::from_be_bytes(*length) as usize;
        tail.advance(4);
        if length > tail.len() {
            return Err(malformed("control messages that are cut"));
        }
        messages.push(tail.split_to(length));
    }
    if tail.is_empty() { Ok(messages) } else { Err(malformed("bytes behind the last control message")) }
}

impl Outgoing for Response<NodeResponse> {
    fn into_frame(self, frame: &mut Frame<'_>) -> io::Result<()> {
        let id = self.request_id;
        let answer = match self.message {
            Ok(NodeResponse::Deliver(outcomes)) => {
                let codes = outcomes.encoded();
                frame.head(&Reply { id, answer: Answer::Deliver }, codes.len())?;
                frame.buffer.put_slice(codes);
                return Ok(());
            }
            Ok(NodeResponse::Hello(reply)) => Answer::Hello(reply),
            Ok(NodeResponse::Join(reply)) => Answer::Join(reply),
            Ok(NodeResponse::Control(())) => Answer::Control,
            Ok(NodeResponse::Ping(())) => Answer::Ping,
            Ok(NodeResponse::Goodbye(())) => Answer::Goodbye,
            Err(_) => Answer::Failed,
        };
        frame.head(&Reply { id, answer }, 0)
    }
}

impl Incoming for Response<NodeResponse> {
    fn from_frame(head: &[u8], tail: Bytes) -> io::Result<Self> {
        let (Reply { id, answer }, _) = take(head)?;
        let response = match answer {
            Answer::Deliver => Ok(NodeResponse::Deliver(Outcomes::from_wire(tail))),
            _ if !tail.is_empty() => return Err(malformed("bytes behind an answer that has none")),
            Answer::Hello(reply) => Ok(NodeResponse::Hello(reply)),
            Answer::Join(reply) => Ok(NodeResponse::Join(reply)),
            Answer::Control => Ok(NodeResponse::Control(())),
            Answer::Ping => Ok(NodeResponse::Ping(())),
            Answer::Goodbye => Ok(NodeResponse::Goodbye(())),
            Answer::Failed => Err(ServerError::new(io::ErrorKind::Other, "the peer could not answer".into())),
        };
        Ok(Response { request_id: id, message: response })
    }
}

fn take<T: DeserializeOwned>(head: &[u8]) -> io::Result<(T, &[u8])> {
    postcard::take_from_bytes(head).map_err(|_| malformed("a head that cannot be read"))
}

/// The peer did not keep to the form: the connection ends.
fn malformed(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
