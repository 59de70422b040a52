//! `cargo xtask bench plugins`: what plugins cost, as multiples within one run, beside what they may cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gatemq_tests::{outside, wait_for};

use super::flood::{self, EVENTS_PER_S, Flooded};
use super::node::Node;
use super::{NO_LIMITS, at_root};
use crate::steps::Steps;

/// Each time with no collector, with one that keeps up and with one that hangs, so that the machine's drift hits all alike.
const ROUNDS: usize = 5;
const LASTS: Duration = Duration::from_secs(4);
/// Messages that the rules decide on.
const ALLOWED: usize = 100_000;

/// Medians of benchmarks in nanoseconds, by `NAME` or `NAME/ARGUMENT`.
type Medians = BTreeMap<String, f64>;

/// Runs all of it; what it needs is built.
pub(super) fn run(steps: &mut Steps, release: &Path, directory: &Path) {
    let bench = |package: &str, name: &str, filters: &[&str]| {
        let mut bench = at_root(
            "bench",
            &["--package", package, "--bench", name, "--", "--sample-size", "1024", "--sample-count", "500"],
        );
        bench.args(filters);
        bench
    };
    let mut medians = Medians::new();
    for (package, name, filters) in [
        ("gatemq-plugin-loader", "border", &["authorize_plain", "authorize_borrowed"][..]),
        ("gatemq-broker", "grants", &["50", "remembered"]),
    ] {
        match steps.output(name, &mut bench(package, name, filters)) {
            Some(said) => medians.extend(medians_of(&said)),
            None => return,
        }
    }
    let mut table = vec![
        "| what | measured | is | goal |".to_owned(),
        "|---|---|---|---|".to_owned(),
        border(&medians),
        grants(&medians),
    ];
    let place = Place { release, directory, admit: outside::release_plugin() };
    table.push(calls(&place));
    let floods = Floods::measure(&place);
    table.extend(floods.rows());
    println!("\n{}\n", table.join("\n"));
}

fn row(what: &str, measured: &str, is: &str, within: Option<bool>, goal: &str) -> String {
    let goal = match within {
        Some(true) => format!("{goal}: reached"),
        Some(false) => format!("{goal}: **not reached**"),
        None => goal.to_owned(),
    };
    format!("| {what} | {measured} | {is} | {goal} |")
}

fn border(medians: &Medians) -> String {
    let of = |name: &str| medians.get(name).copied().unwrap_or(f64::NAN);
    let (plain, borrowed) = (of("authorize_plain_trait_call"), of("authorize_borrowed_call"));
    let multiple = borrowed / plain;
    row(
        "borrowed authorize in a library, beside the same through `dyn Trait`",
        &format!("{borrowed:.1} ns, {plain:.1} ns"),
        &format!("{multiple:.2}x"),
        Some(multiple <= 3.0),
        "3x",
    )
}

fn grants(medians: &Medians) -> String {
    let of = |name: &str| medians.get(name).copied().unwrap_or(f64::NAN);
    let (differ, shared) = (of("walked_first_levels_differ/50"), of("walked_first_levels_shared/50"));
    row(
        "50 grants walked, the last one decides: first levels differ, are shared; remembered",
        &format!("{differ:.1} ns, {shared:.1} ns; {:.1} ns", of("remembered")),
        &format!("{:.1} ns", differ.max(shared)),
        Some(differ.max(shared) < 100.0),
        "100 ns",
    )
}

/// What divan prints: a tree of names, then fastest, slowest, median, …
fn medians_of(said: &str) -> Medians {
    let mut medians = Medians::new();
    let mut above = String::new();
    for line in said.lines() {
        let Some(at) = line.find(['├', '╰']) else { continue };
        let mut columns = line.split('│').collect::<Vec<_>>();
        // Below a name that has arguments, the tree's own line is a column.
        let is_argument = line.starts_with('│') || line.starts_with("   ");
        if line.starts_with('│') {
            columns.remove(0);
        }
        let rest = line[at..].trim_start_matches(['├', '╰', '─', ' ']);
        let name = rest.split_whitespace().next().unwrap_or_default();
        let median = columns.get(2).and_then(|column| nanoseconds(column));
        match (is_argument, median) {
            (true, Some(median)) => medians.insert(format!("{above}/{name}"), median),
            (false, Some(median)) => medians.insert(name.to_owned(), median),
            (_, None) => {
                name.clone_into(&mut above);
                None
            }
        };
    }
    medians
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let in_ns = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * in_ns)
}

struct Place<'a> {
    release: &'a Path,
    directory: &'a Path,
    admit: PathBuf,
}

/// What collects the events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Collector {
    None,
    KeepsUp,
    Hangs,
}

impl Place<'_> {
    fn events_file(&self) -> PathBuf {
        self.directory.join("events.json")
    }

    fn start(&self, collector: Collector) -> Node {
        let _ = fs::remove_dir_all(self.directory);
        fs::create_dir_all(self.directory).expect("a directory");
        let library = |name: &str| self.release.join(format!("lib{name}.so"));
        // The one that hangs can authenticate as well, and must be in the chain; all are admitted before it is asked.
        let chain = if collector == Collector::Hangs { &["admit", "events"][..] } else { &["admit"] };
        let collector = match collector {
            Collector::None => String::new(),
            Collector::KeepsUp => format!(
                "[plugins.events]\nlibrary = {:?}\nconfig.file = {:?}\nconfig.rotate_bytes = 0\n",
                library("events_json"),
                self.events_file()
            ),
            Collector::Hangs => {
                format!("[plugins.events]\nlibrary = {:?}\nconfig.collect = \"hang\"\n", library("test_faults"))
            }
        };
        let text = format!(
            r##"workers = 1
[auth]
chain = {chain:?}
[listeners.plain]
kind = "mqtt"
bind = "127.0.0.1:0"
{NO_LIMITS}[plugins.admit]
library = {admit:?}
address_calls_max = 0
config.tenant = "bench"
config.rules = [ {{ allow = ["all"], filter = "own/#" }} ]
{collector}"##,
            admit = self.admit
        );
        Node::start(&self.release.join("gatemq"), self.directory, &text)
    }

    /// How often the plugin that admits was called.
    fn calls(&self, node: &Node) -> u64 {
        let mut gatemq = Command::new(self.release.join("gatemq"));
        let output = gatemq.args(["plugin", "list", "--json", "--config"]).arg(&node.config).output();
        let output = output.expect("the list of plugins");
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        let plugins: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said()));
        let plugin = plugins.as_array().and_then(|all| all.iter().find(|plugin| plugin["name"] == "admit"));
        plugin.and_then(|plugin| plugin["calls"].as_u64()).unwrap_or_else(|| panic!("calls of a plugin in {plugins}"))
    }
}

/// Counted, not timed.
fn calls(place: &Place<'_>) -> String {
    let node = place.start(Collector::None);
    let before = place.calls(&node);
    flood::publish_allowed(node.address, ALLOWED);
    let more = place.calls(&node) - before;
    row(
        &format!("calls of the plugin for one CONNECT and {ALLOWED} PUBLISH that grants decide"),
        &format!("{more}"),
        &format!("{} for PUBLISH", more.saturating_sub(1)),
        Some(more == 1),
        "0",
    )
}

/// What events cost publishers, and whether they arrive.
struct Floods {
    rounds: Vec<[Published; 3]>,
    /// Without publishers beside: what was caused and what arrived, was counted together, and was lost.
    caused: Flooded,
    arrived: Arrived,
}

/// Of publishers beside a flood.
struct Published {
    per_s: f64,
    /// The broker's CPU time for each message, in nanoseconds; the flood's is in it.
    cpu_ns: f64,
}

#[derive(Default)]
struct Arrived {
    events: u64,
    coalesced: u64,
    lost: u64,
}

impl Arrived {
    fn all(&self) -> u64 {
        self.events + self.coalesced + self.lost
    }

    fn read(file: &Path) -> Arrived {
        let mut arrived = Arrived::default();
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            let count = || {
                let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                event["fields"]["count"].as_u64().unwrap_or(0)
            };
            if line.contains("\"event\":\"PublishDenied\"") {
                arrived.events += 1;
            } else if line.contains("\"event\":\"EventsCoalesced\"") {
                arrived.coalesced += count();
            } else if line.contains("\"event\":\"EventsLost\"") {
                arrived.lost += count();
            }
        }
        arrived
    }
}

impl Floods {
    fn measure(place: &Place<'_>) -> Floods {
        let node = place.start(Collector::KeepsUp);
        let caused = flood::run(node.address, LASTS, false);
        // Events wait for a batch, and what was counted for its second to end.
        let mut arrived = Arrived::default();
        wait_for("the events", Duration::from_secs(30), || {
            arrived = Arrived::read(&place.events_file());
            (arrived.all() >= caused.caused).then_some(())
        });
        drop(node);
        let round = |_| {
            [Collector::None, Collector::KeepsUp, Collector::Hangs].map(|collector| {
                let node = place.start(collector);
                let before = node.cpu_ticks();
                let flooded = flood::run(node.address, LASTS, true);
                let cpu_ns = (node.cpu_ticks() - before) as f64 * 1e7;
                let messages = flooded.published_per_s * flooded.caused as f64 / flooded.caused_per_s;
                Published { per_s: flooded.published_per_s, cpu_ns: cpu_ns / messages }
            })
        };
        Floods { rounds: (0..ROUNDS).map(round).collect(), caused, arrived }
    }

    fn rows(&self) -> Vec<String> {
        let Flooded { caused, caused_per_s, .. } = self.caused;
        let Arrived { events, coalesced, lost } = self.arrived;
        // A burst may be a little late.
        let offered = caused_per_s > 0.99 * EVENTS_PER_S as f64;
        let mut rows = vec![row(
            "security events into `events-json`, rings of the default size: lost",
            &format!("{caused} caused, {caused_per_s:.0}/s; {events} arrived, {coalesced} in counts"),
            &format!("{lost}"),
            Some(lost == 0 && offered && events + coalesced == caused),
            &format!("0 at {EVENTS_PER_S}/s"),
        )];
        let rate = |which: usize| middle(&self.sorted(|round| round[which].per_s));
        let cpu = |which: usize| middle(&self.sorted(|round| round[which].cpu_ns));
        let goal = "publishers are not slowed: 1.05x";
        for (what, which, beside, of) in [
            ("that hangs, beside none at all", 2, 0, goal),
            ("that hangs, beside one that keeps up", 2, 1, ""),
            ("that keeps up, beside none at all", 1, 0, ""),
        ] {
            let multiples = self.sorted(|round| round[which].cpu_ns / round[beside].cpu_ns);
            let (is, most) = (middle(&multiples), multiples.last().copied().unwrap_or(f64::NAN));
            let least = multiples.first().copied().unwrap_or(f64::NAN);
            rows.push(row(
                &format!("the broker's CPU time for a message of publishers under that flood, with a collector {what}"),
                &format!("{:.0} ns, {:.0} ns ({:.0}/s, {:.0}/s)", cpu(which), cpu(beside), rate(which), rate(beside)),
                &format!("{is:.2}x ({least:.2}–{most:.2})"),
                (!of.is_empty()).then_some(is <= 1.05),
                of,
            ));
        }
        rows
    }

    fn sorted(&self, of: impl Fn(&[Published; 3]) -> f64) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    }
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reading of what the benchmarks print.
    #[test]
    fn medians_are_read() {
        let said = "grants                           fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ remembered                    6.5 ns        │ 12.1 ns       │ 7.25 ns       │ 7.1 ns        │ 100     │ 409600
├─ walked_first_levels_differ                  │               │               │               │         │
│  ╰─ 50                         31.2 ns       │ 93.5 ns       │ 32.1 ns       │ 33.1 ns       │ 100     │ 102400
╰─ walked_first_levels_shared                  │               │               │               │         │
   ╰─ 50                         1.012 µs      │ 2.205 µs      │ 1.5 µs        │ 1.129 µs      │ 100     │ 25600
";
        let medians: Vec<_> = medians_of(said).into_iter().collect();
        let expected =
            [("remembered", 7.25), ("walked_first_levels_differ/50", 32.1), ("walked_first_levels_shared/50", 1500.0)];
        assert_eq!(medians, expected.map(|(name, median)| (name.to_owned(), median)));
    }
}
