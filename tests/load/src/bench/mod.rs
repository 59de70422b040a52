//! Peers side by side: for every scenario each peer in turn, round after round, so that the machine's drift hits all
//! alike. The peer runs on one core, the generator on another.

mod cli;
mod generator;
mod goal;
mod mosquitto;
mod peer;
mod process;
mod results;
mod table;
mod work;

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

use crate::report::round;
use crate::{certs, procfs};

use cli::Cli;
use peer::Peer;
use table::Sample;
use work::{ALL, Work};

/// Reads the command line, measures, and prints the table. Where a run measured nothing it says which and why, and fails.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    procfs::raise_open_files();
    match bench(&cli) {
        Ok((table, failed)) => {
            println!("{table}");
            failed.iter().for_each(|run| eprintln!("gatemq-bench: not measured: {run}"));
            if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// The table, and what of it was not measured.
fn bench(cli: &Cli) -> io::Result<(String, Vec<String>)> {
    let (samples, works) = match cli.table.as_slice() {
        [] => (measure(cli)?, cli.works()),
        files => (results::read(files)?, ALL.iter().collect()),
    };
    let mut text = goal::markdown(&works, &samples);
    text.push_str(&remarks(cli, &samples));
    if cli.details {
        let mut peers: Vec<&str> = samples.iter().map(|s| s.peer.as_str()).collect();
        peers.sort_unstable();
        peers.dedup();
        text.push('\n');
        text.push_str(&table::markdown(&peers, &works, &samples));
    }
    Ok((text, failed(&samples)))
}

/// Runs that failed or gave no number, each with the reason. A mosquitto which cannot do what no goal compares with it (many are
/// built without WebSocket) is told in the table only.
fn failed(samples: &[Sample]) -> Vec<String> {
    let why = |s: &Sample| match &s.error {
        Some(e) => Some(e.clone()),
        None if s.cpu.is_none() => Some("the generator did nothing in the time measured".into()),
        None => None,
    };
    let run = |s: &Sample, why: String| format!("{} {}, round {}: {why}", s.work, s.peer, s.round + 1);
    let compared = |s: &&Sample| s.peer != goal::MOSQUITTO || goal::compares_with_mosquitto(s.work);
    samples.iter().filter(compared).filter_map(|s| Some(run(s, why(s)?))).collect()
}

fn measure(cli: &Cli) -> io::Result<Vec<Sample>> {
    let dir = tempfile::Builder::new().prefix("gatemq-bench.").tempdir()?;
    let certs = cli.certs.clone().unwrap_or_else(|| dir.path().join("certs"));
    if cli.certs.is_none() {
        certs::write(&certs)?;
    }
    let me = std::env::current_exe()?;
    let bin = me.parent().unwrap_or(Path::new("."));
    let out_path = cli.out.clone().unwrap_or_else(|| std::env::temp_dir().join("gatemq-bench.jsonl"));
    let mut out = File::create(&out_path).map_err(|e| io::Error::other(format!("{}: {e}", out_path.display())))?;
    let samples = Bench { cli, dir: dir.path(), certs: &certs, bin }.run(&cli.peers()?, &cli.works(), &mut out)?;
    eprintln!("all results: {}", out_path.display());
    Ok(samples)
}

/// What a reader of the table must know.
fn remarks(cli: &Cli, samples: &[Sample]) -> String {
    let mut text = String::new();
    if samples.iter().all(|s| s.peer != goal::MOSQUITTO) {
        text.push_str("\n- mosquitto is absent from this run: --mosquitto PATH, or ");
        text.push_str(cli::MOSQUITTO_PROGRAM);
        text.push('\n');
    }
    if samples.iter().any(|s| s.peer == goal::TWO_WORKERS) && cli.second_core() == cli.load_core {
        text.push_str(
            "\n- workers2: the second worker and the generator share a core here. So does what they cost each other: cold \
             caches make a delivery dearer, waiting makes batches larger and a delivery cheaper. On three cores or more it is \
             the broker alone.\n",
        );
    }
    text
}

impl Bench<'_> {
    /// Round after round, the peers of every second one in reverse order. Every result goes to `out` at once.
    fn run(&self, peers: &[Peer], works: &[&'static Work], out: &mut File) -> io::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for work in works {
            for round in 0..self.cli.rounds.min(work.rounds_max) {
                let mut turn: Vec<&Peer> = peers.iter().filter(|p| p.can(work)).collect();
                if round % 2 == 1 {
                    turn.reverse();
                }
                for peer in turn {
                    let result = self.watched(peer, work);
                    let said = result.get("error").map_or("done", |e| e.as_str().unwrap_or("?"));
                    eprintln!("{} {} {}/{}: {said}", work.name, peer.name, round + 1, self.cli.rounds);
                    results::write(out, &peer.name, work, round, &result)?;
                    samples.push(Sample::new(&peer.name, work, round, &result));
                }
            }
        }
        Ok(samples)
    }

    /// One run, and what strangers took of the machine meanwhile: where that is much, the run says little.
    fn watched(&self, peer: &Peer, work: &Work) -> Value {
        let (start, machine, family) = (Instant::now(), procfs::machine_cpu_s(), procfs::family_cpu_s());
        let mut result = self.one(peer, work).unwrap_or_else(|e| json!({"error": e.to_string()}));
        let others = procfs::machine_cpu_s() - machine - (procfs::family_cpu_s() - family);
        result["others_load"] = json!(round(others.max(0.0) / start.elapsed().as_secs_f64()));
        result
    }

    /// Starts the peer, runs the generator against it, stops it.
    fn one(&self, peer: &Peer, work: &Work) -> io::Result<Value> {
        let port = peer.ports.of(work.transport);
        let command = peer.command(work.transport, self)?;
        let log = self.dir.join(format!("{}.log", peer.name));
        let running = process::start(command, &peer.cores(self), port, &log)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of which a part was not measured is no success, and what was in the way is told for each run.
    #[test]
    fn what_was_not_measured_is_told() {
        let sample =
            |name: &str, result: Value| Sample::new("gatemq", ALL.iter().find(|w| w.name == name).unwrap(), 1, &result);
        let connects = |n: u32| json!({"broker_cpu_s_per_1m": 40.0, "connects_per_s": n});
        let idle = json!({"broker_cpu_us_per_open": 50.0, "rss_bytes_per_conn": 2508});
        assert_eq!(failed(&[sample("connect", connects(9)), sample("idle", idle)]), Vec::<String>::new());
        let in_use = json!({"error": "port 1883 is in use already"});
        let told = failed(&[sample("connect", connects(0)), sample("connect-tls", in_use)]);
        assert_eq!(told[0], "connect gatemq, round 2: the generator did nothing in the time measured");
        assert_eq!(told[1], "connect-tls gatemq, round 2: port 1883 is in use already");
        let absent =
            |name: &str| Sample { peer: goal::MOSQUITTO.into(), ..sample(name, json!({"error": "no listener"})) };
        assert_eq!((failed(&[absent("pairs-ws")]).len(), failed(&[absent("wildcard")]).len()), (0, 1));
    }
}
