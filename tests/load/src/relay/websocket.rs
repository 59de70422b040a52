//! WebSocket under the batched relay (RFC 6455): an upgrade that is answered unread, and binary frames both ways.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes of the request that are read at most.
const REQUEST_MAX: usize = 8 << 10;

/// Bytes of a buffer that an idle connection keeps.
const KEPT_MAX: usize = 4096;

/// The accept value is that of the key which the generator always sends, the RFC's own example.
const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A stream of payloads in place of the stream of frames below it.
pub(super) struct WebSocket<S> {
    stream: S,
    incoming: Unframer,
    /// Frames on their way, and how much of them the socket took.
    sending: Vec<u8>,
    sent: usize,
}

/// What is known of the frame that is being read.
#[derive(Default)]
struct Unframer {
    /// A head that is not whole yet.
    head: Vec<u8>,
    mask: [u8; 4],
    /// Payload bytes still to come.
    left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for the request and says yes.
    pub(super) async fn accept(mut stream: S) -> io::Result<Self> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if request.len() > REQUEST_MAX || stream.read_buf(&mut request).await? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        stream.write_all(RESPONSE).await?;
        stream.flush().await?;
        Ok(WebSocket { stream, incoming: Unframer::default(), sending: Vec::new(), sent: 0 })
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sending.len() {
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, &self.sending[self.sent..]))?;
        }
        self.sending.clear();
        self.sending.shrink_to(KEPT_MAX);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Unframer {
    /// Moves the payloads of what lies in `bytes[from..to]` to `from`; returns where they end.
    fn take(&mut self, bytes: &mut [u8], from: usize, to: usize) -> io::Result<usize> {
        let (mut at, mut end) = (from, from);
        while at < to {
            if self.left == 0 {
                self.head.push(bytes[at]);
                at += 1;
                if let Some((mask, left)) = whole(&self.head)? {
                    (self.mask, self.left) = (mask, left);
                    self.head.clear();
                }
                continue;
            }
            let n = self.left.min(to - at);
            bytes.copy_within(at..at + n, end);
            let (fours, rest) = bytes[end..end + n].as_chunks_mut::<4>();
            for four in fours {
                *four = (u32::from_ne_bytes(*four) ^ u32::from_ne_bytes(self.mask)).to_ne_bytes();
            }
            for (byte, mask) in rest.iter_mut().zip(self.mask) {
                *byte ^= mask;
            }
            self.mask.rotate_left(n % 4);
            (at, end, self.left) = (at + n, end + n, self.left - n);
        }
        Ok(end)
    }
}

/// Mask and payload length of a head, if it is whole.
fn whole(head: &[u8]) -> io::Result<Option<([u8; 4], usize)>> {
    let (Some(first), Some(second)) = (head.first(), head.get(1)) else { return Ok(None) };
    // The generator sends nothing else; Close ends the connection.
    if !matches!(first & 15, 0 | 2) || second & 0x80 == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length_bytes = match second & 127 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(mask) = head.get(2 + length_bytes..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let left = match length_bytes {
        0 => usize::from(second & 127),
        n => head[2..2 + n].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    };
    Ok(Some((*mask, left)))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let from = buf.filled().len();
        loop {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let to = buf.filled().len();
            let end = self.incoming.take(buf.filled_mut(), from, to)?;
            buf.set_filled(end);
            // Nothing read is the end; a head alone is not.
            if to == from || end > from {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_sending(cx))?;
        head(&mut self.sending, bytes.len());
        self.sending.extend_from_slice(bytes);
        // Taken, also if the socket is full: the next write or flush goes on.
        let _ = self.poll_sending(cx)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sending(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The head of a server's binary frame.
fn head(to: &mut Vec<u8>, payload: usize) {
    to.push(0x82);
    match payload {
        n @ 0..126 => to.push(n as u8),
        n @ 126..65_536 => {
            to.push(126);
            to.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            to.push(127);
            to.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn frame(mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        head(&mut bytes, payload.len());
        bytes[1] |= 0x80;
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Payloads arrive whole and unmasked however the frames are cut, behind what the buffer holds already.
    #[test]
    fn payloads_survive_any_cut() {
        let payload = |n: usize| (0..n).map(|i| (i * 7) as u8).collect::<Vec<u8>>();
        let lengths = [0, 1, 5, 125, 126, 65_535, 65_536];
        let sent: Vec<u8> = lengths.iter().flat_map(|n| payload(*n)).collect();
        let bytes: Vec<u8> = lengths.iter().flat_map(|n| frame([1, 2, 3, *n as u8], &payload(*n))).collect();
        for step in [1, 3, 1000, bytes.len()] {
            let (mut unframer, mut got) = (Unframer::default(), Vec::new());
            for part in bytes.chunks(step) {
                let mut buffer = [b"before", part].concat();
                let end = buffer.len();
                let end = unframer.take(&mut buffer, 6, end).unwrap();
                assert!(buffer.starts_with(b"before"));
                got.extend_from_slice(&buffer[6..end]);
            }
            assert!(got == sent && unframer.left == 0 && unframer.head.is_empty(), "step {step}");
        }
    }

    /// Frames that the generator does not send end the connection instead of being measured as data.
    #[test]
    fn other_frames_are_refused() {
        for bad in [[0x88, 0x80], [0x81, 0x80], [0x82, 0x00]] {
            assert!(Unframer::default().take(&mut bad.clone(), 0, 2).is_err(), "{bad:?}");
        }
    }
}
