//! Just enough WebSocket for MQTT inside it (RFC 6455), from the client's side.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;

/// Bytes of an answer to the upgrade that we read at most.
const HEAD_MAX: usize = 8192;

/// Asks for the upgrade at `path`; the answer must be 101.
pub(super) async fn upgrade(s: &mut Stream, path: &str) -> io::Result<()> {
    let req = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    s.write_all(req.as_bytes()).await?;
    s.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        head.push(s.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(()),
        false => Err(io::Error::other(format!("no WebSocket: {}", head.escape_ascii()))),
    }
}

/// Appends one binary frame; the masking key is zero, so masking costs us nothing.
pub(super) fn frame(to: &mut Vec<u8>, payload: &[u8]) {
    to.push(0x82);
    match payload.len() {
        n @ 0..126 => to.push(0x80 | n as u8),
        n @ 126..65536 => {
            to.push(0x80 | 126);
            to.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            to.push(0x80 | 127);
            to.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(payload);
}

/// Moves the payload of every whole data frame from `raw` to `inp`; control frames are dropped.
pub(super) fn unframe(raw: &mut Vec<u8>, inp: &mut Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    while let Some(b) = raw.get(at..).filter(|b| b.len() >= 2) {
        let (head, len) = match (b[1] & 127, b) {
            (126, [_, _, h, l, ..]) => (4, u16::from_be_bytes([*h, *l]) as usize),
            (127, [_, _, rest @ ..]) => match rest.first_chunk() {
                Some(n) => (10, usize::try_from(u64::from_be_bytes(*n)).map_err(io::Error::other)?),
                None => break,
            },
            (126, _) => break,
            (n, _) => (2, n as usize),
        };
        let Some(payload) = b[head..].get(..len) else { break };
        match b[0] & 15 {
            8 => return Err(io::Error::other("WebSocket closed by the broker")),
            0..=2 => inp.extend_from_slice(payload),
            _ => {}
        }
        at += head + len;
    }
    raw.drain(..at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frames of all three length forms arrive whole however the bytes are cut; a ping between is dropped.
    #[test]
    fn frames_survive_any_cut() {
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        for n in [0usize, 5, 125, 126, 65535, 65536] {
            let payload: Vec<u8> = (0..n).map(|i| (i * 7) as u8).collect();
            bytes.push(0x82);
            match n {
                0..126 => bytes.push(n as u8),
                126..65536 => bytes.extend([&[126][..], &(n as u16).to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &(n as u64).to_be_bytes()].concat()),
            }
            bytes.extend_from_slice(&payload);
            bytes.extend_from_slice(&[0x89, 1, 0xFF]);
            sent.extend(payload);
        }
        for step in [1, 3, 1000, bytes.len()] {
            let (mut raw, mut got) = (Vec::new(), Vec::new());
            for part in bytes.chunks(step) {
                raw.extend_from_slice(part);
                unframe(&mut raw, &mut got).unwrap();
            }
            assert!(got == sent && raw.is_empty(), "step {step}");
        }
        assert!(unframe(&mut vec![0x88, 0], &mut Vec::new()).is_err());
    }

    /// Every frame we send is masked, as the server must demand (RFC 6455, 5.1).
    #[test]
    fn sent_frames_are_masked() {
        for (n, head) in [(3usize, 2), (300, 4), (70_000, 10)] {
            let mut b = Vec::new();
            frame(&mut b, &vec![b'x'; n]);
            assert_eq!((b[0], b[1] & 0x80, b.len()), (0x82, 0x80, head + 4 + n));
        }
    }
}
