//! Frames of an upgraded connection (RFC 6455, section 5; MQTT 5.0, section 6).

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

/// Bytes that tungstenite reads at a time and keeps for an idle connection (its own default: 128 KiB).
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Largest frame and message of somebody who is not admitted yet: tungstenite reserves what is announced.
const STRANGER_BYTES_MAX: usize = 64 << 10;
/// Pings and pongs between two data frames.
const CONTROL_FRAMES_MAX: u32 = 64;

/// What a peer did that a WebSocket, or MQTT over one, forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WebSocketBreach {
    /// A text frame (MQTT-6.0.0-1).
    Text,
    /// A frame or message larger than it may be.
    TooLarge,
    /// More control frames than anybody needs.
    ControlFlood,
    /// Not a frame.
    Malformed,
}

impl WebSocketBreach {
    /// The clause.
    pub(crate) const fn clause(self) -> &'static str {
        match self {
            WebSocketBreach::Text => "MQTT-6.0.0-1",
            WebSocketBreach::TooLarge => "RFC 6455, 10.4",
            WebSocketBreach::ControlFlood => "RFC 6455, 5.5.2",
            WebSocketBreach::Malformed => "RFC 6455, 5.2",
        }
    }

    /// For people.
    pub(crate) const fn detail(self) -> &'static str {
        match self {
            WebSocketBreach::Text => "a frame that is not binary",
            WebSocketBreach::TooLarge => "a frame larger than allowed",
            WebSocketBreach::ControlFlood => "pings without data",
            WebSocketBreach::Malformed => "bytes that are no frame",
        }
    }
}

/// An upgraded connection.
pub(crate) struct Frames {
    context: WebSocketContext,
    /// Control frames since the last data frame.
    controls: u32,
    /// The peer said Close.
    closed: bool,
}

/// The transport as tungstenite sees it.
struct Pipe<'a> {
    incoming: &'a [u8],
    outgoing: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.incoming.is_empty() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => self.incoming.read(into),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Frames {
    /// Of somebody who is not admitted yet.
    pub(crate) fn new() -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // Everything is written to memory at once, so nothing stays in tungstenite's buffer.
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 30)
            .max_frame_size(Some(STRANGER_BYTES_MAX))
            .max_message_size(Some(STRANGER_BYTES_MAX));
        Frames { context: WebSocketContext::new(Role::Server, Some(config)), controls: 0, closed: false }
    }

    /// The client is admitted: its frames may be as large as its packets.
    pub(crate) fn admit(&mut self, packet_bytes_max: u32) {
        let most = (packet_bytes_max as usize).max(STRANGER_BYTES_MAX);
        self.context.set_config(|config| {
            config.max_frame_size = Some(most);
            config.max_message_size = Some(most);
        });
    }

    /// Takes bytes of the transport: MQTT is appended to `mqtt`, answers of the WebSocket itself to `outgoing`.
    ///
    /// # Errors
    /// The connection must be closed; what came before is in `mqtt`.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        mqtt: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<(), WebSocketBreach> {
        let mut pipe = Pipe { incoming: bytes, outgoing };
        loop {
            match self.context.read(&mut pipe) {
                Ok(Message::Binary(data)) => {
                    self.controls = 0;
                    mqtt.extend_from_slice(&data);
                }
                Ok(Message::Text(_)) => return Err(WebSocketBreach::Text),
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    self.controls += 1;
                    if self.controls > CONTROL_FRAMES_MAX {
                        return Err(WebSocketBreach::ControlFlood);
                    }
                }
                Ok(Message::Close(_) | Message::Frame(_)) => self.closed = true,
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.closed = true;
                    break;
                }
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => return Err(WebSocketBreach::TooLarge),
                // Text is checked for UTF-8 before it is handed out.
                Err(Error::Utf8(_)) => return Err(WebSocketBreach::Text),
                Err(_) => return Err(WebSocketBreach::Malformed),
            }
        }
        // Pongs and the answer to Close. Writing to memory does not fail.
        let _ = self.context.flush(&mut pipe);
        Ok(())
    }

    /// Whether the peer said Close: no more data comes.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends MQTT bytes as one binary frame to `outgoing`.
    ///
    /// # Errors
    /// A Close was exchanged.
    pub(crate) fn write(&mut self, mqtt: &[u8], outgoing: &mut Vec<u8>) -> io::Result<()> {
        if !self.context.can_write() {
            return Err(io::Error::other(Error::AlreadyClosed));
        }
        // Not as a message, which would be copied to own it and copied again: nothing waits in `context`, a server's frames
        // are not masked, and so a frame is its header and the bytes.
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        header.format(mqtt.len() as u64, outgoing).map_err(io::Error::other)?;
        outgoing.extend_from_slice(mqtt);
        Ok(())
    }

    /// Appends a Close frame to `outgoing`, if none was exchanged.
    pub(crate) fn close(&mut self, outgoing: &mut Vec<u8>) {
        let mut pipe = Pipe { incoming: &[], outgoing };
        // One that was exchanged already is no reason to say more.
        let _ = self.context.close(&mut pipe, None).and_then(|()| self.context.flush(&mut pipe));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a client, masked with zeroes.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            n @ 0..126 => bytes.push(0x80 | n as u8),
            n @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn read(frames: &mut Frames, bytes: &[u8]) -> (Result<(), WebSocketBreach>, Vec<u8>, Vec<u8>) {
        let (mut mqtt, mut outgoing) = (Vec::new(), Vec::new());
        (frames.read(bytes, &mut mqtt, &mut outgoing), mqtt, outgoing)
    }

    /// Guards MQTT-6.0.0-2: packets need not fit frames, and frames may come in pieces of one byte.
    #[test]
    fn packets_may_span_frames_and_frames_may_span_reads() {
        let bytes = [frame(0x02, b"ab"), frame(0x80, b"cd"), frame(0x82, b""), frame(0x82, &[7; 300])].concat();
        let want = [&b"abcd"[..], &[7; 300]].concat();
        let mut frames = Frames::new();
        assert_eq!(read(&mut frames, &bytes), (Ok(()), want.clone(), vec![]));
        let (mut frames, mut mqtt) = (Frames::new(), Vec::new());
        for byte in &bytes {
            frames.read(&[*byte], &mut mqtt, &mut Vec::new()).unwrap();
        }
        assert_eq!(mqtt, want);
    }

    /// Guards MQTT-6.0.0-1 and the limits: text, too large, floods of pings and no frames are breaches; a ping is answered.
    #[test]
    fn breaches_are_told_apart() {
        let breach = |bytes: &[u8]| read(&mut Frames::new(), bytes).0;
        assert_eq!(breach(&frame(0x81, b"x")), Err(WebSocketBreach::Text));
        assert_eq!(breach(&frame(0x81, &[0xFF])), Err(WebSocketBreach::Text));
        let announced = &frame(0x82, &[0; STRANGER_BYTES_MAX + 1])[..14];
        assert_eq!(breach(announced), Err(WebSocketBreach::TooLarge), "before it arrives");
        assert_eq!(breach(&[0x82, 0x01, 0]), Err(WebSocketBreach::Malformed), "not masked");
        assert_eq!(breach(&frame(0xF2, b"")), Err(WebSocketBreach::Malformed));
        assert_eq!(breach(&frame(0x89, b"p").repeat(65)), Err(WebSocketBreach::ControlFlood));
        let calm = [frame(0x89, b"p").repeat(60), frame(0x82, b"d"), frame(0x89, b"p").repeat(60)].concat();
        let (result, mqtt, outgoing) = read(&mut Frames::new(), &calm);
        assert_eq!((result, &mqtt[..]), (Ok(()), &b"d"[..]));
        assert!(outgoing.starts_with(&[0x8A, 1, b'p']));
    }

    /// Guards that an admitted client may send large frames, and what we write is one unmasked binary frame.
    #[test]
    fn admitted_clients_may_send_more() {
        let mut frames = Frames::new();
        frames.admit(1 << 20);
        let (result, mqtt, _) = read(&mut frames, &frame(0x82, &vec![1; 200_000]));
        assert_eq!((result, mqtt.len()), (Ok(()), 200_000));
        let mut outgoing = Vec::new();
        frames.write(b"hi", &mut outgoing).unwrap();
        assert_eq!(outgoing, [0x82, 2, b'h', b'i']);
        let (_, _, answer) = read(&mut frames, &frame(0x88, &[0x03, 0xE8]));
        assert_eq!(answer[0], 0x88, "Close is answered");
        assert!(frames.is_closed() && frames.write(b"x", &mut Vec::new()).is_err());
    }
}
