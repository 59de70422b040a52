//! What this machine can do at best, for comparison with brokers.
//!
//! The relays understand just enough MQTT (CONNECT, SUBSCRIBE, PUBLISH at QoS 0/1, exact topics, and filters with a
//! wildcard by their first level) for the generator's pairs, fanin, fanout, idle and connect scenarios to run against
//! them unchanged. They keep no sessions, check nothing and store nothing.

mod accept;
mod epoll;
mod handshake;
mod naive;
mod packet;
mod shared;
mod tls;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, ValueEnum};

use crate::cli::seconds;
use crate::{net, procfs};

pub use epoll::serve as serve_epoll;
pub use naive::serve as serve_naive;
pub use shared::serve as serve_tokio;
pub use tls::server_config;

/// Bytes that wait for one client at most; what comes beyond that is dropped for it.
const OUT_MAX: usize = 64 << 20;

/// What this machine can do at best: relays without MQTT logic, and the floors of accept and TLS handshake
#[derive(Parser)]
#[command(name = "gatemq-relay")]
enum Cli {
    /// One thread, epoll, all writes of a loop turn together
    Epoll(Listen),
    /// tokio current_thread, a task per connection, shared output buffers: the batched relay that brokers are held to
    Tokio(ListenTls),
    /// tokio as commonly written: a channel per connection, one write per message
    Naive(Listen),
    /// Accepts and closes
    Accept(Listen),
    /// rustls in memory: the server's share of a handshake, one core
    Handshake(Handshake),
}

#[derive(Args)]
struct Listen {
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1:1883")]
    addr: SocketAddr,
}

/// Where to listen, and with which TLS.
#[derive(Args)]
pub struct ListenTls {
    /// Address to listen at
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub addr: SocketAddr,
    /// Certificate chain (PEM): speak TLS 1.3
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// CA of client certificates (PEM): demand one
    #[arg(long, requires = "cert")]
    pub ca: Option<PathBuf>,
    /// MQTT inside a WebSocket, whatever its path
    #[arg(long)]
    pub ws: bool,
}

#[derive(Args)]
struct Handshake {
    /// The server's certificate chain (PEM)
    #[arg(long)]
    cert: PathBuf,
    /// Its key (PEM)
    #[arg(long)]
    key: PathBuf,
    /// Also ask for a client certificate of this CA
    #[arg(long, requires = "client_cert")]
    ca: Option<PathBuf>,
    /// The client's certificate chain (PEM)
    #[arg(long, requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// TLS 1.2 instead of 1.3
    #[arg(long)]
    tls12: bool,
    /// How sessions are resumed
    #[arg(long, value_enum, default_value_t = Resume::None)]
    resume: Resume,
    /// Key exchange
    #[arg(long, value_enum, default_value_t = KeyExchange::X25519)]
    kx: KeyExchange,
    /// Seconds measured
    #[arg(long, default_value = "3", value_parser = seconds)]
    secs: f64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Debug)]
enum Resume {
    None,
    Stateful,
    Ticket,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, Debug)]
enum KeyExchange {
    X25519,
    P256,
    /// X25519MLKEM768
    Mlkem,
}

/// Reads the command line and relays until it is stopped.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    procfs::raise_open_files();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gatemq-relay: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> io::Result<()> {
    let rt = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    match cli {
        Cli::Epoll(l) => serve_epoll(net::listen(l.addr)?),
        Cli::Tokio(l) => {
            let tls = server_config(&l)?;
            let listener = net::listen(l.addr)?;
            tokio::task::LocalSet::new().block_on(&rt()?, serve_tokio(listener, tls, l.ws))
        }
        Cli::Naive(l) => rt()?.block_on(serve_naive(net::listen(l.addr)?)),
        Cli::Accept(l) => accept::run(l.addr),
        Cli::Handshake(h) => handshake::run(&h),
    }
}
