//! The file of all results: a JSON line for each run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::table::Sample;
use super::work::{ALL, Work};

/// Between the rounds of two files.
const ROUNDS_OF_A_FILE: u32 = 1000;

/// Appends a run.
pub(super) fn write(out: &mut File, peer: &str, work: &Work, round: u32, result: &Value) -> io::Result<()> {
    writeln!(out, "{}", json!({"peer": peer, "work": work.name, "round": round, "result": result}))
}

/// The runs of all files. Only runs of one file are compared with each other.
pub(super) fn read(files: &[PathBuf]) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (first_round, file) in (0..).step_by(ROUNDS_OF_A_FILE as usize).zip(files) {
        let wrong = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", file.display()));
        for line in fs::read_to_string(file).map_err(|e| wrong(&e))?.lines() {
            let line: Value = serde_json::from_str(line).map_err(|e| wrong(&e))?;
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
            let work = ALL.iter().find(|w| w.name == text("work")).ok_or_else(|| wrong(&"an unknown scenario"))?;
            let round = line.get("round").and_then(Value::as_u64).and_then(|r| u32::try_from(r).ok()).unwrap_or(0);
            let result = line.get("result").ok_or_else(|| wrong(&"a line without a result"))?;
            samples.push(Sample::new(text("peer"), work, first_round + round, result));
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written is read again, and rounds of two files are not taken for one.
    #[test]
    fn results_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["a", "b"].map(|name| dir.path().join(name)).into();
        for file in &files {
            let result = json!({"broker_cpu_s_per_1m": 2.5, "delivered_per_s": 10});
            write(&mut File::create(file).unwrap(), "relay", &ALL[0], 2, &result).unwrap();
        }
        let samples = read(&files).unwrap();
        let seen: Vec<_> = samples.iter().map(|s| (s.peer.as_str(), s.work, s.round, s.cpu)).collect();
        assert_eq!(seen, [("relay", ALL[0].name, 2, Some(2.5)), ("relay", ALL[0].name, 1002, Some(2.5))]);
        fs::write(&files[0], "{\"work\": \"pear\"}").unwrap();
        assert!(read(&files).is_err());
    }
}
