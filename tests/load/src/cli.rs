//! The generator's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::procfs::Process;

/// One MQTT load scenario per run, one JSON line on standard output
///
/// The generator is one thread (pin it with taskset). --broker-pid makes it report the broker's CPU time and memory.
/// Throughput scenarios are closed loop (each publisher keeps --window messages undelivered), or open loop with --rate.
#[derive(Parser)]
#[command(name = "gatemq-load")]
pub struct Cli {
    /// How to connect and measure.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to connect and measure.
#[derive(Args)]
pub struct Common {
    /// The broker
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub addr: SocketAddr,
    /// Name to put in the JSON line
    #[arg(long, default_value = "")]
    pub label: String,
    /// Report this process's CPU time and memory
    #[arg(long)]
    pub broker_pid: Option<u32>,
    /// Seconds measured
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub secs: f64,
    /// Seconds before measuring starts (traffic scenarios and connect)
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warmup: f64,
    /// MQTT 5 instead of 3.1.1
    #[arg(long)]
    pub v5: bool,
    /// TLS 1.3, any server certificate accepted
    #[arg(long)]
    pub tls: bool,
    /// TLS 1.2 instead of 1.3
    #[arg(long)]
    pub tls12: bool,
    /// Client certificate chain (PEM) for mutual TLS
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// Resume TLS sessions
    #[arg(long)]
    pub resume: bool,
    /// MQTT inside a WebSocket at this path, e.g. /mqtt
    #[arg(long)]
    pub ws: Option<String>,
    /// User name; {i} becomes the digits of the client id
    #[arg(long)]
    pub user: Option<String>,
    /// Password; {i} as above
    #[arg(long)]
    pub pass: Option<String>,
    /// Loopback source addresses (127.0.0.2 and on) to take turns with; 1: the system chooses
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub sources: u32,
}

impl Common {
    /// The broker's process, if we were told.
    pub fn broker(&self) -> Process {
        Process(self.broker_pid)
    }
}

/// What the messages are and when they are sent.
#[derive(Args)]
pub struct Messages {
    /// QoS of publishing and subscribing
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// Payload bytes (8 at least: the time stamp)
    #[arg(long, default_value = "64", value_parser = size)]
    pub size: usize,
    /// Closed loop: undelivered messages per publisher
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    pub window: u64,
    /// Open loop: messages per second in all
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Connect, CONNACK, DISCONNECT, close, as often as can be
    Connect(Connect),
    /// Memory of many idle connections
    Idle(Idle),
    /// One publisher to one subscriber each
    Pairs(Pairs),
    /// Many publishers to one subscriber, or to a shared subscription of several
    Fanin(Fanin),
    /// Few publishers, each message to all subscribers
    Fanout(Fanout),
    /// Retained messages sent at subscribe
    Retained(Retained),
    /// Many filters with + and #; every message matches three of them, of three clients
    Wildcard(Wildcard),
    /// Queue for an absent persistent session, then let it come back
    Offline(Offline),
    /// Make ca.crt, ca.key, server.crt, server.key, client.crt and client.key (P-256) in a directory; no load
    Certs {
        /// Made if it is not there
        dir: PathBuf,
    },
}

/// Options of `connect`.
#[derive(Args)]
pub struct Connect {
    /// Connections at a time
    #[arg(long, default_value = "32", value_parser = count)]
    pub concurrency: usize,
    /// TCP (and TLS) only, no MQTT
    #[arg(long)]
    pub bare: bool,
}

/// Options of `idle`.
#[derive(Args)]
pub struct Idle {
    /// Connections
    #[arg(long, default_value = "10000", value_parser = count)]
    pub count: usize,
    /// Each also subscribes to one topic of its own
    #[arg(long, conflicts_with = "bare")]
    pub subscribe: bool,
    /// TCP (and TLS) only, no MQTT
    #[arg(long)]
    pub bare: bool,
}

/// Options of `pairs`.
#[derive(Args)]
pub struct Pairs {
    /// Publishers, and as many subscribers
    #[arg(long, default_value = "50", value_parser = count)]
    pub pairs: usize,
    /// One more connection between subscribers and publishers: where connections go to two workers in turn, each pair is
    /// then on both (for an even number of pairs)
    #[arg(long)]
    pub apart: bool,
    /// What is sent.
    #[command(flatten)]
    pub messages: Messages,
}

/// Options of `fanin`.
#[derive(Args)]
pub struct Fanin {
    /// Publishers
    #[arg(long, default_value = "100", value_parser = count)]
    pub pubs: usize,
    /// Subscribers; more than one share the subscription
    #[arg(long, default_value = "1", value_parser = count)]
    pub subs: usize,
    /// What is sent.
    #[command(flatten)]
    pub messages: Messages,
}

/// Options of `fanout`.
#[derive(Args)]
pub struct Fanout {
    /// Publishers
    #[arg(long, default_value = "1", value_parser = count)]
    pub pubs: usize,
    /// Subscribers; each gets every message
    #[arg(long, default_value = "1000", value_parser = count)]
    pub subs: usize,
    /// What is sent.
    #[command(flatten)]
    pub messages: Messages,
}

/// Options of `retained`.
#[derive(Args)]
pub struct Retained {
    /// Retained messages, each of its own topic
    #[arg(long, default_value = "10000", value_parser = count)]
    pub topics: usize,
    /// Payload bytes
    #[arg(long, default_value = "64", value_parser = size)]
    pub size: usize,
}

/// Options of `wildcard`.
#[derive(Args)]
pub struct Wildcard {
    /// Filters in all (about)
    #[arg(long, default_value = "100000", value_parser = count)]
    pub filters: usize,
    /// Subscribers who share them out
    #[arg(long, default_value = "99", value_parser = count)]
    pub clients: usize,
    /// Publishers
    #[arg(long, default_value = "10", value_parser = count)]
    pub pubs: usize,
    /// What is sent.
    #[command(flatten)]
    pub messages: Messages,
}

/// Options of `offline`.
#[derive(Args)]
pub struct Offline {
    /// Messages to queue
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,
    /// Payload bytes
    #[arg(long, default_value = "64", value_parser = size)]
    pub size: usize,
}

/// A number from one on.
pub(crate) fn count(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number from 1 on".into())
}

/// A time from nothing to a day.
pub(crate) fn seconds(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|x| (0.0..=86_400.0).contains(x)).ok_or_else(|| "0 to 86400 seconds".into())
}

fn size(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| *n <= 1 << 26).ok_or_else(|| "0 to 67108864 bytes".into())
}

fn rate(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|x| (0.1..=1e8).contains(x)).ok_or_else(|| "0.1 to 100000000 messages a second".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap's own check of the definitions, which otherwise fails at the first run.
    #[test]
    fn command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    /// A value that would divide by zero or make a `Duration` panic is refused; its neighbour is not.
    #[test]
    fn bounds_are_refused() {
        let parse = |a: &[&str]| Cli::try_parse_from([&["gatemq-load"][..], a].concat()).is_ok();
        assert!(parse(&["--secs", "0.5", "pairs", "--pairs", "1", "--rate", "10"]));
        for bad in [
            &["--secs", "-1", "pairs"][..],
            &["--secs", "NaN", "pairs"],
            &["pairs", "--pairs", "0"],
            &["pairs", "--window", "0"],
            &["pairs", "--qos", "3"],
            &["pairs", "--rate", "0"],
            &["fanout", "--subs", "0"],
            &["--cert", "c.crt", "connect"],
        ] {
            assert!(!parse(bad), "{bad:?}");
        }
    }
}
