//! Just enough WebSocket for a client that may break every rule of it (RFC 6455): the request, frames by hand.

use std::io;

/// Bytes of an answer to the request that are read at most.
const HEAD_BYTES_MAX: usize = 8192;

/// First byte of a frame that is whole and binary.
pub const BINARY: u8 = 0x82;
/// … and text.
pub const TEXT: u8 = 0x81;
/// A ping.
pub const PING: u8 = 0x89;

/// The request for a WebSocket at `path`; `more` are further header lines, each with its line end.
pub fn request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// The header line that offers this subprotocol.
pub fn subprotocol(name: &str) -> String {
    format!("Sec-WebSocket-Protocol: {name}\r\n")
}

/// A client's frame with this first byte, masked with zeroes.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(n), _) if n < 126 => bytes.push(0x80 | n),
        (_, Ok(n)) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&n.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// What comes from the server of an upgraded connection.
#[derive(Default)]
pub(crate) struct Frames {
    raw: Vec<u8>,
    /// The server said Close.
    pub(crate) closed: bool,
}

impl Frames {
    /// Takes bytes of the transport and appends the payload of every binary frame that is whole to `mqtt`.
    ///
    /// # Errors
    /// A frame that a broker must not send: text, masked, in pieces.
    pub(crate) fn read(&mut self, bytes: &[u8], mqtt: &mut Vec<u8>) -> io::Result<()> {
        self.raw.extend_from_slice(bytes);
        let wrong = |first: u8, second: u8| {
            io::Error::new(io::ErrorKind::InvalidData, format!("a frame that begins {first:#x} {second:#x}"))
        };
        while let [first, second, rest @ ..] = &self.raw[..] {
            let (first, second) = (*first, *second);
            if second & 0x80 != 0 {
                return Err(wrong(first, second));
            }
            let (head, length) = match (second, rest) {
                (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
                (127, _) if rest.len() >= 8 => {
                    (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk().unwrap())).map_err(io::Error::other)?)
                }
                (126 | 127, _) => return Ok(()),
                (length, _) => (2, usize::from(length)),
            };
            let Some(payload) = self.raw[head..].get(..length) else { return Ok(()) };
            match first {
                BINARY => mqtt.extend_from_slice(payload),
                0x88 => self.closed = true,
                // A pong, or a ping that we do not answer.
                0x89 | 0x8A => {}
                _ => return Err(wrong(first, second)),
            }
            self.raw.drain(..head + length);
        }
        Ok(())
    }
}

/// The status of an HTTP response that is read byte by byte with `read`, so that nothing behind it is taken.
///
/// # Errors
/// Those of `read`; no end within [`HEAD_BYTES_MAX`]; no status.
pub(crate) fn status(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<u16> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {head}")))
}
