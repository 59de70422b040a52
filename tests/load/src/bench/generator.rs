//! The generator as a child process on its own core.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::peer::Peer;
use super::work::{Transport, Work};
use super::{Bench, process};

/// Runs the work against the peer at `port`; the JSON line of the generator, or its error.
pub(super) fn run(b: &Bench<'_>, peer: &Peer, work: &Work, port: u16, pid: u32) -> io::Result<Value> {
    let mut child = process::pinned(&command(b, peer, work, port, pid), &b.cli.load_core.to_string());
    let mut child = child.stdout(Stdio::piped()).spawn()?;
    // One line, so the pipe never fills up while we wait.
    if process::wait(&mut child, b.patience())?.is_none() {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::other(format!("the generator did not end within {:?}", b.patience())));
    }
    let mut out = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut out)?;
    }
    let line: Value =
        serde_json::from_str(&out).map_err(|e| io::Error::other(format!("the generator's answer: {e}")))?;
    match line.get("error") {
        Some(e) => Err(io::Error::other(e.as_str().unwrap_or("no words").to_owned())),
        None => Ok(line),
    }
}

fn command(b: &Bench<'_>, peer: &Peer, work: &Work, port: u16, pid: u32) -> Command {
    let mut c = Command::new(b.bin.join("gatemq-load"));
    c.arg("--addr").arg(format!("127.0.0.1:{port}")).arg("--label").arg(&peer.name);
    c.arg("--broker-pid").arg(pid.to_string());
    c.arg("--secs").arg(b.cli.secs.to_string()).arg("--warmup").arg(b.cli.warmup.to_string());
    if matches!(work.transport, Transport::Tls | Transport::MutualTls) {
        c.arg("--tls");
    }
    if work.transport == Transport::Ws {
        c.arg("--ws").arg("/mqtt");
    }
    if work.transport == Transport::MutualTls {
        c.arg("--cert").arg(b.certs.join("client.crt")).arg("--key").arg(b.certs.join("client.key"));
    }
    if peer.authenticates() {
        for (option, value) in [("--user", &b.cli.user), ("--pass", &b.cli.pass)] {
            if let Some(value) = value {
                c.arg(option).arg(value);
            }
        }
    }
    c.args(work.args);
    c
}
