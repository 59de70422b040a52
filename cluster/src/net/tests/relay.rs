//! The network between two nodes, which a test cuts, heals and records.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Forwards TCP and UDP from one port to a node's.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    cut: Arc<AtomicBool>,
    cut_now: Arc<tokio::sync::Notify>,
    /// Packets that were forwarded.
    pub(super) packets: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    pub(super) async fn new() -> Relay {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let relay = Relay {
            address: tcp.local_addr().unwrap(),
            target: Arc::default(),
            cut: Arc::default(),
            cut_now: Arc::default(),
            packets: Arc::default(),
        };
        tokio::spawn(relay.clone().run_tcp(tcp));
        tokio::spawn(relay.clone().run_udp(udp));
        relay
    }

    pub(super) fn to(&self, target: SocketAddr) {
        *self.target.lock() = Some(target);
    }

    /// Forwards nothing from now on, and breaks nothing either: it is a silence.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.cut_now.notify_waiters();
    }

    pub(super) fn heal(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    fn target(&self) -> Option<SocketAddr> {
        if self.cut.load(Ordering::SeqCst) { None } else { *self.target.lock() }
    }

    async fn run_tcp(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let (mut inside, _) = listener.accept().await.unwrap();
            let relay = self.clone();
            connections.spawn(async move {
                let silence = relay.cut_now.notified();
                let forward = async {
                    let Some(target) = relay.target() else { return std::future::pending().await };
                    if let Ok(mut outside) = TcpStream::connect(target).await {
                        drop(tokio::io::copy_bidirectional(&mut inside, &mut outside).await);
                    }
                };
                tokio::select! {
                    () = forward => {}
                    // Both sockets are dropped only later than anybody waits for an answer.
                    () = silence => tokio::time::sleep(std::time::Duration::from_secs(30)).await,
                }
            });
        }
    }

    async fn run_udp(self, socket: UdpSocket) {
        let out = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 65_536];
        loop {
            let Ok((n, _)) = socket.recv_from(&mut buffer).await else { continue };
            if let Some(target) = self.target() {
                self.packets.lock().push(buffer[..n].to_vec());
                drop(out.send_to(&buffer[..n], target).await);
            }
        }
    }
}
