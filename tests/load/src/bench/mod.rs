//! Peers side by side: for every scenario each peer in turn, round after round, so that the machine's drift hits all
//! alike. The peer runs on one core, the generator on another.

mod cli;
mod generator;
mod mosquitto;
mod peer;
mod process;
mod table;
mod work;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use crate::{certs, procfs};

use cli::Cli;
use peer::Peer;
use table::Sample;
use work::Work;

/// Reads the command line, measures, and prints the table.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    procfs::raise_open_files();
    match bench(&cli) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("gatemq-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What all runs have in common.
struct Bench<'a> {
    cli: &'a Cli,
    /// Of this run: configurations and logs.
    dir: &'a Path,
    certs: &'a Path,
    /// Where the other two programs are.
    bin: &'a Path,
}

fn bench(cli: &Cli) -> io::Result<String> {
    let dir = tempfile::Builder::new().prefix("gatemq-bench.").tempdir()?;
    let certs = cli.certs.clone().unwrap_or_else(|| dir.path().join("certs"));
    if cli.certs.is_none() {
        certs::write(&certs)?;
    }
    let me = std::env::current_exe()?;
    let bin = me.parent().unwrap_or(Path::new("."));
    let out_path = cli.out.clone().unwrap_or_else(|| std::env::temp_dir().join("gatemq-bench.jsonl"));
    let mut out = File::create(&out_path).map_err(|e| io::Error::other(format!("{}: {e}", out_path.display())))?;
    let b = Bench { cli, dir: dir.path(), certs: &certs, bin };
    let (peers, works) = (cli.peers()?, cli.works());
    let samples = b.run(&peers, &works, &mut out)?;
    eprintln!("all results: {}", out_path.display());
    Ok(table::markdown(&peers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), &works, &samples))
}

impl Bench<'_> {
    /// Round after round, the peers of every second one in reverse order. Every result goes to `out` at once.
    fn run(&self, peers: &[Peer], works: &[&'static Work], out: &mut File) -> io::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for work in works {
            for round in 0..self.cli.rounds {
                let mut turn: Vec<&Peer> = peers.iter().filter(|p| p.can(work)).collect();
                if round % 2 == 1 {
                    turn.reverse();
                }
                for peer in turn {
                    let result = self.one(peer, work);
                    let result = result.unwrap_or_else(|e| json!({"error": e.to_string()}));
                    let error = result.get("error").map_or("", |e| e.as_str().unwrap_or("?"));
                    eprintln!(
                        "{} {} {}/{}: {}",
                        work.name,
                        peer.name,
                        round + 1,
                        self.cli.rounds,
                        match error {
                            "" => "done",
                            e => e,
                        }
                    );
                    writeln!(
                        out,
                        "{}",
                        json!({"peer": peer.name, "work": work.name, "round": round, "result": result})
                    )?;
                    samples.push(Sample::new(&peer.name, work, round, &result));
                }
            }
        }
        Ok(samples)
    }

    /// Starts the peer, runs the generator against it, stops it.
    fn one(&self, peer: &Peer, work: &Work) -> io::Result<Value> {
        let port = peer.ports.of(work.transport);
        let command = peer.command(work.transport, self)?;
        let log = self.dir.join(format!("{}.log", peer.name));
        let running = process::start(command, self.cli.peer_core, port, &log)?;
        let result = generator::run(self, peer, work, port, running.pid());
        let log = running.stop();
        result.map_err(|e| match log.as_str() {
            "" => e,
            log => io::Error::other(format!("{e}; the peer's last words: {log}")),
        })
    }

    /// Longest time that a run may take: the scenarios measure for `secs` but connect, store and drain before and
    /// after.
    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.cli.warmup + self.cli.secs) + Duration::from_secs(120)
    }
}
