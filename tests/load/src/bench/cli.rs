//! The benchmark's command line.

use std::io;
use std::path::PathBuf;

use clap::Parser;

use super::peer::{Peer, Ports, Start};
use super::work::{ALL, Work};
use crate::cli::seconds;

/// Brokers and relay side by side, in alternating rounds, as a markdown table of medians
///
/// Peers are the relay of gatemq-relay (always), gatemq, mosquitto, and any --peer. They run one at a time.
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
    /// Scenarios, by comma; all without it: see the README
    #[arg(long, value_delimiter = ',', value_parser = work)]
    scenarios: Vec<&'static Work>,
    /// The gatemq program; it is started as PATH run --config FILE
    #[arg(long, requires = "gatemq_config")]
    gatemq: Option<PathBuf>,
    /// Its configuration, with listeners at the ports of --gatemq-ports and certificates of --certs
    #[arg(long, requires = "gatemq")]
    gatemq_config: Option<PathBuf>,
    /// Its ports
    #[arg(long, default_value = "mqtt=1883,mqtts=8883,mtls=8884", value_parser = ports)]
    gatemq_ports: Ports,
    /// The mosquitto program
    #[arg(long)]
    mosquitto: Option<PathBuf>,
    /// Another peer as NAME=COMMAND, split at blanks; {mqtt}, {mqtts} and {mtls} become the ports of --ports,
    /// {certs} the directory of ca.crt, server.crt and server.key
    #[arg(long = "peer", value_parser = peer)]
    others: Vec<(String, Vec<String>)>,
    /// The ports of all peers but gatemq
    #[arg(long, default_value = "mqtt=1883,mqtts=8883,mtls=8884", value_parser = ports)]
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
    /// File for all results, a JSON line each; gatemq-bench.jsonl in the temporary directory without it
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

impl Cli {
    /// Those to measure, the relay first; two of one name are an error.
    pub(super) fn peers(&self) -> io::Result<Vec<Peer>> {
        let peer = |name: &str, start, ports: &Ports| Peer { name: name.into(), start, ports: ports.clone() };
        let mut peers = vec![peer("relay", Start::Relay, &self.ports)];
        if let Some((program, config)) = self.gatemq.clone().zip(self.gatemq_config.clone()) {
            peers.push(peer("gatemq", Start::Gatemq { program, config }, &self.gatemq_ports));
        }
        for (name, words) in &self.others {
            peers.push(peer(name, Start::Words(words.clone()), &self.ports));
        }
        if let Some(program) = self.mosquitto.clone() {
            peers.push(peer("mosquitto", Start::Mosquitto { program }, &self.ports));
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
        if self.scenarios.is_empty() { ALL.iter().collect() } else { self.scenarios.clone() }
    }
}

fn work(s: &str) -> Result<&'static Work, String> {
    let known = || ALL.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
    ALL.iter().find(|w| w.name == s).ok_or_else(|| format!("known are {}", known()))
}

/// `mqtt=N,mqtts=N,mtls=N`; one left out keeps its usual number.
fn ports(s: &str) -> Result<Ports, String> {
    let mut p = Ports { mqtt: 1883, mqtts: 8883, mtls: 8884 };
    for part in s.split(',') {
        let (name, number) = part.split_once('=').ok_or("NAME=PORT, by comma")?;
        let number = number.parse().ok().filter(|n| *n != 0).ok_or("a port is 1 to 65535")?;
        match name {
            "mqtt" => p.mqtt = number,
            "mqtts" => p.mqtts = number,
            "mtls" => p.mtls = number,
            _ => return Err("names are mqtt, mqtts and mtls".into()),
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
        let cli = parse(&["--scenarios", "pairs,connect-tls", "--peer", "p=/bin/x --port {mqtt}", "--ports", "mtls=9"]);
        let cli = cli.unwrap();
        assert_eq!(cli.works().iter().map(|w| w.name).collect::<Vec<_>>(), ["pairs", "connect-tls"]);
        let peers = cli.peers().unwrap();
        assert_eq!(peers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["relay", "p"]);
        assert_eq!((peers[1].ports.mqtt, peers[1].ports.mtls), (1883, 9));
        assert!(parse(&["--peer", "relay=x"]).unwrap().peers().is_err());
        for bad in [["--scenarios", "pear"], ["--peer", "../x=y"], ["--peer", "x="], ["--ports", "mqtt=0"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
