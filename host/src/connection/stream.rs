//! A client's byte stream: plain, or TLS with rustls fed by large reads and emptied by one write.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
pub(crate) enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS, after its handshake.
    Tls(TcpStream, Box<ServerConnection>),
}

/// Ciphertext buffers of a worker.
pub(crate) struct Cipher {
    read: Box<[u8]>,
    write: Vec<u8>,
}

/// A write buffer that grew beyond this is given back to the allocator.
const WRITE_BYTES_MAX: usize = 256 << 10;

impl Cipher {
    /// Reads at most `read_bytes` at a time.
    pub(crate) fn new(read_bytes: usize) -> Self {
        Cipher { read: vec![0; read_bytes].into(), write: Vec::new() }
    }
}

impl Stream {
    /// Of a finished handshake. Every write is followed by taking all records, so rustls need not bound its buffer.
    pub(crate) fn tls(tcp: TcpStream, mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(None);
        Stream::Tls(tcp, Box::new(tls))
    }

    /// Reads plaintext; 0 bytes is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context,
        into: &mut [u8],
        cipher: &mut Cipher,
    ) -> Poll<io::Result<usize>> {
        let (tcp, tls) = match self {
            Stream::Plain(tcp) => return poll_into(tcp, cx, into),
            Stream::Tls(tcp, tls) => (tcp, tls),
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
                return Poll::Ready(Ok(0));
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

    /// Takes all of `bytes`: writes what the socket takes, keeps the rest in `unsent`, which must be empty.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        bytes: &[u8],
        unsent: &mut Vec<u8>,
        cipher: &mut Cipher,
    ) -> io::Result<()> {
        let (tcp, bytes) = match self {
            Stream::Plain(tcp) => (tcp, bytes),
            Stream::Tls(tcp, tls) => {
                tls.writer().write_all(bytes)?;
                records(tls, cipher)?;
                (tcp, &cipher.write[..])
            }
        };
        let n = poll_all(tcp, cx, bytes)?;
        unsent.extend_from_slice(&bytes[n..]);
        if cipher.write.capacity() > WRITE_BYTES_MAX {
            cipher.write = Vec::new();
        }
        Ok(())
    }

    /// `bytes` as they go over TLS; `None`: as they are.
    pub(crate) fn encrypt<'a>(&mut self, bytes: &[u8], cipher: &'a mut Cipher) -> io::Result<Option<&'a [u8]>> {
        let Stream::Tls(_, tls) = self else { return Ok(None) };
        tls.writer().write_all(bytes)?;
        records(tls, cipher)?;
        Ok(Some(&cipher.write))
    }

    /// Tries again; true when nothing is left.
    pub(crate) fn resend(&mut self, cx: &mut Context, unsent: &mut Vec<u8>) -> io::Result<bool> {
        let (Stream::Plain(tcp) | Stream::Tls(tcp, _)) = self;
        let n = poll_all(tcp, cx, unsent)?;
        unsent.drain(..n);
        if unsent.is_empty() {
            *unsent = Vec::new();
        }
        Ok(unsent.is_empty())
    }

    /// Says goodbye as far as the socket takes it, after `unsent`, and closes so that it arrives: a socket closed with
    /// unread bytes is reset, and what was sent last is lost. Waits for nothing. Nobody is told who has `left`.
    pub(crate) fn finish(self, unsent: &[u8], left: bool) {
        let (tcp, mut last) = match self {
            Stream::Plain(tcp) => (tcp, Vec::new()),
            Stream::Tls(tcp, _) if left => (tcp, Vec::new()),
            Stream::Tls(tcp, mut tls) => {
                tls.send_close_notify();
                let mut cipher = Cipher { read: Box::default(), write: Vec::new() };
                // A session that rustls has given up has nothing more to say.
                let _ = records(&mut tls, &mut cipher);
                (tcp, cipher.write)
            }
        };
        if !unsent.is_empty() {
            last.splice(0..0, unsent.iter().copied());
        }
        if last.is_empty() {
            return;
        }
        let _ = tcp.try_write(&last);
        let Ok(tcp) = tcp.into_std() else { return };
        if tcp.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let (mut tcp, mut discarded, mut buffer) = (tcp, 0, [0; 4096]);
        while discarded < 256 << 10 {
            match tcp.read(&mut buffer) {
                Ok(n @ 1..) => discarded += n,
                _ => return,
            }
        }
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
