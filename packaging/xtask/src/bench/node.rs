//! A broker that a benchmark runs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatemq_tests::wait_for;

/// Killed when dropped, as `kill -9` does it.
pub(super) struct Node {
    child: Child,
    /// Of its listener `plain`.
    pub(super) address: SocketAddr,
    /// From exec to the ready file.
    pub(super) took: Duration,
    pub(super) config: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// Starts the broker in `directory`, with what is there; waits for its ready file. `text` goes on with the configuration in its
    /// table `[node]`.
    pub(super) fn start(broker: &Path, directory: &Path, text: &str) -> Node {
        let (ready, config) = (directory.join("ready.json"), directory.join("gatemq.toml"));
        let _ = fs::remove_file(&ready);
        let (data, nothing) = (directory.join("data"), directory.join("nothing"));
        let first = format!(
            "# Written by `cargo xtask bench`, each time anew.\n[plugin_host]\ndrop_in_dir = {nothing:?}\n\
             bundled_dir = {nothing:?}\nowner_checked = false\nhealth_interval_ms = 600000\n[node]\nname = \"bench\"\n\
             data_dir = {data:?}\nready_file = {ready:?}\n"
        );
        fs::write(&config, first + text).expect("the configuration is written");
        let log = fs::File::create(directory.join("log")).expect("a log");
        let begun = Instant::now();
        let mut command = Command::new(broker);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("the broker is started");
        let read = wait_for("the broker is ready", Duration::from_secs(300), || {
            if let Some(ended) = child.try_wait().expect("the process is ours") {
                panic!("the broker ended: {ended}; see {}", directory.join("log").display());
            }
            fs::read(&ready).ok()
        });
        let took = begun.elapsed();
        let read: serde_json::Value = serde_json::from_slice(&read).expect("JSON");
        let address = read["listeners"]["plain"]["address"].as_str().and_then(|a| a.parse().ok());
        Node { child, address: address.expect("an address"), took, config }
    }

    /// CPU time that it has taken, in ticks of 10 ms.
    pub(super) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // Behind the name, which may have blanks in it, come state and ten numbers, then user and system time.
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Memory in use (resident set).
    pub(super) fn memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }
}
