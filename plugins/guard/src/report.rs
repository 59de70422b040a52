//! The report: whom it has denied or would deny, whose score is high, and why. One JSON document, replaced as a whole.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::breach::Breach;
use crate::config::Config;
use crate::score::{Ban, Entry, Scores};
use crate::subject::Subject;

/// Subjects in a report that are not denied, those with the highest scores.
const OFFENDERS_MAX: usize = 100;

/// What a report says.
pub(crate) fn render(scores: &Scores, config: &Config, now_ms: u64) -> Value {
    let (banned, mut others): (Vec<_>, Vec<_>) = scores.iter().partition(|(_, entry)| entry.is_banned(now_ms));
    let score = |entry: &Entry| entry.score(config.half_life_s, now_ms);
    others.sort_by(|(_, a), (_, b)| score(b).total_cmp(&score(a)));
    others.truncate(OFFENDERS_MAX);
    let row = |(subject, entry): &(&Subject, &Entry)| {
        let counted = Breach::ALL.iter().filter(|breach| entry.breaches[breach.index()] > 0);
        let breaches: Map<String, Value> =
            counted.map(|breach| (breach.name().to_owned(), entry.breaches[breach.index()].into())).collect();
        let until_ms = match entry.ban {
            Ban::Until(until_ms) => Some(until_ms).filter(|until_ms| now_ms < *until_ms),
            _ => None,
        };
        json!({
            "subject": subject.to_string(),
            "score": (score(entry) * 10.0).round() / 10.0,
            "threshold": config.threshold(subject.kind()),
            "breaches": breaches,
            "until_ms": until_ms,
        })
    };
    json!({
        "time_ms": now_ms,
        "dry_run": config.dry_run,
        "denied": banned.iter().map(row).collect::<Vec<_>>(),
        "offenders": others.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Replaces the file: a reader sees the old report or the new one.
///
/// # Errors
/// The file system's.
pub(crate) fn write(file: &Path, report: &Value) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{report:#}\n"))?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Limits;

    /// Guards the report: who is denied, who would be next, and why.
    #[test]
    fn a_report_says_whom_and_why() {
        let config = Config::default();
        let limits = Limits { half_life_s: config.half_life_s, subjects_max: 10 };
        let mut scores = Scores::default();
        let (bad, worse) = (Subject::Certificate([1; 32]), Subject::User("t".into(), "u\n".into()));
        scores.add(&bad, Breach::DeniedAction, (30, 1), limits, 1000);
        scores.add(&worse, Breach::ProtocolViolation, (60, 1), limits, 1000);
        scores.add(&worse, Breach::ProtocolViolation, (60, 1), limits, 1000).ban = Ban::Until(9000);
        let report = render(&scores, &config, 1000);
        assert_eq!(
            (report["denied"][0]["until_ms"].as_u64(), report["denied"][0]["score"].as_f64()),
            (Some(9000), Some(120.0))
        );
        assert_eq!(report["denied"][0]["breaches"]["protocol_violation"], 2);
        assert_eq!(report["denied"][0]["subject"], r#"user "t"/"u\n""#);
        assert_eq!(
            (&report["offenders"][0]["breaches"]["denied_action"], &report["offenders"][1]),
            (&1.into(), &Value::Null)
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report.json");
        write(&file, &report).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(read, report);
    }
}
