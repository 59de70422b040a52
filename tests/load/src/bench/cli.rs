//! The benchmark's command line.

use std::io;
use std::path::PathBuf;

use clap::Parser;

use super::goal::{GATEMQ, MOSQUITTO, RELAY, TWO_WORKERS};
use super::peer::{Peer, Ports, Start};
use super::work::{ALL, Work};
use crate::cli::seconds;

/// Brokers and relay side by side, in alternating rounds, held against the goals of the design as a markdown table
///
/// Peers are the relay of gatemq-relay (always), gatemq, mosquitto where it is installed, and any --peer. They run one at a
/// time.
#[derive(Parser)]
#[command(name = "gatemq-bench")]
pub(super) struct Cli {
    /// Seconds measured
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(super) secs: f64,
    /// Seconds before measuring starts
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(super) warmup: f64,
    /// Times that every scenario is run against every peer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    /// Scenarios, by comma; all that have a goal without it: see the README
    #[arg(long, value_delimiter = ',', value_parser = work)]
    only: Vec<&'static Work>,
    /// Also a table of all peers with rates and latencies
    #[arg(long)]
    pub(super) details: bool,
    /// Measure nothing; the table of this file of results (several: of all of them together)
    #[arg(long)]
    pub(super) table: Vec<PathBuf>,
    /// The gatemq program; it is started as PATH run --config FILE
    #[arg(long, requires = "gatemq_config")]
    gatemq: Option<PathBuf>,
    /// Its configuration, with listeners at the ports of --gatemq-ports and certificates of --certs
    #[arg(long, requires = "gatemq")]
    gatemq_config: Option<PathBuf>,
    /// Its ports
    #[arg(long, default_value = PORTS, value_parser = ports)]
    gatemq_ports: Ports,
    /// The mosquitto program; /usr/sbin/mosquitto without it, where that is
    #[arg(long)]
    mosquitto: Option<PathBuf>,
    /// Another peer as NAME=COMMAND, split at blanks; {mqtt}, {mqtts}, {mtls} and {ws} become the ports of --ports,
    /// {certs} the directory of ca.crt, server.crt and server.key
    #[arg(long = "peer", value_parser = peer)]
    others: Vec<(String, Vec<String>)>,
    /// The ports of all peers but gatemq
    #[arg(long, default_value = PORTS, value_parser = ports)]
    ports: Ports,
    /// Certificates as `gatemq-load certs DIR` makes them; without it, new ones are made
    #[arg(long)]
    pub(super) certs: Option<PathBuf>,
    /// User name for gatemq and the peers of --peer; {i} becomes the client's number
    #[arg(long)]
    pub(super) user: Option<String>,
    /// Password
    #[arg(long)]
    pub(super) pass: Option<String>,
    /// Core of the peer
    #[arg(long, default_value_t = 0)]
    pub(super) peer_core: u32,
    /// Core of the generator
    #[arg(long, default_value_t = 1)]
    pub(super) load_core: u32,
    /// Core of gatemq's second worker, beside --peer-core; 2 without it, or where there are only two, the generator's
    #[arg(long)]
    second_core: Option<u32>,
    /// File for all results, a JSON line each; gatemq-bench.jsonl in the temporary directory without it
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

impl Cli {
    /// Those to measure, the relay first; two of one name are an error, and so is a mosquitto that is named and absent.
    pub(super) fn peers(&self) -> io::Result<Vec<Peer>> {
        let peer = |name: &str, start, ports: &Ports| Peer { name: name.into(), start, ports: ports.clone() };
        let mut peers = vec![peer(RELAY, Start::Relay, &self.ports)];
        if let Some((program, config)) = self.gatemq.clone().zip(self.gatemq_config.clone()) {
            for (name, workers) in [(GATEMQ, 1), (TWO_WORKERS, 2)] {
                let (program, config) = (program.clone(), config.clone());
                peers.push(peer(name, Start::Gatemq { program, config, workers }, &self.gatemq_ports));
            }
        }
        for (name, words) in &self.others {
            peers.push(peer(name, Start::Words(words.clone()), &self.ports));
        }
        let program = self.mosquitto.clone().unwrap_or_else(|| MOSQUITTO_PROGRAM.into());
        match program.is_file() {
            true => peers.push(peer(MOSQUITTO, Start::Mosquitto { program }, &self.ports)),
            false if self.mosquitto.is_some() => {
                return Err(io::Error::other(format!("{}: no such file", program.display())));
            }
            false => {}
        }
        for (i, p) in peers.iter().enumerate() {
            if peers[..i].iter().any(|q| q.name == p.name) {
                return Err(io::Error::other(format!("two peers named {}", p.name)));
            }
        }
        Ok(peers)
    }

    /// The scenarios asked for.
    pub(super) fn works(&self) -> Vec<&'static Work> {
        match self.only.is_empty() {
            true => ALL.iter().filter(|w| !w.goals.is_empty()).collect(),
            false => self.only.clone(),
        }
    }

    /// Where gatemq's second worker runs.
    pub(super) fn second_core(&self) -> u32 {
        let spare = std::thread::available_parallelism().is_ok_and(|n| n.get() > 2);
        self.second_core.unwrap_or(if spare { 2 } else { self.load_core })
    }
}

const PORTS: &str = "mqtt=1883,mqtts=8883,mtls=8884,ws=8083";
/// Where Debian and others put it.
pub(super) const MOSQUITTO_PROGRAM: &str = "/usr/sbin/mosquitto";

fn work(s: &str) -> Result<&'static Work, String> {
    let known = || ALL.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
    ALL.iter().find(|w| w.name == s).ok_or_else(|| format!("known are {}", known()))
}

/// `mqtt=N,mqtts=N,mtls=N,ws=N`; one left out keeps its usual number.
fn ports(s: &str) -> Result<Ports, String> {
    let mut p = Ports { mqtt: 1883, mqtts: 8883, mtls: 8884, ws: 8083 };
    for part in s.split(',') {
        let (name, number) = part.split_once('=').ok_or("NAME=PORT, by comma")?;
        let number = number.parse().ok().filter(|n| *n != 0).ok_or("a port is 1 to 65535")?;
        match name {
            "mqtt" => p.mqtt = number,
            "mqtts" => p.mqtts = number,
            "mtls" => p.mtls = number,
            "ws" => p.ws = number,
            _ => return Err("names are mqtt, mqtts, mtls and ws".into()),
        }
    }
    Ok(p)
}

fn peer(s: &str) -> Result<(String, Vec<String>), String> {
    let (name, command) = s.split_once('=').ok_or("NAME=COMMAND")?;
    let words: Vec<String> = command.split_whitespace().map(String::from).collect();
    // The name becomes part of a file's name and a cell of the table.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || words.is_empty() {
        return Err("NAME=COMMAND, the name of letters, digits, '-', '_' and '.'".into());
    }
    Ok((name.into(), words))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// clap's own check of the definitions, which otherwise fails at the first run.
    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// What a user gives is taken as said, and what makes no sense is refused.
    #[test]
    fn arguments_are_understood() {
        let parse = |a: &[&str]| Cli::try_parse_from([&["gatemq-bench"][..], a].concat());
        let cli = parse(&["--only", "pairs,connect-tls", "--peer", "p=/bin/x --port {mqtt}", "--ports", "mtls=9"]);
        let cli = cli.unwrap();
        assert_eq!(cli.works().iter().map(|w| w.name).collect::<Vec<_>>(), ["pairs", "connect-tls"]);
        let mut peers = cli.peers().unwrap();
        peers.retain(|p| p.name != MOSQUITTO);
        assert_eq!(peers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["relay", "p"]);
        assert_eq!((peers[1].ports.mqtt, peers[1].ports.mtls), (1883, 9));
        assert!(parse(&["--peer", "relay=x"]).unwrap().peers().is_err());
        assert!(parse(&["--mosquitto", "/nowhere"]).unwrap().peers().is_err(), "named, so not left out in silence");
        for bad in [["--only", "pear"], ["--peer", "../x=y"], ["--peer", "x="], ["--ports", "mqtt=0"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
