//! Medians of all peers as a markdown table.

use std::fmt::Write as _;

use serde_json::Value;

use super::goal::{MOSQUITTO, RELAY};
use super::work::Work;

/// Peers that the others are compared with, where they take part.
const BASES: [&str; 2] = [RELAY, MOSQUITTO];

/// The numbers of one run.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) peer: String,
    pub(super) work: &'static str,
    pub(super) round: u32,
    /// CPU microseconds for one unit.
    pub(super) cpu: Option<f64>,
    pub(super) per_s: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) bytes: Option<f64>,
    pub(super) lost: f64,
    /// Cores that others than peer and generator kept busy meanwhile.
    pub(super) others: f64,
    /// Why the run failed.
    pub(super) error: Option<String>,
}

impl Sample {
    /// From the generator's JSON line.
    pub(super) fn new(peer: &str, work: &Work, round: u32, result: &Value) -> Sample {
        let number = |name: &str| result.get(name).and_then(Value::as_f64);
        let latency = |name: &str| result.get("latency_us").and_then(|l| l.get(name)).and_then(Value::as_f64);
        let per_s = number(work.rate);
        Sample {
            peer: peer.into(),
            work: work.name,
            round,
            // Where nothing was done, the CPU time for one is no number.
            cpu: work.cpu.iter().map(|name| number(name)).sum::<Option<f64>>().filter(|_| per_s != Some(0.0)),
            per_s,
            p50_us: latency("p50"),
            p99_us: latency("p99"),
            bytes: work.bytes.and_then(|(name, _)| number(name)),
            lost: number("lost").or(number("errors")).unwrap_or(0.0),
            others: number("others_load").unwrap_or(0.0),
            error: result.get("error").map(|e| e.as_str().unwrap_or("no words").to_owned()),
        }
    }
}

/// A row for each scenario and peer. Ratios are medians of those within a round, so that drift between rounds cancels.
pub(super) fn markdown(peers: &[&str], works: &[&'static Work], samples: &[Sample]) -> String {
    let bases: Vec<&str> = BASES.into_iter().filter(|b| peers.contains(b)).collect();
    let mut t = String::from("| scenario | peer | CPU µs |");
    for b in &bases {
        let _ = write!(t, " × {b} |");
    }
    t.push_str(" of one | per s | p50 µs | p99 µs | bytes | note |\n|---|---|--:|");
    t.push_str(&"--:|".repeat(bases.len()));
    t.push_str("---|--:|--:|--:|--:|---|\n");
    for work in works {
        for peer in peers {
            let mine: Vec<&Sample> = samples.iter().filter(|s| s.work == work.name && s.peer == *peer).collect();
            if mine.is_empty() {
                continue;
            }
            let cell = |f: fn(&Sample) -> Option<f64>| show(median(mine.iter().filter_map(|s| f(s)).collect()));
            let _ = write!(t, "| {} | {peer} | {} |", work.name, cell(|s| s.cpu));
            for base in &bases {
                let ratios = mine.iter().filter_map(|s| ratio(s, base, samples)).collect();
                let _ = write!(t, " {} |", if base == peer { "".into() } else { show(median(ratios)) });
            }
            let bytes = match (work.bytes, cell(|s| s.bytes)) {
                (Some((_, of)), n) if n != NONE => format!("{n} a {of}"),
                (_, n) => n,
            };
            let (rate, p50, p99) = (cell(|s| s.per_s), cell(|s| s.p50_us), cell(|s| s.p99_us));
            let _ = writeln!(t, " {} | {rate} | {p50} | {p99} | {bytes} | {} |", work.unit, note(&mine));
        }
    }
    t
}

/// This run's CPU in multiples of the base's in the same round.
fn ratio(s: &Sample, base: &str, samples: &[Sample]) -> Option<f64> {
    let b = samples.iter().find(|b| b.peer == base && b.work == s.work && b.round == s.round)?;
    let base = b.cpu.filter(|x| *x > 0.0)?;
    s.cpu.map(|x| x / base)
}

fn note(mine: &[&Sample]) -> String {
    let failed = mine.iter().filter(|s| s.error.is_some()).count();
    let lost: f64 = mine.iter().map(|s| s.lost).sum();
    match (failed, lost > 0.0) {
        (0, false) => String::new(),
        (0, true) => format!("{lost} lost"),
        (n, _) => format!("{n} of {} failed", mine.len()),
    }
}

/// The middle one, or the mean of the two in the middle; NaN is left out.
pub(super) fn median(mut all: Vec<f64>) -> Option<f64> {
    all.retain(|x| x.is_finite());
    all.sort_by(f64::total_cmp);
    let n = all.len();
    let middle = all.get(n.saturating_sub(1) / 2..n / 2 + 1).filter(|m| !m.is_empty())?;
    Some(middle.iter().sum::<f64>() / middle.len() as f64)
}

pub(super) const NONE: &str = "–";

/// About three digits.
pub(super) fn show(x: Option<f64>) -> String {
    match x {
        None => NONE.into(),
        Some(x) if x.abs() >= 100.0 => grouped(x),
        Some(x) if x.abs() >= 10.0 => format!("{x:.1}"),
        Some(x) => format!("{x:.2}"),
    }
}

/// A whole number with commas.
pub(super) fn grouped(x: f64) -> String {
    let digits = format!("{:.0}", x.abs());
    let mut s = String::from(if x < 0.0 { "-" } else { "" });
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            s.push(',');
        }
        s.push(c);
    }
    s
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::work::ALL;
    use super::*;

    /// Middle of odd and even numbers of values, and nothing of nothing.
    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![1.0, 4.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![f64::NAN, 5.0]), Some(5.0));
        assert_eq!(median(vec![]), None);
    }

    /// Numbers are shown to about three digits.
    #[test]
    fn numbers_are_short() {
        let all = [Some(0.774), Some(12.44), Some(1_234_567.8), Some(-999.6), Some(100.0), None].map(show);
        assert_eq!(all, ["0.77", "12.4", "1,234,568", "-1,000", "100", "–"]);
    }

    /// A peer that delivered nothing is not shown as the cheapest.
    #[test]
    fn nothing_done_costs_nothing_shown() {
        let work = ALL.iter().find(|w| w.name == "retained").unwrap();
        let result = |n: f64| json!({"broker_cpu_s_per_1m": 0.0, "delivered_per_s": n, "lost": 10_000});
        assert_eq!(Sample::new("b", work, 0, &result(0.0)).cpu, None);
        assert_eq!(Sample::new("b", work, 0, &result(1.0)).cpu, Some(0.0));
    }

    /// The ratio compares within a round: a machine twice as slow in the second round changes nothing. A failed run is
    /// told and leaves the others' medians alone.
    #[test]
    fn drift_cancels_and_failure_is_told() {
        let work = ALL.iter().find(|w| w.name == "pairs").unwrap();
        let result = |cpu: f64| {
            json!({"broker_cpu_s_per_1m": cpu, "delivered_per_s": 5e5, "lost": 0,
            "latency_us": {"p50": 10, "p99": 20}})
        };
        let mut samples = Vec::new();
        for (round, slow) in [(0, 1.0), (1, 2.0), (2, 4.0)] {
            samples.push(Sample::new("relay", work, round, &result(slow)));
            samples.push(Sample::new("b", work, round, &result(slow * 1.25)));
        }
        samples.push(Sample::new("b", work, 3, &json!({"error": "gone"})));
        let table = markdown(&["relay", "b", "c"], &[work], &samples);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "| pairs | relay | 2.00 |  | delivery | 500,000 | 10.0 | 20.0 | – |  |");
        assert_eq!(lines[3], "| pairs | b | 2.50 | 1.25 | delivery | 500,000 | 10.0 | 20.0 | – | 1 of 4 failed |");
        assert_eq!(lines.len(), 4);
    }
}
