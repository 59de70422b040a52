//! What it costs to forward a message of 256 bytes to another node: over this RPC, and as raw frames over the same TLS with
//! the same batches. Prints the CPU of both ends together for each message, and the ratio of the two; the aim is below 2.
//!
//! `cargo bench -p gatemq-cluster --bench forward`

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gatemq_cluster::core::{Boot, Lost, Member, Name, NodeName, SpiffeId};
use gatemq_cluster::net::{
    Batch, BatchBuilder, Clock, Handler, Joined, MessageHead, Net, Outcomes, REJOIN_INTERVAL, Refused, Secret,
    Settings, TlsFiles, pki,
};
use rustls::{ClientConfig, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAYLOAD_BYTES: usize = 256;
const BATCH_MESSAGES: usize = 512;
const BATCHES: usize = 4_000;
/// Batches whose answer is awaited at a time.
const UNDER_WAY: usize = 32;
/// What a raw frame carries besides the payload: as many bytes as the head of a message.
const HEAD: MessageHead<'static> = MessageHead {
    boot: Boot(1_700_000_000_000),
    seq: 1_000_000,
    low: 999_000,
    qos: 1,
    retain: false,
    flags: 0,
    expiry_ms: None,
    tenant: "default",
    topic: "building/7/floor/3/room/12/temperature",
    user: "sensor-4711",
    client_id: "sensor-4711",
    properties: b"",
};

/// Reads every message and accepts it.
struct Host;

impl Handler for Host {
    fn peer_up(&self, _: Member) {}
    fn peer_suspected(&self, _: &NodeName, _: Boot) {}
    fn peer_lost(&self, _: &NodeName, _: Boot, _: Lost) {}
    fn link_reset(&self, _: &NodeName) {}
    fn control(&self, _: &NodeName, _: Boot, _: Bytes) -> std::result::Result<(), String> {
        Ok(())
    }
    fn room(&self, _: &NodeName) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
    fn refused(&self, _: Refused) {}
    fn joined(&self, _: Joined) {}
    fn is_forbidden(&self, _: &NodeName) -> bool {
        false
    }

    fn deliver(&self, _: &NodeName, _: Boot, _: u8, batch: Batch) -> BoxFuture<'static, Outcomes> {
        let codes = batch.messages().map(|(head, payload)| (head.topic.len() + payload.len() == 0).into()).collect();
        Box::pin(std::future::ready(Outcomes::new(codes)))
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    runtime.block_on(async {
        let (environment, cluster) = (Name::new("bench")?, Name::new("bench")?);
        pki::make_ca(dir.path(), &environment, &cluster)?;
        let files = |node: &str| {
            let node = Name::new(node)?;
            let identity = SpiffeId { environment: environment.clone(), cluster: cluster.clone(), node };
            Ok::<_, Box<dyn Error>>(pki::make_node(dir.path(), dir.path(), &identity, 1)?)
        };
        let (one, two) = (files("n1")?, files("n2")?);
        let (mut raw, mut rpc) = (Vec::new(), Vec::new());
        // Alternating, so that what disturbs the machine disturbs both.
        let (_receiver, sender) = nets(&one, &two).await?;
        for _ in 0..3 {
            raw.push(measure(raw_frames(&one)).await?);
            rpc.push(measure(forward(&sender)).await?);
        }
        let best = |costs: &[(f64, f64)]| costs.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
        let ((raw_cpu, raw_time), (rpc_cpu, rpc_time)) = (best(&raw), best(&rpc));
        println!("raw frames  {raw_cpu:6.0} ns CPU a message  {:9.0} messages/s", 1e9 / raw_time);
        println!("RPC         {rpc_cpu:6.0} ns CPU a message  {:9.0} messages/s", 1e9 / rpc_time);
        println!("ratio       {:6.2}", rpc_cpu / raw_cpu);
        Ok(())
    })
}

/// CPU and time of a message, in nanoseconds.
async fn measure(run: impl Future<Output = Result<()>>) -> Result<(f64, f64)> {
    let (start, before) = (Instant::now(), cpu()?);
    run.await?;
    let messages = (BATCHES * BATCH_MESSAGES) as f64;
    Ok(((cpu()? - before).as_nanos() as f64 / messages, start.elapsed().as_nanos() as f64 / messages))
}

/// CPU time of this process, to the system's clock tick of 10 ms.
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

async fn nets(one: &TlsFiles, two: &TlsFiles) -> Result<(Net, Net)> {
    let settings = |node: &str, tls: &TlsFiles, seeds| {
        Ok::<_, Box<dyn Error>>(Settings {
            environment: Name::new("bench")?,
            cluster: Name::new("bench")?,
            node: Name::new(node)?,
            boot: Boot(1),
            version: "bench".into(),
            protocol: Settings::PROTOCOL,
            rpc_bind: "127.0.0.1:0".parse()?,
            rpc_advertise: None,
            gossip_bind: "127.0.0.1:0".parse()?,
            gossip_advertise: None,
            seeds,
            tls: tls.clone(),
            secrets: vec![Secret::new("a secret for a benchmark")?],
            allowed_networks: vec!["127.0.0.0/8".parse()?],
            data_connections: 1,
            rejoin_interval: REJOIN_INTERVAL,
            clock: Clock(Arc::new(|| {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
            })),
        })
    };
    let receiver = Net::start(settings("n1", one, vec![])?, Arc::new(Host)).await?;
    let seeds = vec![receiver.rpc_address().to_string()];
    let sender = Net::start(settings("n2", two, seeds)?, Arc::new(Host)).await?;
    let mut batch = BatchBuilder::default();
    batch.push(&HEAD, b"x")?;
    let batch = batch.finish();
    let node = Name::new("n1")?;
    for _ in 0..500 {
        if sender.deliver(&node, 0, batch.clone()).await.is_ok() {
            return Ok((receiver, sender));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("the nodes did not join".into())
}

async fn forward(sender: &Net) -> Result<()> {
    let (node, payload) = (Name::new("n1")?, [7; PAYLOAD_BYTES]);
    let (mut under_way, mut batch) = (VecDeque::new(), BatchBuilder::default());
    for _ in 0..BATCHES {
        for _ in 0..BATCH_MESSAGES {
            batch.push(&HEAD, &payload)?;
        }
        if under_way.len() == UNDER_WAY {
            answered(under_way.pop_front()).await?;
        }
        under_way.push_back(Box::pin(sender.deliver(&node, 0, batch.finish())));
    }
    while !under_way.is_empty() {
        answered(under_way.pop_front()).await?;
    }
    Ok(())
}

async fn answered<F, E>(sent: Option<F>) -> Result<()>
where
    F: Future<Output = std::result::Result<Outcomes, E>>,
    E: Error + 'static,
{
    let outcomes = sent.ok_or("nothing is under way")?.await?;
    if outcomes.codes().iter().all(|code| *code == 0) { Ok(()) } else { Err("a message was refused".into()) }
}

/// The same bytes as length-prefixed frames: written and read a batch at a time, answered with a byte for each message.
async fn raw_frames(files: &TlsFiles) -> Result<()> {
    let (server, client) = tls(files)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let receive = tokio::spawn(receive(listener, server));
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect(ServerName::try_from("bench.invalid")?, tcp).await?;
    let (mut read, mut write) = tokio::io::split(stream);
    let send = send_frames(&mut write);
    let answers = async {
        let (mut left, mut buffer) = (BATCHES * BATCH_MESSAGES, [0; 4096]);
        while left > 0 {
            left -= read.read(&mut buffer).await?;
        }
        Ok::<_, Box<dyn Error>>(())
    };
    let (sent, answered) = tokio::join!(send, answers);
    sent.and(answered)?;
    Ok(receive.await??)
}

async fn send_frames(write: &mut (impl AsyncWriteExt + Unpin)) -> Result<()> {
    let mut head = BatchBuilder::default();
    head.push(&HEAD, &[7; PAYLOAD_BYTES])?;
    let frame = vec![7; head.finish().bytes()];
    for _ in 0..BATCHES {
        let mut batch = BytesMut::with_capacity(BATCH_MESSAGES * (4 + frame.len()));
        for _ in 0..BATCH_MESSAGES {
            batch.put_u32(frame.len() as u32);
            batch.put_slice(&frame);
        }
        write.write_all(&batch).await?;
        write.flush().await?;
    }
    Ok(())
}

fn tls(files: &TlsFiles) -> Result<(ServerConfig, ClientConfig)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(&files.certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key_file)?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anybody::Anybody))
        .with_no_client_auth();
    Ok((server, client))
}

async fn receive(listener: TcpListener, server: ServerConfig) -> std::io::Result<()> {
    let (tcp, _) = listener.accept().await?;
    let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(tcp).await?;
    let (mut buffer, mut messages) = (BytesMut::with_capacity(128 * 1024), 0);
    while messages < BATCHES * BATCH_MESSAGES {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let before = messages;
        while let Some(length) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if buffer.len() < 4 + length {
                break;
            }
            buffer.advance(4);
            std::hint::black_box(buffer.split_to(length).freeze());
            messages += 1;
        }
        stream.write_all(&vec![0; messages - before]).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The certificate has no DNS name, and whose it is does not matter here.
mod anybody {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    pub(super) struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}
