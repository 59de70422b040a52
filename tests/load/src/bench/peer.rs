//! The peers: what they are called, where they listen and how they are started.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::work::{Transport, Work};
use super::{Bench, mosquitto};

/// Ports on 127.0.0.1, one for each way to connect.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) mqtt: u16,
    pub(super) mqtts: u16,
    pub(super) mtls: u16,
}

impl Ports {
    pub(super) fn of(&self, t: Transport) -> u16 {
        match t {
            Transport::Tcp => self.mqtt,
            Transport::Tls => self.mqtts,
            Transport::MutualTls => self.mtls,
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
        work.relay || !matches!(self.start, Start::Relay)
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
                if t != Transport::Tcp {
                    c.arg("--cert").arg(b.certs.join("server.crt")).arg("--key").arg(b.certs.join("server.key"));
                }
                if t == Transport::MutualTls {
                    c.arg("--ca").arg(b.certs.join("ca.crt"));
                }
                c
            }
            Start::Gatemq { program, config } => {
                let mut c = Command::new(program);
                c.arg("run").arg("--config").arg(config);
                c
            }
            Start::Mosquitto { program } => {
                let mut c = Command::new(program);
                c.arg("-c").arg(mosquitto::write_config(b.dir, b.certs, &self.ports)?);
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
        for (name, port) in [("{mqtt}", self.ports.mqtt), ("{mqtts}", self.ports.mqtts), ("{mtls}", self.ports.mtls)] {
            word = word.replace(name, &port.to_string());
        }
        word
    }
}
