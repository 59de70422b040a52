//! The goals of the design, section 12, and the table that holds what was measured against them.

use std::fmt::Write as _;

use super::table::{NONE, Sample, grouped, median, show};
use super::work::Work;

/// A scenario may cost so much more than its goal.
const GOAL_SLACK: f64 = 1.5;
/// A scenario may cost so much more than at first light.
const FIRST_LIGHT_SLACK: f64 = 1.1;
/// Characters of a peer's complaint that a note shows.
const COMPLAINT_MAX: usize = 200;
/// Part of a core that others may use before a note says so.
const OTHERS_MAX: f64 = 0.1;

/// The peers of the table's columns: who is measured, and whom by.
pub(super) const RELAY: &str = "relay";
pub(super) const MOSQUITTO: &str = "mosquitto";
pub(super) const GATEMQ: &str = "gatemq";
pub(super) const TWO_WORKERS: &str = "gatemq-2-workers";

/// What of a run counts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Measure {
    /// CPU microseconds for one unit.
    Cpu,
    /// Bytes of memory for one.
    Bytes,
}

/// What the number is a multiple of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Against {
    Relay,
    Mosquitto,
    /// Two workers of GateMQ, of one.
    OneWorker,
    /// The number itself counts.
    Nothing,
}

/// What GateMQ is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) measure: Measure,
    pub(super) against: Against,
    /// None: it is measured, but the design names no goal.
    pub(super) at_most: Option<f64>,
    /// The multiple at first light, where it was measured.
    pub(super) first_light: Option<f64>,
}

impl Measure {
    fn of(self, s: &Sample) -> Option<f64> {
        match self {
            Measure::Cpu => s.cpu,
            Measure::Bytes => s.bytes,
        }
    }
}

impl Against {
    /// Who is measured, and the peer that it is compared with.
    fn peers(self) -> (&'static str, Option<&'static str>) {
        match self {
            Against::Relay => (GATEMQ, Some(RELAY)),
            Against::Mosquitto => (GATEMQ, Some(MOSQUITTO)),
            Against::OneWorker => (TWO_WORKERS, Some(GATEMQ)),
            Against::Nothing => (GATEMQ, None),
        }
    }
}

/// Whether a goal of this work is a multiple of mosquitto.
pub(super) fn compares_with_mosquitto(work: &str) -> bool {
    let goals = super::work::ALL.iter().filter(|w| w.name == work).flat_map(|w| w.goals);
    goals.into_iter().any(|goal| goal.against == Against::Mosquitto)
}

/// The middle of some values and how far they go.
#[derive(Clone, Copy)]
struct Spread {
    lowest: f64,
    middle: f64,
    highest: f64,
}

impl Spread {
    fn new(all: &[f64]) -> Option<Spread> {
        let middle = median(all.to_vec())?;
        let ends = |f: fn(f64, f64) -> f64| all.iter().copied().reduce(f).unwrap_or(middle);
        Some(Spread { lowest: ends(f64::min), middle, highest: ends(f64::max) })
    }
}

/// How many goals are met, of how many.
#[derive(Default)]
struct Tally {
    met: usize,
    of: usize,
}

impl Tally {
    /// `spread` within `limit`, in a word. A run that failed or lost messages meets nothing.
    fn verdict(&mut self, spread: Option<Spread>, limit: Option<f64>, sound: bool) -> &'static str {
        let Some(limit) = limit else { return NONE };
        self.of += 1;
        match spread {
            Some(s) if s.middle <= limit && sound => {
                self.met += 1;
                "yes"
            }
            Some(_) => "**no**",
            None => "**not measured**",
        }
    }
}

const HEAD: &str = "| scenario | relay | mosquitto | gatemq | of one | measured | lowest–highest | goal \
    | within 1.5x of goal | first light | no more than 10 % worse | note |\n\
    |---|--:|--:|--:|---|--:|--:|--:|---|--:|---|---|\n";

/// A row for each goal of `works` that was measured, and a line that sums up.
pub(super) fn markdown(works: &[&'static Work], samples: &[Sample]) -> String {
    let (mut t, mut goals, mut first_light) = (String::from(HEAD), Tally::default(), Tally::default());
    for work in works {
        let runs: Vec<&Sample> = samples.iter().filter(|s| s.work == work.name).collect();
        if runs.is_empty() {
            continue;
        }
        for goal in work.goals {
            row(&mut t, work, goal, &runs, &mut goals, &mut first_light);
        }
    }
    let _ = write!(
        t,
        "\nWithin 1.5x of its goal: {} of {}. No more than 10 % worse than at first light: {} of {}.\n",
        goals.met, goals.of, first_light.met, first_light.of
    );
    t
}

fn row(t: &mut String, work: &Work, goal: &Goal, runs: &[&Sample], goals: &mut Tally, first_light: &mut Tally) {
    let (measured, base) = goal.against.peers();
    let values: Vec<f64> = match base {
        None => runs.iter().filter(|s| s.peer == measured).filter_map(|s| goal.measure.of(s)).collect(),
        Some(base) => multiples(goal.measure, measured, base, runs),
    };
    let spread = Spread::new(&values);
    let sound = runs.iter().filter(|s| s.peer == measured).all(|s| s.error.is_none() && s.lost == 0.0);
    let in_goal = goals.verdict(spread, goal.at_most.map(|g| g * GOAL_SLACK), sound);
    let no_worse = first_light.verdict(spread, goal.first_light.map(|f| f * FIRST_LIGHT_SLACK), sound);
    let cell = |peer: &str| {
        let own = runs.iter().filter(|s| s.peer == peer).filter_map(|s| goal.measure.of(s));
        show(median(own.collect()))
    };
    let gatemq = match goal.against {
        Against::OneWorker => format!("{} (one worker: {})", cell(TWO_WORKERS), cell(GATEMQ)),
        _ => cell(GATEMQ),
    };
    let number = |x: f64| amount(x, goal.against);
    let (name, of) = match (goal.measure, work.bytes) {
        (Measure::Bytes, Some((_, of))) => (format!("{}, memory", work.name), format!("{of}, bytes")),
        _ => (work.name.to_owned(), format!("{}, µs", work.unit)),
    };
    let _ = writeln!(
        t,
        "| {name} | {} | {} | {gatemq} | {of} | {} | {} | {} | {in_goal} | {} | {no_worse} | {} |",
        cell(RELAY),
        cell(MOSQUITTO),
        spread.map_or(NONE.into(), |s| number(s.middle) + goal.against.unit()),
        spread.map_or(NONE.into(), |s| format!("{}–{}", number(s.lowest), number(s.highest))),
        goal.at_most.map_or("none".into(), |g| format!("≤ {}{}", number(g), goal.against.unit())),
        goal.first_light.map_or(NONE.into(), number),
        notes(runs),
    );
}

impl Against {
    fn unit(self) -> &'static str {
        match self {
            Against::Relay => " × relay",
            Against::Mosquitto => " × mosquitto",
            Against::OneWorker => " × one worker",
            Against::Nothing => "",
        }
    }
}

/// What `measured` needs in multiples of what `base` needs, within each round: a machine that drifts hits both.
fn multiples(measure: Measure, measured: &str, base: &str, runs: &[&Sample]) -> Vec<f64> {
    let of = |peer: &str, round: u32| {
        let run = runs.iter().find(|s| s.peer == peer && s.round == round)?;
        measure.of(run).filter(|x| *x > 0.0)
    };
    let mine = runs.iter().filter(|s| s.peer == measured);
    mine.filter_map(|s| Some(measure.of(s)? / of(base, s.round)?)).collect()
}

/// A multiple, or bytes.
fn amount(x: f64, against: Against) -> String {
    match against {
        Against::Nothing => grouped(x),
        _ if x < 0.2 => format!("{x:.3}"),
        _ => format!("{x:.2}"),
    }
}

/// What went wrong, by peer, with the first complaint.
fn notes(runs: &[&Sample]) -> String {
    let mut peers: Vec<&str> = runs.iter().map(|s| s.peer.as_str()).collect();
    peers.sort_unstable();
    peers.dedup();
    let of = |peer: &&str| {
        let mine: Vec<&&Sample> = runs.iter().filter(|s| s.peer == *peer).collect();
        let (failed, lost) =
            (mine.iter().filter(|s| s.error.is_some()).count(), mine.iter().map(|s| s.lost).sum::<f64>());
        let complaint: String =
            mine.iter().find_map(|s| s.error.as_deref()).unwrap_or("").chars().take(COMPLAINT_MAX).collect();
        match (failed, lost > 0.0) {
            (0, false) => None,
            (0, true) => Some(format!("{peer}: {lost} lost")),
            (n, _) => Some(format!("{peer}: {n} of {} failed: {}", mine.len(), complaint.replace('|', "/"))),
        }
    };
    let mut notes: Vec<String> = peers.iter().filter_map(of).collect();
    // A run that failed was too short to say.
    let others = runs.iter().filter(|s| s.error.is_none()).map(|s| s.others).fold(0.0, f64::max);
    if others > OTHERS_MAX {
        notes.push(format!("not quiet: others used up to {:.0} % of a core", others * 100.0));
    }
    notes.join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::work::ALL;
    use super::*;

    fn work(name: &str) -> &'static Work {
        ALL.iter().find(|w| w.name == name).unwrap()
    }

    fn sample(peer: &str, work: &str, round: u32, result: &Value) -> Sample {
        Sample::new(peer, ALL.iter().find(|w| w.name == work).unwrap(), round, result)
    }

    fn cpu(us: f64) -> Value {
        json!({"broker_cpu_s_per_1m": us, "delivered_per_s": 5e5, "connects_per_s": 1e3, "rss_bytes_per_filter": 78})
    }

    /// Row of `name`, without its note.
    fn cells(table: &str, name: &str) -> Vec<String> {
        let row = table.lines().find(|l| l.starts_with(&format!("| {name} |"))).unwrap();
        row.split('|').map(|c| c.trim().to_owned()).collect()
    }

    /// The multiple is compared within a round, so a machine twice as slow in the second round changes nothing; both
    /// verdicts follow it.
    #[test]
    fn verdicts_follow_the_multiple() {
        for (times, in_goal, no_worse) in [(1.25, "yes", "yes"), (1.5, "yes", "**no**"), (1.9, "**no**", "**no**")] {
            let mut samples = Vec::new();
            for (round, slow) in [(0, 1.0), (1, 2.0), (2, 4.0)] {
                samples.push(sample("relay", "pairs", round, &cpu(slow)));
                samples.push(sample("gatemq", "pairs", round, &cpu(slow * times)));
            }
            let row = cells(&markdown(&[work("pairs")], &samples), "pairs");
            assert_eq!(row[6], format!("{times:.2} × relay"));
            assert_eq!((row[9].as_str(), row[11].as_str()), (in_goal, no_worse), "{row:?}");
        }
    }

    /// What was not measured, or failed, or lost messages is never within its goal, and says so; a peer that is absent is
    /// not taken for a fast one.
    #[test]
    fn nothing_is_met_by_silence() {
        let gatemq = sample("gatemq", "pairs-qos2", 0, &cpu(0.001));
        let table = markdown(&[work("pairs-qos2")], std::slice::from_ref(&gatemq));
        assert_eq!(cells(&table, "pairs-qos2")[9], "**not measured**");
        let mosquitto = sample("mosquitto", "pairs-qos2", 0, &cpu(10.0));
        let table = markdown(&[work("pairs-qos2")], &[gatemq.clone(), mosquitto.clone()]);
        assert_eq!(cells(&table, "pairs-qos2")[9], "yes");
        let failed = sample("gatemq", "pairs-qos2", 1, &json!({"error": "port | in use"}));
        let table = markdown(&[work("pairs-qos2")], &[gatemq, mosquitto.clone(), failed]);
        let row = cells(&table, "pairs-qos2");
        assert_eq!((row[9].as_str(), row[12].as_str()), ("**no**", "gatemq: 1 of 2 failed: port / in use"));
        let mut busy = cpu(0.001);
        busy["others_load"] = json!(0.4);
        let table = markdown(&[work("pairs-qos2")], &[sample("gatemq", "pairs-qos2", 0, &busy)]);
        assert_eq!(cells(&table, "pairs-qos2")[12], "not quiet: others used up to 40 % of a core");
        let mut lost = cpu(0.001);
        lost["lost"] = json!(3);
        let table = markdown(&[work("pairs-qos2")], &[sample("gatemq", "pairs-qos2", 0, &lost), mosquitto]);
        assert_eq!(cells(&table, "pairs-qos2")[9], "**no**");
        assert!(table.contains("Within 1.5x of its goal: 0 of 1."), "{table}");
    }

    /// Memory is a row of its own; two workers are compared with one; a scenario without a goal has no verdict.
    #[test]
    fn each_goal_has_its_row() {
        let samples = [
            sample("gatemq", "wildcard", 0, &cpu(4.0)),
            sample("mosquitto", "wildcard", 0, &cpu(16.0)),
            sample("gatemq", "workers2", 0, &cpu(1.0)),
            sample("gatemq-2-workers", "workers2", 0, &cpu(1.4)),
            sample("gatemq", "pairs-ws", 0, &cpu(1.5)),
            sample("relay", "pairs-ws", 0, &cpu(1.0)),
        ];
        let table = markdown(&ALL.iter().collect::<Vec<_>>(), &samples);
        assert_eq!(cells(&table, "wildcard")[6], "0.25 × mosquitto");
        let memory = cells(&table, "wildcard, memory");
        assert_eq!((memory[4].as_str(), memory[6].as_str(), memory[9].as_str()), ("78.0", "78", "yes"));
        let workers = cells(&table, "workers2");
        assert_eq!((workers[4].as_str(), workers[6].as_str()), ("1.40 (one worker: 1.00)", "1.40 × one worker"));
        let ws = cells(&table, "pairs-ws");
        assert_eq!((ws[6].as_str(), ws[8].as_str(), ws[9].as_str()), ("1.50 × relay", "none", "–"));
    }
}
