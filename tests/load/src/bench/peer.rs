//! The peers: what they are called, where they listen and how they are started.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::work::{Transport, Who, Work};
use super::{Bench, mosquitto};

/// Ports on 127.0.0.1, one for each way to connect.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) mqtt: u16,
    pub(super) mqtts: u16,
    pub(super) mtls: u16,
    pub(super) ws: u16,
}

impl Ports {
    pub(super) fn of(&self, t: Transport) -> u16 {
        match t {
            Transport::Tcp => self.mqtt,
            Transport::Tls => self.mqtts,
            Transport::MutualTls => self.mtls,
            Transport::Ws => self.ws,
        }
    }
}

/// How a peer is started.
pub(super) enum Start {
    /// The batched relay beside this program.
    Relay,
    Gatemq {
        program: PathBuf,
        config: PathBuf,
        workers: u32,
    },
    Mosquitto {
        program: PathBuf,
    },
    /// Program and arguments, with placeholders.
    Words(Vec<String>),
}

/// One to measure.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) start: Start,
    pub(super) ports: Ports,
}

impl Peer {
    /// Whether it can do this work.
    pub(super) fn can(&self, work: &Work) -> bool {
        match (&self.start, work.who) {
            (Start::Gatemq { .. }, Who::Workers) => true,
            (_, Who::Workers) => false,
            (Start::Gatemq { workers, .. }, _) => *workers == 1,
            (Start::Relay, who) => who == Who::All,
            (Start::Mosquitto { .. } | Start::Words(_), _) => true,
        }
    }

    /// The cores that it is given.
    pub(super) fn cores(&self, b: &Bench<'_>) -> String {
        match self.start {
            Start::Gatemq { workers: 2.., .. } => format!("{},{}", b.cli.peer_core, b.cli.second_core()),
            _ => b.cli.peer_core.to_string(),
        }
    }

    /// Whether it is given the name and password of the command line.
    pub(super) fn authenticates(&self) -> bool {
        matches!(self.start, Start::Gatemq { .. } | Start::Words(_))
    }

    /// What to run. Mosquitto's configuration is written here.
    pub(super) fn command(&self, t: Transport, b: &Bench<'_>) -> io::Result<Command> {
        Ok(match &self.start {
            Start::Relay => {
                let mut c = Command::new(b.bin.join("gatemq-relay"));
                c.arg("tokio").arg("--addr").arg(format!("127.0.0.1:{}", self.ports.of(t)));
                if t == Transport::Ws {
                    c.arg("--ws");
                }
                if matches!(t, Transport::Tls | Transport::MutualTls) {
                    c.arg("--cert").arg(b.certs.join("server.crt")).arg("--key").arg(b.certs.join("server.key"));
                }
                if t == Transport::MutualTls {
                    c.arg("--ca").arg(b.certs.join("ca.crt"));
                }
                c
            }
            Start::Gatemq { program, config, workers } => {
                let mut c = Command::new(program);
                c.arg("run").arg("--config").arg(config).arg("--set").arg(format!("node.workers={workers}"));
                c
            }
            Start::Mosquitto { program } => {
                let mut c = Command::new(program);
                c.arg("-c").arg(mosquitto::write_config(b.dir, b.certs, &self.ports, t)?);
                c
            }
            Start::Words(words) => {
                let mut words = words.iter().map(|w| self.fill(w, b));
                let mut c = Command::new(words.next().unwrap_or_default());
                c.args(words);
                c
            }
        })
    }

    fn fill(&self, word: &str, b: &Bench<'_>) -> String {
        let mut word = word.replace("{certs}", &b.certs.to_string_lossy());
        let p = &self.ports;
        for (name, port) in [("{mqtt}", p.mqtt), ("{mqtts}", p.mqtts), ("{mtls}", p.mtls), ("{ws}", p.ws)] {
            word = word.replace(name, &port.to_string());
        }
        word
    }
}
