//! CPU time and memory of a process (the broker, or ourselves), from `/proc`.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time in seconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    /// In user space.
    pub user: f64,
    /// In the kernel.
    pub sys: f64,
}

impl Cpu {
    /// User and kernel time together.
    pub fn total(&self) -> f64 {
        self.user + self.sys
    }

    /// What was spent between `then` and this reading.
    pub fn since(&self, then: Cpu) -> Cpu {
        Cpu { user: self.user - then.user, sys: self.sys - then.sys }
    }
}

/// CPU seconds since boot, of all cores, for whatever reason, and what other machines took of them.
pub fn machine_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal
    let busy: f64 = ticks.iter().take(3).chain(ticks.iter().skip(5).take(3)).sum();
    busy / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of this process and of those of its children that have ended.
pub fn family_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    fields.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
}

/// A process to watch, or none: then everything reads as zero.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub Option<u32>);

impl Process {
    /// This process.
    pub fn myself() -> Process {
        Process(Some(std::process::id()))
    }

    /// utime and stime (all threads, dead ones too), in steps of a clock tick (10 ms).
    pub fn cpu(&self) -> Cpu {
        let Some(pid) = self.0 else { return Cpu::default() };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The command's name, in parentheses, may contain anything: count from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let hz = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |i: usize| fields.get(i).and_then(|x| x.parse::<f64>().ok()).unwrap_or(0.0) / hz;
        Cpu { user: seconds(11), sys: seconds(12) }
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let Some(pid) = self.0 else { return 0 };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    }
}

/// TCP memory of the whole machine in bytes (what no process's RSS shows).
pub fn tcp_memory() -> u64 {
    let stat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = stat.lines().find(|l| l.starts_with("TCP:")).unwrap_or("");
    let pages = line.split(" mem ").nth(1).and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Raises the soft limit of open files to the hard one; children inherit it. Where that is refused, the limit stays
/// and a scenario with too many connections says so itself.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine's time holds that of a child that has ended, and ours as well; else strangers would be taken for the peer.
    #[test]
    fn a_child_is_of_the_family() {
        let (machine, family) = (machine_cpu_s(), family_cpu_s());
        let spin = ["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"];
        assert!(std::process::Command::new("sh").args(spin).status().unwrap().success());
        let family = family_cpu_s() - family;
        assert!(family > 0.02, "{family}");
        // Counted in ticks.
        assert!(machine_cpu_s() - machine > family - 0.05);
    }

    /// The columns of `/proc/PID/stat` are the right ones: time spent here shows, and no process reads as nothing.
    #[test]
    fn own_cpu_and_memory_are_seen() {
        let start = std::time::Instant::now();
        let before = Process::myself().cpu();
        let mut spent = 0.0;
        while spent < 0.05 && start.elapsed().as_secs() < 20 {
            spent = Process::myself().cpu().since(before).total();
        }
        assert!(spent >= 0.05 && spent <= start.elapsed().as_secs_f64() * 64.0, "{spent}");
        assert!(Process::myself().rss() > 100_000);
        assert_eq!((Process(None).cpu().total(), Process(None).rss()), (0.0, 0));
    }
}
