//! Somebody at the ports for nodes: a connection by hand, with a node's certificate or none, and a relay that records gossip.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, version};

use crate::PATIENCE;

/// What nodes speak over TLS.
const ALPN: &[u8] = b"gatemq-cluster";
/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// How often the relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// A TLS connection to a node's port, as far as it comes.
pub struct Peer(StreamOwned<ClientConnection, TcpStream>);

impl Peer {
    /// Connects, and shows this certificate (certificate and key, PEM), or none.
    ///
    /// # Panics
    /// When the files are none, or nobody listens.
    pub fn connect(to: SocketAddr, certificate: Option<&[PathBuf; 2]>) -> Peer {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&[&version::TLS13]).expect("TLS 1.3");
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some([certificate, key]) => {
                let chain = CertificateDer::pem_file_iter(certificate).expect("a file").collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain.expect("certificates"), key).expect("they belong together")
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let tcp = TcpStream::connect(to).expect("a connection");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from("node.invalid").expect("a name");
        Peer(StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a connection"), tcp))
    }

    /// Sends this, over TLS. It may be refused already.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }

    /// Waits until the node closes the connection; it says nothing before.
    ///
    /// # Panics
    /// When it does otherwise, within [`PATIENCE`].
    pub fn expect_end(mut self) {
        match self.0.read(&mut [0; 64]) {
            Ok(0) => {}
            Ok(n) => panic!("{n} bytes come"),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("it is not closed: {e}")
            }
            Err(_) => {}
        }
    }
}

/// Takes any server.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("only TLS 1.3 is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Stands before the gossip port of one of two nodes and keeps what the other sends it. Its threads end with the test's process.
pub struct Relay {
    recorded: Arc<Mutex<Recorded>>,
}

/// What came.
#[derive(Clone, Default)]
pub struct Recorded {
    /// Datagrams, in their order.
    pub packets: Vec<Vec<u8>>,
    /// What came over each TCP connection.
    pub streams: Vec<Vec<u8>>,
}

impl Relay {
    /// At `at`, before the node `to`, for the node `other`.
    ///
    /// # Panics
    /// When its sockets cannot be had.
    pub fn start(at: SocketAddr, to: SocketAddr, other: SocketAddr) -> Relay {
        let recorded = Arc::<Mutex<Recorded>>::default();
        let (udp, tcp) = (UdpSocket::bind(at).expect("UDP"), TcpListener::bind(at).expect("TCP"));
        let record = recorded.clone();
        std::thread::spawn(move || datagrams(&udp, to, other, &record));
        let record = recorded.clone();
        std::thread::spawn(move || {
            for one in tcp.incoming().map_while(Result::ok) {
                let record = record.clone();
                std::thread::spawn(move || connection(one, to, &record));
            }
        });
        Relay { recorded }
    }

    /// What the other node has sent so far.
    pub fn recorded(&self) -> Recorded {
        self.recorded.lock().unwrap().clone()
    }
}

impl Recorded {
    /// Sends all of it once more, from elsewhere. Who gets it may close connections.
    ///
    /// # Panics
    /// When there is no socket.
    pub fn replay(&self, to: SocketAddr) {
        let udp = UdpSocket::bind((to.ip(), 0)).expect("a socket");
        for packet in &self.packets {
            udp.send_to(packet, to).expect("it is sent");
        }
        for stream in &self.streams {
            if let Ok(mut tcp) = TcpStream::connect(to) {
                let _ = tcp.write_all(stream);
                let _ = tcp.set_read_timeout(Some(LOOK));
                let _ = tcp.read(&mut [0; 64]);
            }
        }
    }
}

fn datagrams(udp: &UdpSocket, to: SocketAddr, other: SocketAddr, record: &Mutex<Recorded>) {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok((n, from)) = udp.recv_from(&mut bytes) {
        if from == to {
            let _ = udp.send_to(&bytes[..n], other);
        } else {
            record.lock().unwrap().packets.push(bytes[..n].to_vec());
            let _ = udp.send_to(&bytes[..n], to);
        }
    }
}

fn connection(from: TcpStream, to: SocketAddr, record: &Mutex<Recorded>) {
    let Ok(onward) = TcpStream::connect(to) else { return };
    let (Ok(mut back_from), Ok(mut back_to)) = (onward.try_clone(), from.try_clone()) else { return };
    std::thread::spawn(move || {
        let _ = io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Write);
    });
    let (mut from, mut onward, mut all, mut bytes) = (from, onward, Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        all.extend_from_slice(&bytes[..n]);
        if onward.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = onward.shutdown(Shutdown::Write);
    record.lock().unwrap().streams.push(all);
}
