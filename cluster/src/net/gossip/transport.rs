//! Sockets for memberlist: one UDP socket and one TCP listener, with the [`Gate`] before them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memberlist::agnostic_lite::tokio::TokioRuntime;
use memberlist::proto::{Payload, ProtoReader, ProtoWriter};
use memberlist::transport::resolver::socket_addr::SocketAddrResolver;
use memberlist::transport::{
    Connection, NodeId, Packet, PacketProducer, PacketSubscriber, StreamProducer, StreamSubscriber, Transport,
    TransportError, packet_stream, promised_stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::gate::{Gate, GossipRefusal};

/// Bytes of the largest packet that is sent: it fits an Ethernet frame over IPv6.
const PACKET_BYTES_MAX: usize = 1400;
/// Bytes of the largest packet that is received.
const RECEIVED_BYTES_MAX: usize = 65_536;
/// Packets that wait for memberlist. When full, further ones are dropped as the network might: gossip is sent again.
const PACKETS_MAX: usize = 1024;
/// Connections whose frame is being read. When full, further ones are closed.
const CONNECTIONS_MAX: usize = 64;
/// A peer has as long to send its frame.
const FRAME_DEADLINE: Duration = Duration::from_secs(5);
/// After an error of `accept` or `recv`, which a full table of descriptors repeats at once.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// How often a port is sought that is free for both TCP and UDP.
const BIND_TRIES: u32 = 16;

/// What a transport is made of.
pub(super) struct TransportOptions {
    pub(super) node: NodeId,
    pub(super) sockets: Sockets,
    pub(super) advertise: SocketAddr,
    pub(super) gate: Arc<Gate>,
}

/// Bound, and not yet listened to.
pub(crate) struct Sockets {
    tcp: TcpListener,
    udp: UdpSocket,
    local: SocketAddr,
}

impl Sockets {
    /// Binds TCP and UDP to the same port of `address`, which is chosen if it is 0.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Sockets> {
        let mut tries = 0;
        loop {
            tries += 1;
            let tcp = TcpListener::bind(address).await?;
            let local = tcp.local_addr()?;
            match UdpSocket::bind(local).await {
                Ok(udp) => return Ok(Sockets { tcp, udp, local }),
                Err(_) if address.port() == 0 && tries < BIND_TRIES => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Where they are bound.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }
}

/// See the module.
pub(super) struct GatedTransport {
    node: NodeId,
    local: SocketAddr,
    advertise: SocketAddr,
    gate: Arc<Gate>,
    udp: Arc<UdpSocket>,
    packets: PacketSubscriber<SocketAddr, Instant>,
    streams: StreamSubscriber<SocketAddr, GossipStream>,
    tasks: [AbortHandle; 2],
}

/// What went wrong with a socket, or with what came over it.
#[derive(Debug, thiserror::Error)]
pub(super) enum GossipIoError {
    /// The system's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Not authentic.
    #[error("{0}")]
    Refused(#[from] GossipRefusal),
    /// memberlist's.
    #[error("{0}")]
    Other(String),
}

impl TransportError for GossipIoError {
    fn is_remote_failure(&self) -> bool {
        true
    }

    fn custom(err: std::borrow::Cow<'static, str>) -> Self {
        GossipIoError::Other(err.into_owned())
    }
}

impl Drop for GatedTransport {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Transport for GatedTransport {
    type Error = GossipIoError;
    type Id = NodeId;
    type Address = SocketAddr;
    type ResolvedAddress = SocketAddr;
    type Resolver = SocketAddrResolver<TokioRuntime>;
    type Connection = GossipStream;
    type Runtime = TokioRuntime;
    type Options = TransportOptions;

    async fn new(options: TransportOptions) -> Result<Self, GossipIoError> {
        let TransportOptions { node, sockets: Sockets { tcp, udp, local }, advertise, gate } = options;
        let udp = Arc::new(udp);
        let (packet_producer, packets) = packet_stream::<Self>(PACKETS_MAX);
        let (stream_producer, streams) = promised_stream::<Self>();
        let receive = tokio::spawn(receive(udp.clone(), gate.clone(), packet_producer)).abort_handle();
        let accept = tokio::spawn(accept(tcp, gate.clone(), stream_producer)).abort_handle();
        Ok(GatedTransport { node, local, advertise, gate, udp, packets, streams, tasks: [receive, accept] })
    }

    async fn resolve(&self, address: &SocketAddr) -> Result<SocketAddr, GossipIoError> {
        Ok(*address)
    }

    fn local_id(&self) -> &NodeId {
        &self.node
    }

    fn local_address(&self) -> &SocketAddr {
        &self.local
    }

    fn advertise_address(&self) -> &SocketAddr {
        &self.advertise
    }

    fn max_packet_size(&self) -> usize {
        PACKET_BYTES_MAX
    }

    fn header_overhead(&self) -> usize {
        0
    }

    fn blocked_address(&self, address: &SocketAddr) -> Result<(), GossipIoError> {
        if self.gate.is_allowed(address.ip()) { Ok(()) } else { Err(GossipRefusal::Network.into()) }
    }

    /// Called before every message that is read from a stream: the frame is read whole and opened here.
    async fn read(&self, from: &SocketAddr, reader: &mut GossipReader) -> Result<usize, GossipIoError> {
        match reader.fill(&self.gate).await {
            Ok(bytes) => Ok(bytes),
            Err(e) => {
                if let GossipIoError::Refused(why) = e {
                    self.gate.refuse(*from, why);
                }
                Err(e)
            }
        }
    }

    async fn send_to(&self, address: &SocketAddr, packet: Payload) -> Result<(usize, Instant), GossipIoError> {
        self.blocked_address(address)?;
        let start = Instant::now();
        let sent = self.udp.send_to(packet.as_slice(), address).await?;
        Ok((sent, start))
    }

    async fn open(&self, address: &SocketAddr, deadline: Instant) -> Result<GossipStream, GossipIoError> {
        self.blocked_address(address)?;
        let connect = tokio::time::timeout_at(deadline, TcpStream::connect(address));
        let tcp = connect.await.map_err(io::Error::from)??;
        Ok(GossipStream::new(tcp, None))
    }

    fn packet(&self) -> PacketSubscriber<SocketAddr, Instant> {
        self.packets.clone()
    }

    fn stream(&self) -> StreamSubscriber<SocketAddr, GossipStream> {
        self.streams.clone()
    }

    fn packet_reliable(&self) -> bool {
        false
    }

    fn packet_secure(&self) -> bool {
        false
    }

    fn stream_secure(&self) -> bool {
        false
    }

    async fn shutdown(&self) -> Result<(), GossipIoError> {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.packets.close();
        self.streams.close();
        Ok(())
    }
}

async fn receive(udp: Arc<UdpSocket>, gate: Arc<Gate>, packets: PacketProducer<SocketAddr, Instant>) {
    let mut buffer = vec![0; RECEIVED_BYTES_MAX];
    loop {
        let Ok((n, from)) = udp.recv_from(&mut buffer).await else {
            // Also what ICMP says of a packet that was sent.
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        let packet = &buffer[..n];
        let passed = if gate.is_allowed(from.ip()) { gate.open(packet) } else { Err(GossipRefusal::Network) };
        match passed {
            // Full: dropped, see PACKETS_MAX.
            Ok(()) => drop(packets.try_send(Packet::new(from, Instant::now(), Bytes::copy_from_slice(packet)))),
            Err(why) => gate.refuse(from, why),
        }
    }
}

async fn accept(tcp: TcpListener, gate: Arc<Gate>, streams: StreamProducer<SocketAddr, GossipStream>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, from)) = tcp.accept().await else {
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        if !gate.is_allowed(from.ip()) {
            gate.refuse(from, GossipRefusal::Network);
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            gate.refuse(from, GossipRefusal::Busy);
            continue;
        };
        let (gate, streams) = (gate.clone(), streams.clone());
        tokio::spawn(async move {
            let mut stream = GossipStream::new(stream, Some(place));
            match tokio::time::timeout(FRAME_DEADLINE, stream.reader.fill(&gate)).await {
                Ok(Ok(_)) => drop(streams.send(from, stream).await),
                Ok(Err(GossipIoError::Refused(why))) => gate.refuse(from, why),
                Err(_) => gate.refuse(from, GossipRefusal::Length),
                // Broken off: nothing was said.
                Ok(Err(_)) => {}
            }
        });
    }
}

/// A gossip connection.
pub(super) struct GossipStream {
    reader: GossipReader,
    writer: GossipWriter,
}

impl GossipStream {
    fn new(tcp: TcpStream, place: Option<OwnedSemaphorePermit>) -> Self {
        let (read, write) = tcp.into_split();
        GossipStream {
            reader: GossipReader { half: read, frame: Vec::new(), at: 0 },
            writer: GossipWriter { half: write, _place: place },
        }
    }
}

impl Connection for GossipStream {
    type Reader = GossipReader;
    type Writer = GossipWriter;

    fn split(self) -> (GossipReader, GossipWriter) {
        (self.reader, self.writer)
    }

    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf).await
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(buf).await
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.peek(buf).await
    }

    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.reader.peek_exact(buf).await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        ProtoWriter::write_all(&mut self.writer, payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        ProtoWriter::flush(&mut self.writer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        ProtoWriter::close(&mut self.writer).await
    }
}

/// Gives memberlist one authentic frame, and nothing before it is one.
pub(super) struct GossipReader {
    half: OwnedReadHalf,
    frame: Vec<u8>,
    at: usize,
}

impl GossipReader {
    /// Reads a frame and opens it. Nothing is allocated for a length that is not taken.
    async fn fill(&mut self, gate: &Gate) -> Result<usize, GossipIoError> {
        if self.at < self.frame.len() {
            return Ok(self.frame.len());
        }
        let mut frame = vec![0; gate.head_bytes()];
        self.half.read_exact(&mut frame).await?;
        let (head, length) = (frame.len(), gate.frame_bytes(&frame)?);
        frame.resize(length, 0);
        self.half.read_exact(&mut frame[head..]).await?;
        gate.open(&frame)?;
        (self.frame, self.at) = (frame, 0);
        Ok(length)
    }

    fn copy(&self, buf: &mut [u8]) -> usize {
        let left = &self.frame[self.at..];
        let n = left.len().min(buf.len());
        buf[..n].copy_from_slice(&left[..n]);
        n
    }

    fn copy_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        if self.copy(buf) == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl ProtoReader for GossipReader {
    async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.copy(buf);
        self.at += n;
        Ok(n)
    }

    async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.copy_exact(buf)?;
        self.at += buf.len();
        Ok(())
    }

    async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.copy(buf))
    }

    async fn peek_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.copy_exact(buf)
    }
}

/// The other half. The place among the connections is given back with it.
pub(super) struct GossipWriter {
    half: OwnedWriteHalf,
    _place: Option<OwnedSemaphorePermit>,
}

impl ProtoWriter for GossipWriter {
    async fn close(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        self.half.write_all(payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.half.flush().await
    }
}
