//! An MQTT connection with its own buffers and one duplex `turn`.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Stream, Target, tcp, websocket};
use crate::wire;

const READ: usize = 64 * 1024;

thread_local! {
    /// One read buffer for all connections, so that an idle one costs the generator little.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// An MQTT connection.
pub struct Conn {
    stream: Stream,
    /// Whether it speaks MQTT 5.
    pub v5: bool,
    ws: bool,
    /// Arrived bytes: `raw` not yet unframed (WebSocket only), `inp[pos..]` MQTT.
    raw: Vec<u8>,
    inp: Vec<u8>,
    pos: usize,
    /// Packets to send; `turn` takes them.
    pub out: Vec<u8>,
    /// What is on its way (framed, for a WebSocket).
    sending: Vec<u8>,
    sent: usize,
    /// TLS records that the socket has not taken yet.
    unflushed: bool,
}

impl Conn {
    /// Transport only: TCP, TLS and WebSocket handshakes.
    pub async fn open(t: &Target) -> io::Result<Conn> {
        let s = tcp::connect(t.addr, t.sources).await?;
        let mut stream = match &t.tls {
            None => Stream::Tcp(s),
            Some(c) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                Stream::Tls(Box::new(c.connect(name, s).await?))
            }
        };
        if let Some(path) = &t.ws {
            websocket::upgrade(&mut stream, path).await?;
        }
        Ok(Conn {
            stream,
            v5: t.v5,
            ws: t.ws.is_some(),
            raw: Vec::new(),
            inp: Vec::new(),
            pos: 0,
            out: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            unflushed: false,
        })
    }

    /// `open`, CONNECT and a CONNACK of success.
    pub async fn mqtt(t: &Target, client_id: &str, clean: bool) -> io::Result<Conn> {
        let mut c = Conn::open(t).await?;
        let n: String = client_id.chars().filter(|c| c.is_ascii_digit()).collect();
        let fill = |s: &Option<String>| s.as_ref().map(|s| s.replace("{i}", &n));
        let (user, pass) = (fill(&t.user), fill(&t.pass));
        let connect = wire::Connect {
            v5: t.v5,
            client_id,
            user: user.as_deref(),
            pass: pass.as_deref(),
            clean,
            keepalive: 3600,
            receive_max: t.receive_max,
        };
        wire::connect(&mut c.out, &connect);
        match c.wait_for(wire::CONNACK, |body| body.get(1).copied()).await? {
            Some(0) => Ok(c),
            code => Err(io::Error::other(format!("CONNACK code {code:?}"))),
        }
    }

    /// SUBSCRIBE and a SUBACK that grants every filter.
    pub async fn subscribe<S: AsRef<str>>(&mut self, filters: &[S], qos: u8) -> io::Result<()> {
        wire::subscribe(&mut self.out, self.v5, 1, filters, qos);
        let skip = 2 + self.v5 as usize;
        let bad = self.wait_for(wire::SUBACK, |b| b.iter().skip(skip).filter(|c| **c >= 0x80).count()).await?;
        if bad > 0 {
            return Err(io::Error::other(format!("{bad} of {} filters refused", filters.len())));
        }
        Ok(())
    }

    /// Sends what is queued and reads on until a packet of `kind` comes; any other is an error.
    async fn wait_for<R>(&mut self, kind: u8, f: impl Fn(&[u8]) -> R) -> io::Result<R> {
        loop {
            if let Some((first, from, to)) = self.next_packet()? {
                if first >> 4 == kind {
                    let r = f(&self.inp[from..to]);
                    self.pos = to;
                    return Ok(r);
                }
                return Err(io::Error::other(format!(
                    "packet type {} while waiting for {kind}: {:02x?}",
                    first >> 4,
                    &self.inp[from..to.min(from + 8)]
                )));
            }
            self.turn().await?;
        }
    }

    /// The next whole MQTT packet: first byte and the body's place in `inp`. Does not advance.
    fn next_packet(&self) -> io::Result<Option<(u8, usize, usize)>> {
        let b = &self.inp[self.pos..];
        let f = wire::frame(b).map_err(io::Error::other)?;
        Ok(f.map(|(head, len)| (b[0], self.pos + head, self.pos + len)))
    }

    /// Hands every whole packet that has arrived to `f(first byte, body, out)`; a DISCONNECT is an error.
    pub fn packets(&mut self, mut f: impl FnMut(u8, &[u8], &mut Vec<u8>)) -> io::Result<()> {
        while let Some((first, from, to)) = self.next_packet()? {
            if first >> 4 == wire::DISCONNECT {
                let said = &self.inp[from..to.min(from + 8)];
                return Err(io::Error::other(format!("DISCONNECT from the broker: {said:02x?}")));
            }
            f(first, &self.inp[from..to], &mut self.out);
            self.pos = to;
        }
        if self.pos == self.inp.len() {
            self.inp.clear();
            self.pos = 0;
        } else if self.pos > READ {
            self.inp.drain(..self.pos);
            self.pos = 0;
        }
        Ok(())
    }

    /// Bytes still to be sent.
    pub fn unsent(&self) -> usize {
        self.out.len() + self.sending.len() - self.sent
    }

    /// Writes what it can and waits until something was read or all was written.
    pub async fn turn(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.poll_send(cx)?;
        let read = self.poll_receive(cx)?;
        if read || written { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// True: there was something to send and the socket took all of it.
    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut written = false;
        while self.unsent() > 0 {
            if self.sent == self.sending.len() {
                self.sending.clear();
                self.sent = 0;
                if self.ws {
                    websocket::frame(&mut self.sending, &self.out);
                    self.out.clear();
                } else {
                    std::mem::swap(&mut self.sending, &mut self.out);
                }
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.sending[self.sent..]) {
                Poll::Ready(n) => {
                    self.sent += n?;
                    written = true;
                }
                Poll::Pending => {
                    written = false;
                    break;
                }
            }
        }
        self.unflushed |= written && matches!(self.stream, Stream::Tls(_));
        if self.unflushed
            && let Poll::Ready(r) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            r?;
            self.unflushed = false;
        }
        Ok(written)
    }

    /// True: something was read.
    #[inline]
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|s| {
            let mut buf = ReadBuf::new(s);
            let Poll::Ready(r) = Pin::new(&mut self.stream).poll_read(cx, &mut buf) else { return Ok(false) };
            r?;
            if buf.filled().is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker"));
            }
            if self.ws {
                self.raw.extend_from_slice(buf.filled());
                websocket::unframe(&mut self.raw, &mut self.inp)?;
            } else {
                self.inp.extend_from_slice(buf.filled());
            }
            Ok(true)
        })
    }

    /// DISCONNECT and close.
    pub async fn close(mut self) -> io::Result<()> {
        wire::disconnect(&mut self.out);
        while self.unsent() > 0 {
            self.turn().await?;
        }
        self.stream.shutdown().await
    }
}
