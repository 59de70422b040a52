//! A raw MQTT client: blocking, bytes written by hand, free to break every rule. Not built on the broker's codec, so
//! that a mistake in it is not made twice.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SignatureScheme, StreamOwned, version};

use crate::pki::{Credentials, Pki};
use crate::websocket::{self, BINARY, Frames};
use crate::{Kind, PATIENCE};

/// A version of MQTT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// 3.1.1
    V3,
    /// 5.0
    V5,
}

impl Version {
    /// Both.
    pub const ALL: [Version; 2] = [Version::V3, Version::V5];

    /// What a reason code of 5.0 is in a CONNACK of this version.
    ///
    /// # Panics
    /// For codes that 3.1.1 has no word for.
    pub fn connack(self, code: u8) -> u8 {
        match (self, code) {
            (Version::V5, code) => code,
            (Version::V3, 0x88 | 0x89) => 3,
            (Version::V3, 0x86) => 4,
            (Version::V3, 0x87) => 5,
            (Version::V3, code) => panic!("3.1.1 has no {code:#x}"),
        }
    }
}

/// One packet as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// First byte: type and flags.
    pub first: u8,
    /// What follows the remaining length.
    pub body: Vec<u8>,
}

impl Packet {
    /// Type, 1 (CONNECT) to 15 (AUTH).
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }
}

/// What [`Client::receive`] saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A packet.
    Packet(Packet),
    /// The end of the connection, in good order or not.
    Closed,
}

/// What to bring to a TLS listener. Whoever is used again may resume a session.
#[derive(Clone)]
pub struct Tls {
    config: ClientConfig,
    name: String,
}

impl Tls {
    /// Trusts `pki`; shows `credentials`, if given, whether the key fits or not.
    pub fn new(pki: &Pki, credentials: Option<&Credentials>) -> Tls {
        Self::with_versions(pki, credentials, rustls::ALL_VERSIONS)
    }

    /// Trusts this root alone; shows `credentials`, if given.
    pub fn trusting(root: CertificateDer<'static>, credentials: Option<&Credentials>) -> Tls {
        Self::build(root, credentials, rustls::ALL_VERSIONS)
    }

    /// As [`Tls::new`], with TLS 1.2 only.
    pub fn v1_2(pki: &Pki, credentials: Option<&Credentials>) -> Tls {
        Self::with_versions(pki, credentials, &[&version::TLS12])
    }

    /// As [`Tls::new`], with TLS 1.3 only.
    pub fn v1_3(pki: &Pki, credentials: Option<&Credentials>) -> Tls {
        Self::with_versions(pki, credentials, &[&version::TLS13])
    }

    fn with_versions(
        pki: &Pki,
        credentials: Option<&Credentials>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Tls {
        Self::build(pki.root(), credentials, versions)
    }

    fn build(
        root: CertificateDer<'static>,
        credentials: Option<&Credentials>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Tls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match credentials {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = provider.key_provider.load_private_key(shown.key()).unwrap();
                let shows = Shows(Arc::new(CertifiedKey::new(shown.chain.clone(), key)));
                builder.with_client_cert_resolver(Arc::new(shows))
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Tls { config, name: "localhost".into() }
    }

    /// Asks for these application protocols.
    pub fn alpn(mut self, protocols: &[&str]) -> Tls {
        self.config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// Asks for this server instead of `localhost`; an address is not sent (no SNI).
    pub fn server_name(mut self, name: &str) -> Tls {
        self.name = name.into();
        self
    }
}

/// Shows certificates and signs with a key, whether they belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Tcp(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.read(bytes),
            Stream::Tls(tls) => tls.read(bytes),
        }
    }
}

/// A connection.
pub struct Client {
    stream: Stream,
    /// Upgraded to a WebSocket.
    web: Option<Frames>,
    read: Vec<u8>,
    version: Version,
    packet_id: u16,
}

impl Client {
    /// Connects without TLS.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn tcp(address: SocketAddr, version: Version) -> io::Result<Client> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Tcp(tcp), web: None, read: Vec::new(), version, packet_id: 0 })
    }

    /// Connects with TLS and finishes the client's side of the handshake. With TLS 1.3 a server that does not like the
    /// client's certificate says so only afterwards: at the first [`Client::receive`].
    ///
    /// # Errors
    /// Those of the socket and of the handshake.
    pub fn tls(address: SocketAddr, tls: &Tls, version: Version) -> io::Result<Client> {
        Self::tcp(address, version)?.secured(tls)
    }

    /// As [`Client::tcp`], from this address of this machine.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn tcp_from(source: Ipv4Addr, address: SocketAddr, version: Version) -> io::Result<Client> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
        rustix::net::connect(&socket, &address)?;
        let tcp = TcpStream::from(socket);
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Tcp(tcp), web: None, read: Vec::new(), version, packet_id: 0 })
    }

    /// The rest of [`Client::tls`], for a client that had something to send before the handshake.
    ///
    /// # Errors
    /// Those of the socket and of the handshake.
    ///
    /// # Panics
    /// When it speaks TLS already.
    pub fn secured(self, tls: &Tls) -> io::Result<Client> {
        let Stream::Tcp(mut tcp) = self.stream else { panic!("it speaks TLS already") };
        let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::new(tls.config.clone()), name).map_err(io::Error::other)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Client { stream: Stream::Tls(Box::new(StreamOwned::new(connection, tcp))), ..self })
    }

    /// Sends bytes that are no MQTT, and reads until `is_whole` or the end.
    ///
    /// # Errors
    /// Those of the socket, or nothing came for [`PATIENCE`].
    pub fn exchange(&mut self, request: &[u8], is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        self.send_raw(request)?;
        self.stream.tcp().set_read_timeout(Some(PATIENCE))?;
        let (mut read, mut buffer) = (Vec::new(), [0; 16 << 10]);
        while !is_whole(&read) {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => read.extend_from_slice(&buffer[..n]),
                // Whoever closes without close_notify, or with bytes unread, is gone all the same.
                Err(e) if !read.is_empty() && e.kind() != io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    /// How it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Our end of the connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.tcp().local_addr()
    }

    /// The server's certificate.
    pub fn server_certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.stream {
            Stream::Tls(tls) => tls.conn.peer_certificates().and_then(|chain| chain.first()),
            Stream::Tcp(_) => None,
        }
    }

    /// Connects to a listener of this kind, up to where MQTT begins; plain ones need no `tls`.
    ///
    /// # Errors
    /// As [`Client::tls`] and [`Client::upgrade`].
    pub fn open(address: SocketAddr, kind: Kind, tls: &Tls, version: Version) -> io::Result<Client> {
        let mut client = if kind.has_tls() { Self::tls(address, tls, version)? } else { Self::tcp(address, version)? };
        if kind.is_web() {
            let status = client.upgrade(&websocket::request("/mqtt", &websocket::subprotocol("mqtt")))?;
            if status != 101 {
                return Err(io::Error::other(format!("no WebSocket: {status}")));
            }
        }
        Ok(client)
    }

    /// Sends an HTTP request and gives the status of the response. After 101 the connection is a WebSocket.
    ///
    /// # Errors
    /// Those of the socket; what comes is not HTTP.
    pub fn upgrade(&mut self, request: &str) -> io::Result<u16> {
        self.send_raw(request.as_bytes())?;
        self.stream.tcp().set_read_timeout(Some(PATIENCE))?;
        let status = websocket::status(|bytes| self.stream.read(bytes))?;
        self.web = (status == 101).then(Frames::default);
        Ok(status)
    }

    /// Whether the TLS session was resumed.
    pub fn resumed(&self) -> bool {
        matches!(&self.stream, Stream::Tls(tls) if tls.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Connects, with TLS, and says CONNECT: the client if it is admitted, otherwise the CONNACK's code.
    ///
    /// # Panics
    /// When there is no CONNACK.
    ///
    /// # Errors
    /// The code.
    pub fn try_admitted(address: SocketAddr, tls: &Tls, version: Version, client_id: &str) -> Result<Client, u8> {
        let mut client = Self::tls(address, tls, version).unwrap_or_else(|e| panic!("{client_id}: TLS: {e}"));
        match client.connect(client_id).unwrap_or_else(|e| panic!("{client_id}: CONNECT: {e}")) {
            0 => Ok(client),
            code => Err(code),
        }
    }

    /// Connects, with TLS, and is admitted.
    ///
    /// # Panics
    /// When it is not.
    pub fn admitted(address: SocketAddr, tls: &Tls, version: Version, client_id: &str) -> Client {
        Self::try_admitted(address, tls, version, client_id)
            .unwrap_or_else(|code| panic!("{client_id} is refused: CONNACK {code:#04x}"))
    }

    /// Sends bytes as they are; over a WebSocket in one frame.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.web {
            Some(_) => self.send_raw(&websocket::frame(BINARY, bytes)),
            None => self.send_raw(bytes),
        }
    }

    /// Sends bytes as they are; over a WebSocket they should be frames.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Sends a packet; the remaining length is put in.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send_packet(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        self.send(&packet(first, body))
    }

    /// The next packet, or the end.
    ///
    /// # Errors
    /// `TimedOut` when neither comes within `patience`; `InvalidData` when bytes come that are no packet, or the server
    /// ends the TLS session with an alert.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Received> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(packet) = self.take()? {
                return Ok(Received::Packet(packet));
            }
            if self.web.as_ref().is_some_and(|web| web.closed) {
                return Ok(Received::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.tcp().set_read_timeout(Some(left))?;
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Received::Closed),
                Ok(n) => match &mut self.web {
                    Some(web) => web.read(&bytes[..n], &mut self.read)?,
                    None => self.read.extend_from_slice(&bytes[..n]),
                },
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Ok(Received::Closed);
                    }
                    _ => return Err(e),
                },
            }
        }
    }

    /// The next packet.
    ///
    /// # Panics
    /// When none comes.
    pub fn packet(&mut self) -> Packet {
        match self.receive(PATIENCE) {
            Ok(Received::Packet(packet)) => packet,
            other => panic!("wanted a packet, got {other:?}"),
        }
    }

    /// The next packet that is no PUBLISH; those that come before it are kept for later.
    ///
    /// # Panics
    /// When none comes.
    pub fn answer(&mut self) -> Packet {
        let mut before = Vec::new();
        let answer = loop {
            match self.packet() {
                message if message.kind() == 3 => before.extend(packet(message.first, &message.body)),
                other => break other,
            }
        };
        before.append(&mut self.read);
        self.read = before;
        answer
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    /// When packets come instead, or nothing.
    pub fn expect_closed(&mut self) {
        match self.receive(PATIENCE) {
            Ok(Received::Closed) => {}
            other => panic!("wanted the connection to end, got {other:?}"),
        }
    }

    /// Takes a whole packet out of what was read.
    fn take(&mut self) -> io::Result<Option<Packet>> {
        let (mut length, mut shift, mut at) = (0usize, 0, 1);
        loop {
            let Some(byte) = self.read.get(at).copied() else { return Ok(None) };
            length |= usize::from(byte & 0x7F) << shift;
            (shift, at) = (shift + 7, at + 1);
            match byte & 0x80 {
                0 => break,
                _ if shift > 21 => {
                    return Err(io::Error::new(ErrorKind::InvalidData, "remaining length of five bytes"));
                }
                _ => {}
            }
        }
        if self.read.len() < at + length {
            return Ok(None);
        }
        let rest = self.read.split_off(at + length);
        let whole = std::mem::replace(&mut self.read, rest);
        Ok(Some(Packet { first: whole[0], body: whole[at..].to_vec() }))
    }

    /// Sends CONNECT (clean, keep alive 60 s) and gives the CONNACK's code, as it is in this version.
    ///
    /// # Errors
    /// Those of the socket and of TLS; `ConnectionAborted` when the connection ends, `InvalidData` when something else
    /// than a CONNACK comes.
    pub fn connect(&mut self, client_id: &str) -> io::Result<u8> {
        self.connect_as(client_id, None)
    }

    /// As [`Client::connect`], with user name and password.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_as(&mut self, client_id: &str, user: Option<(&str, &str)>) -> io::Result<u8> {
        let connect = connect(self.version, client_id, user);
        self.send(&connect)?;
        match self.receive(PATIENCE)? {
            Received::Closed => Err(ErrorKind::ConnectionAborted.into()),
            Received::Packet(Packet { first: 0x20, body }) if body.len() >= 2 => Ok(body[1]),
            Received::Packet(other) => Err(io::Error::new(ErrorKind::InvalidData, format!("no CONNACK: {other:?}"))),
        }
    }

    /// Subscribes at QoS `qos` and gives the SUBACK's code. Messages may come before it (3.8.4); they are kept for later.
    ///
    /// # Panics
    /// When something else than its SUBACK comes.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let id = self.next_id();
        let mut body = id.to_be_bytes().to_vec();
        self.no_properties(&mut body);
        text(&mut body, filter);
        body.push(qos);
        self.send_packet(0x82, &body).expect("SUBSCRIBE");
        let suback = self.answer();
        assert!(suback.first == 0x90 && suback.body.starts_with(&id.to_be_bytes()), "no SUBACK: {suback:?}");
        *suback.body.last().expect("not empty")
    }

    /// Publishes and waits for nothing. The packet id, if there is one.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn publish(&mut self, topic: &str, qos: u8, payload: &[u8]) -> io::Result<Option<u16>> {
        let mut body = Vec::new();
        text(&mut body, topic);
        let id = (qos > 0).then(|| self.next_id());
        body.extend(id.into_iter().flat_map(u16::to_be_bytes));
        self.no_properties(&mut body);
        body.extend_from_slice(payload);
        self.send_packet(0x30 | qos << 1, &body)?;
        Ok(id)
    }

    /// The next packet, which must be a PUBLISH at QoS 0: topic and payload.
    ///
    /// # Panics
    /// When something else comes.
    pub fn message(&mut self) -> (String, Vec<u8>) {
        let packet = self.packet();
        assert!(packet.first & 0xF6 == 0x30, "wanted a PUBLISH at QoS 0, got {packet:?}");
        let length = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
        let topic = String::from_utf8(packet.body[2..2 + length].to_vec()).expect("UTF-8");
        let properties = if self.version == Version::V5 { 1 + usize::from(packet.body[2 + length]) } else { 0 };
        (topic, packet.body[2 + length + properties..].to_vec())
    }

    /// Asks for a PINGRESP: what was sent before has been handled when this returns.
    ///
    /// # Panics
    /// When something else comes.
    pub fn ping(&mut self) {
        self.send_packet(0xC0, &[]).expect("PINGREQ");
        let pong = self.packet();
        assert!(pong.first == 0xD0, "wanted a PINGRESP, got {pong:?}");
    }

    /// So long nothing comes to any of these but answers to their PINGREQs, which keep them: for what is to stay as it is for a time that
    /// no condition ends.
    ///
    /// # Panics
    /// When something comes, or one of them is gone; none is given.
    pub fn nothing_comes(clients: &mut [&mut Client], long: Duration) {
        let begun = Instant::now();
        while let Some(left) = long.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            clients.iter_mut().for_each(|client| client.ping());
            let came = clients[0].receive(left.min(Duration::from_secs(5)));
            assert!(came.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::TimedOut), "came: {came:?}");
        }
    }

    /// Breaks the connection without a word, and waits until the server has noticed and closed its end. What comes
    /// meanwhile is lost, as it would be on a line that breaks.
    ///
    /// # Panics
    /// When the server does not close it.
    pub fn break_off(mut self) {
        let _ = self.stream.tcp().shutdown(Shutdown::Write);
        loop {
            match self.receive(PATIENCE) {
                Ok(Received::Closed) => return,
                Ok(Received::Packet(_)) => {}
                Err(e) if e.kind() == ErrorKind::InvalidData => return,
                Err(e) => panic!("the server does not close the connection: {e}"),
            }
        }
    }

    /// Says DISCONNECT and ends the connection.
    pub fn disconnect(mut self) {
        let _ = self.send_packet(0xE0, &[]);
        let _ = self.stream.tcp().shutdown(Shutdown::Write);
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    fn no_properties(&self, body: &mut Vec<u8>) {
        if self.version == Version::V5 {
            body.push(0);
        }
    }
}

/// A CONNECT: clean, keep alive 60 s.
pub fn connect(version: Version, client_id: &str, user: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    let level = match version {
        Version::V3 => 4,
        Version::V5 => 5,
    };
    body.extend([level, if user.is_some() { 0b1100_0010 } else { 0b0000_0010 }, 0, 60]);
    if version == Version::V5 {
        body.push(0);
    }
    text(&mut body, client_id);
    if let Some((name, password)) = user {
        text(&mut body, name);
        text(&mut body, password);
    }
    packet(0x10, &body)
}

/// A packet: first byte, remaining length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length & 0x7F).unwrap();
        length >>= 7;
        bytes.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string with its length before it.
pub fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).expect("at most 65,535 bytes").to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}
