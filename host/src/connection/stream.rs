//! A client's byte stream: a socket, plain or TLS, and on it perhaps a WebSocket.
//!
//! rustls and tungstenite are fed by large reads and emptied by one write, both without IO of their own.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::listen::ws::{Frames, WebSocketBreach};

/// See the module.
pub(crate) struct Stream {
    socket: Socket,
    web: Option<Box<Web>>,
}

enum Socket {
    Plain(TcpStream),
    Tls(TcpStream, Box<ServerConnection>),
}

/// A WebSocket, and what lies between it and its user.
struct Web {
    frames: Frames,
    /// MQTT that was read, and how much of it is taken.
    mqtt: Vec<u8>,
    taken: usize,
    /// Pongs and the answer to Close, for the next write.
    outgoing: Vec<u8>,
    breach: Option<WebSocketBreach>,
}

/// Buffers of a worker for what is under the MQTT.
pub(crate) struct Cipher {
    read: Box<[u8]>,
    write: Vec<u8>,
    /// Frames just read, and framed output.
    frames: Box<[u8]>,
    framed: Vec<u8>,
}

/// A buffer that grew beyond this is given back to the allocator.
const BUFFER_BYTES_MAX: usize = 256 << 10;

impl Cipher {
    /// Reads at most `read_bytes` at a time.
    pub(crate) fn new(read_bytes: usize) -> Self {
        let buffer = || vec![0; read_bytes].into();
        Cipher { read: buffer(), write: Vec::new(), frames: buffer(), framed: Vec::new() }
    }
}

impl Stream {
    /// Without TLS.
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Stream { socket: Socket::Plain(tcp), web: None }
    }

    /// Of a finished handshake. Every write is followed by taking all records, so rustls need not bound its buffer.
    pub(crate) fn tls(tcp: TcpStream, mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(None);
        Stream { socket: Socket::Tls(tcp, Box::new(tls)), web: None }
    }

    /// Certificates that the peer sent, leaf first; none without TLS, and of a peer that was asked for none.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        match &self.socket {
            Socket::Plain(_) => &[],
            Socket::Tls(_, tls) => tls.peer_certificates().unwrap_or_default(),
        }
    }

    /// From now on it is a WebSocket; `early` are bytes that came behind the request.
    pub(crate) fn upgrade(&mut self, early: &[u8]) {
        let mut web = Web { frames: Frames::new(), mqtt: Vec::new(), taken: 0, outgoing: Vec::new(), breach: None };
        web.receive(early);
        self.web = Some(Box::new(web));
    }

    /// The client is admitted: its frames may be as large as its packets.
    pub(crate) fn admit(&mut self, packet_bytes_max: u32) {
        if let Some(web) = &mut self.web {
            web.frames.admit(packet_bytes_max);
        }
    }

    /// What the peer did to end the WebSocket, after a read that failed.
    pub(crate) fn breach(&self) -> Option<WebSocketBreach> {
        self.web.as_ref().and_then(|web| web.breach)
    }

    /// Reads MQTT; 0 bytes is the end.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context,
        into: &mut [u8],
        cipher: &mut Cipher,
    ) -> Poll<io::Result<usize>> {
        match &mut self.web {
            None => self.socket.poll_read(cx, into, cipher),
            Some(web) => web.poll_read(&mut self.socket, cx, into, cipher),
        }
    }

    /// Whether there is something to send besides MQTT.
    #[inline]
    pub(crate) fn has_outgoing(&self) -> bool {
        self.web.as_ref().is_some_and(|web| !web.outgoing.is_empty())
    }

    /// Takes all of `bytes`: writes what the socket takes, keeps the rest in `unsent`, which must be empty.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        bytes: &[u8],
        unsent: &mut Vec<u8>,
        cipher: &mut Cipher,
    ) -> io::Result<()> {
        let Some(web) = &mut self.web else { return self.socket.send(cx, bytes, unsent, cipher) };
        let mut framed = std::mem::take(&mut cipher.framed);
        let sent = web.frame(bytes, &mut framed).and_then(|()| self.socket.send(cx, &framed, unsent, cipher));
        framed.clear();
        if framed.capacity() <= BUFFER_BYTES_MAX {
            cipher.framed = framed;
        }
        sent
    }

    /// Appends `bytes` to `unsent` as they go over the socket, behind what waits there.
    pub(crate) fn send_later(&mut self, bytes: &[u8], unsent: &mut Vec<u8>, cipher: &mut Cipher) -> io::Result<()> {
        match &mut self.web {
            None => self.socket.append(bytes, unsent, cipher),
            Some(web) => {
                let mut framed = Vec::new();
                web.frame(bytes, &mut framed)?;
                self.socket.append(&framed, unsent, cipher)
            }
        }
    }

    /// Tries again; true when nothing is left.
    pub(crate) fn resend(&mut self, cx: &mut Context, unsent: &mut Vec<u8>) -> io::Result<bool> {
        let (Socket::Plain(tcp) | Socket::Tls(tcp, _)) = &mut self.socket;
        let n = poll_all(tcp, cx, unsent)?;
        unsent.drain(..n);
        if unsent.is_empty() {
            *unsent = Vec::new();
        }
        Ok(unsent.is_empty())
    }

    /// Says goodbye as far as the socket takes it, after `unsent`, and closes so that it arrives: a socket closed with
    /// unread bytes is reset, and what was sent last is lost. Waits for nothing. Nobody is told who has `left`.
    pub(crate) fn finish(mut self, mut unsent: Vec<u8>, left: bool, cipher: &mut Cipher) {
        if !left {
            self.say_goodbye(&mut unsent, cipher);
        }
        let (Socket::Plain(tcp) | Socket::Tls(tcp, _)) = self.socket;
        if unsent.is_empty() {
            return;
        }
        let _ = tcp.try_write(&unsent);
        let Ok(mut tcp) = tcp.into_std() else { return };
        if tcp.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let (mut discarded, mut buffer) = (0, [0; 4096]);
        while discarded < 256 << 10 {
            match tcp.read(&mut buffer) {
                Ok(n @ 1..) => discarded += n,
                _ => return,
            }
        }
    }

    /// Close and close_notify, where they are spoken. A session that is broken has nothing more to say.
    fn say_goodbye(&mut self, unsent: &mut Vec<u8>, cipher: &mut Cipher) {
        if let Some(web) = &mut self.web {
            let mut framed = Vec::new();
            web.frames.close(&mut framed);
            let _ = self.socket.append(&framed, unsent, cipher);
        }
        if let Socket::Tls(_, tls) = &mut self.socket {
            tls.send_close_notify();
            if records(tls, cipher).is_ok() {
                unsent.extend_from_slice(&cipher.write);
            }
        }
    }
}

impl Web {
    /// Takes bytes of the socket.
    fn receive(&mut self, bytes: &[u8]) {
        if let Err(breach) = self.frames.read(bytes, &mut self.mqtt, &mut self.outgoing) {
            self.breach = Some(breach);
        }
    }

    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context,
        into: &mut [u8],
        cipher: &mut Cipher,
    ) -> Poll<io::Result<usize>> {
        loop {
            // What came before a breach or the end is handed out first.
            let waiting = &self.mqtt[self.taken..];
            if !waiting.is_empty() {
                let n = waiting.len().min(into.len());
                into[..n].copy_from_slice(&waiting[..n]);
                self.taken += n;
                if self.taken == self.mqtt.len() {
                    // An idle connection keeps nothing.
                    (self.mqtt, self.taken) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(n));
            }
            if let Some(breach) = self.breach {
                return Poll::Ready(Err(io::Error::other(breach.detail())));
            }
            if self.frames.is_closed() {
                return Poll::Ready(Ok(0));
            }
            let mut frames = std::mem::take(&mut cipher.frames);
            let read = socket.poll_read(cx, &mut frames, cipher);
            if let Poll::Ready(Ok(n @ 1..)) = read {
                self.receive(&frames[..n]);
            }
            cipher.frames = frames;
            match ready!(read) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(_) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Appends what the WebSocket itself has to say, and `mqtt` as one frame.
    fn frame(&mut self, mqtt: &[u8], framed: &mut Vec<u8>) -> io::Result<()> {
        framed.append(&mut self.outgoing);
        // After Close was exchanged there is nobody to write to; the read side ends the connection.
        if mqtt.is_empty() || self.frames.is_closed() {
            return Ok(());
        }
        self.frames.write(mqtt, framed)
    }
}

impl Socket {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context, into: &mut [u8], cipher: &mut Cipher) -> Poll<io::Result<usize>> {
        let (tcp, tls) = match self {
            Socket::Plain(tcp) => return poll_into(tcp, cx, into),
            Socket::Tls(tcp, tls) => (tcp, tls),
        };
        loop {
            // What the handshake left, or records that did not fit last time.
            match tls.reader().read(into) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Closed without close_notify: whoever cuts the connection must not look like who ended it.
                Err(e) => return Poll::Ready(Err(e)),
            }
            let most = into.len().min(cipher.read.len());
            let n = ready!(poll_into(tcp, cx, &mut cipher.read[..most]))?;
            let (mut got, mut rest) = (0, &cipher.read[..n]);
            if n == 0 {
                tls.read_tls(&mut io::empty())?;
                continue;
            }
            while !rest.is_empty() {
                if tls.read_tls(&mut rest)? == 0 {
                    break;
                }
                tls.process_new_packets().map_err(io::Error::other)?;
                // Plaintext is never longer than its ciphertext, so it fits.
                while let Ok(n @ 1..) = tls.reader().read(&mut into[got..]) {
                    got += n;
                }
            }
            if got > 0 {
                return Poll::Ready(Ok(got));
            }
        }
    }

    fn send(&mut self, cx: &mut Context, bytes: &[u8], unsent: &mut Vec<u8>, cipher: &mut Cipher) -> io::Result<()> {
        let (tcp, bytes) = match self {
            Socket::Plain(tcp) => (tcp, bytes),
            Socket::Tls(tcp, tls) => {
                tls.writer().write_all(bytes)?;
                records(tls, cipher)?;
                (tcp, &cipher.write[..])
            }
        };
        let n = poll_all(tcp, cx, bytes)?;
        unsent.extend_from_slice(&bytes[n..]);
        if cipher.write.capacity() > BUFFER_BYTES_MAX {
            cipher.write = Vec::new();
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], unsent: &mut Vec<u8>, cipher: &mut Cipher) -> io::Result<()> {
        match self {
            Socket::Plain(_) => unsent.extend_from_slice(bytes),
            Socket::Tls(_, tls) => {
                tls.writer().write_all(bytes)?;
                records(tls, cipher)?;
                unsent.extend_from_slice(&cipher.write);
            }
        }
        Ok(())
    }
}

/// Takes the records that rustls wants to write.
fn records(tls: &mut ServerConnection, cipher: &mut Cipher) -> io::Result<()> {
    cipher.write.clear();
    while tls.wants_write() {
        tls.write_tls(&mut cipher.write)?;
    }
    Ok(())
}

fn poll_into(tcp: &mut TcpStream, cx: &mut Context, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(into);
    ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Writes until done or the socket is full.
fn poll_all(tcp: &mut TcpStream, cx: &mut Context, bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match Pin::new(&mut *tcp).poll_write(cx, &bytes[at..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => at += n,
            Poll::Ready(Err(e)) => return Err(e),
            Poll::Pending => break,
        }
    }
    Ok(at)
}
