//! A socket from an address of its own. Packets are kept as the bytes that they came in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Came {
    /// A whole packet.
    Packet(Vec<u8>),
    /// The end of the connection.
    End,
}

/// A connection to the broker.
pub(crate) struct Wire {
    tcp: TcpStream,
    read: Vec<u8>,
    ended: bool,
}

impl Wire {
    /// Connects from `source`.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn open(source: Ipv4Addr, to: SocketAddr) -> Result<Wire, String> {
        let connect = || -> std::io::Result<TcpStream> {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
            rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
            rustix::net::connect(&socket, &to)?;
            let tcp = TcpStream::from(socket);
            tcp.set_nodelay(true)?;
            Ok(tcp)
        };
        let tcp = connect().map_err(|e| format!("no connection: {e}"))?;
        Ok(Wire { tcp, read: Vec::new(), ended: false })
    }

    /// Sends bytes. That the broker has closed is no error: what it said before is still to be read.
    pub(crate) fn send(&mut self, bytes: &[u8], patience: Duration) {
        let _ = self.tcp.set_write_timeout(Some(patience));
        let _ = self.tcp.write_all(bytes);
    }

    /// Closes it without a word.
    pub(crate) fn shut(&self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// The next packet, or the end.
    ///
    /// # Errors
    /// Neither comes in time, or bytes that are no packet.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Came, String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(length) = whole(&self.read)? {
                let rest = self.read.split_off(length);
                return Ok(Came::Packet(std::mem::replace(&mut self.read, rest)));
            }
            if self.ended {
                return if self.read.is_empty() { Ok(Came::End) } else { Err("it ends within a packet".into()) };
            }
            self.more(deadline)?;
        }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub(crate) fn bytes(&mut self, length: usize, patience: Duration) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + patience;
        while self.read.len() < length {
            if self.ended {
                return Err(format!("only {:02x?} came", self.read));
            }
            self.more(deadline)?;
        }
        let rest = self.read.split_off(length);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    /// The head of an HTTP response.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn head(&mut self, patience: Duration) -> Result<String, String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.bytes(1, patience)?);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    fn more(&mut self, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("nothing comes".into());
        }
        self.tcp.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
        let mut bytes = [0; 16 * 1024];
        match self.tcp.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(n) => self.read.extend_from_slice(&bytes[..n]),
            Err(e) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.ended = true,
                _ => return Err(e.to_string()),
            },
        }
        Ok(())
    }
}

/// Length of the packet at the start, when it is whole.
fn whole(bytes: &[u8]) -> Result<Option<usize>, String> {
    let (mut length, mut at) = (0usize, 1);
    loop {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        if at > 4 {
            return Err("a remaining length of five bytes".into());
        }
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            return Ok((bytes.len() >= at + length).then_some(at + length));
        }
    }
}
