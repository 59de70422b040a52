//! The scenarios, a file each, and the generator's `main`.

mod connect;
mod idle;
mod offline;
mod retained;
mod traffic;
mod wildcard;

use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use crate::cli::{Cli, Command, Common};
use crate::net::{self, Conn, Target, TlsOptions};
use crate::wire::{self, PublishTemplate};
use crate::{certs, procfs};

/// Reads the command line, runs the scenario and prints its JSON line; on failure the line has `error`.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(Some(line)) => println!("{line}"),
        Ok(None) => {}
        Err(e) => {
            let args = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
            println!("{}", json!({"label": cli.common.label, "error": e.to_string(), "args": args}));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn start(cli: &Cli) -> io::Result<Option<Value>> {
    if let Command::Certs { dir } = &cli.command {
        return certs::write(dir).map(|()| None);
    }
    procfs::raise_open_files();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&rt, run(cli))
}

/// Runs the scenario that `cli` names; nothing for `certs`. Call it within a `LocalSet`.
pub async fn run(cli: &Cli) -> io::Result<Option<Value>> {
    let c = &cli.common;
    let t = Rc::new(target(c)?);
    Ok(Some(match &cli.command {
        Command::Connect(o) => connect::run(c, t, o).await?,
        Command::Idle(o) => idle::run(c, t, o).await?,
        Command::Pairs(o) => traffic::pairs(c, t, o).await?,
        Command::Fanin(o) => traffic::fanin(c, t, o).await?,
        Command::Fanout(o) => traffic::fanout(c, t, o).await?,
        Command::Retained(o) => retained::run(c, t, o).await?,
        Command::Wildcard(o) => wildcard::run(c, t, o).await?,
        Command::Offline(o) => offline::run(c, t, o).await?,
        Command::Certs { .. } => return Ok(None),
    }))
}

fn target(c: &Common) -> io::Result<Target> {
    let tls = match c.tls || c.tls12 {
        false => None,
        true => Some(net::connector(&TlsOptions {
            resume: c.resume,
            tls12: c.tls12,
            client_cert: c.cert.as_deref().zip(c.key.as_deref()),
        })?),
    };
    Ok(Target {
        addr: c.addr,
        tls,
        ws: c.ws.clone(),
        sources: c.sources,
        v5: c.v5,
        user: c.user.clone(),
        pass: c.pass.clone(),
        receive_max: 1000,
    })
}

/// `n` connected clients named `prefix` and a number.
async fn clients(t: &Target, prefix: &str, n: usize) -> io::Result<Vec<Conn>> {
    let mut all = Vec::with_capacity(n);
    for i in 0..n {
        all.push(Conn::mqtt(t, &format!("{prefix}{i}"), true).await?);
    }
    Ok(all)
}

/// QoS 1 messages that `publish_all` keeps unacknowledged.
const PUBLISH_INFLIGHT: u64 = 20;

/// Publishes `n` messages at QoS 1.
async fn publish_all(p: &mut Conn, n: u64, template: impl Fn(u64) -> PublishTemplate) -> io::Result<()> {
    let (mut sent, mut acked) = (0u64, 0u64);
    while acked < n {
        while sent < n && sent - acked < PUBLISH_INFLIGHT {
            template(sent).put(&mut p.out, (sent % 65535) as u16 + 1, 1);
            sent += 1;
        }
        p.turn().await?;
        p.packets(|first, _, _| acked += (first >> 4 == wire::PUBACK) as u64)?;
    }
    Ok(())
}

/// Reads PUBLISHes (acknowledging QoS 1) until `n` came or none came for `patience`.
async fn receive(s: &mut Conn, n: u64, patience: Duration) -> io::Result<u64> {
    let (mut got, v5) = (0u64, s.v5);
    while got < n {
        let before = got;
        s.packets(|first, body, out| {
            if first >> 4 == wire::PUBLISH {
                got += 1;
                if let Some(a) = wire::arrived(first, body, v5).filter(|a| a.qos == 1) {
                    wire::ack(out, wire::PUBACK, a.pid);
                }
            }
        })?;
        if got < n || s.unsent() > 0 {
            match tokio::time::timeout(patience, s.turn()).await {
                Ok(r) => r?,
                Err(_) if got == before => break,
                Err(_) => {}
            }
        }
    }
    Ok(got)
}
