//! The configuration.

use gatemq_plugin_api::serde::Deserialize;
use gatemq_plugin_http::Server;

/// Most questions at a time, that wait, and answers that are kept.
const REQUESTS_MAX: usize = 1024;
const QUEUE_MAX: usize = 65_536;
const KEPT_MAX: usize = 1_000_000;

/// See `README.md`.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
pub(crate) struct Config {
    pub(crate) server: Server,
    /// Tenant of identities that name none.
    pub(crate) tenant: Option<String>,
    #[serde(default = "default_requests_max")]
    pub(crate) requests_max: usize,
    #[serde(default = "default_queue_max")]
    pub(crate) queue_max: usize,
    #[serde(default = "default_kept_max")]
    pub(crate) kept_max: usize,
}

fn default_requests_max() -> usize {
    64
}

fn default_queue_max() -> usize {
    512
}

fn default_kept_max() -> usize {
    10_000
}

impl Config {
    /// Every problem with a value. Files are not looked at.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.tenant.as_deref() == Some("") {
            problems.push("tenant: is empty".into());
        }
        for (key, value, range) in [
            ("requests_max", self.requests_max, 1..=REQUESTS_MAX),
            ("queue_max", self.queue_max, 0..=QUEUE_MAX),
            ("kept_max", self.kept_max, 0..=KEPT_MAX),
        ] {
            if !range.contains(&value) {
                problems.push(format!("{key}: is {value}; wanted {} to {}", range.start(), range.end()));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards that a value without sense is named, and that its twin is taken.
    #[test]
    fn values_without_sense_are_named() {
        let config = |key: &str, value: serde_json::Value| {
            serde_json::from_value::<Config>(json!({"server": {"url": "https://x/"}, key: value})).unwrap()
        };
        for (key, wrong, right) in [
            ("tenant", json!(""), json!("t")),
            ("requests_max", json!(0), json!(1)),
            ("requests_max", json!(1025), json!(1024)),
            ("queue_max", json!(65_537), json!(0)),
            ("kept_max", json!(1_000_001), json!(0)),
        ] {
            let [problem] = &config(key, wrong).problems()[..] else { panic!("{key}") };
            assert!(problem.starts_with(key), "{problem}");
            assert_eq!(config(key, right).problems(), [""; 0]);
        }
    }

    /// Guards that the example of `README.md` works as it stands, and that the table there names each key.
    #[test]
    fn the_example_works() {
        let readme = include_str!("../README.md");
        let (_, example) = readme.split_once("```toml\n").unwrap();
        let example: toml::Table = example.split_once("```").unwrap().0.parse().unwrap();
        let example = serde_json::to_value(&example["plugins"]["web"]["config"]).unwrap();
        let config: Config = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(config.problems(), [""; 0]);
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let named: Vec<&str> = rows.map(|(key, _)| key).collect();
        let below = |table: &serde_json::Value, before: &str| {
            table.as_object().unwrap().keys().map(|key| format!("{before}{key}")).collect::<Vec<_>>()
        };
        let mut keys = below(&example, "");
        keys.retain(|key| key != "server");
        keys.extend(below(&example["server"], "server."));
        for key in &keys {
            assert!(named.contains(&key.as_str()), "{key} is not in the table");
        }
        for key in ["server.url", "server.private_key_file", "server.timeout_ms", "tenant", "kept_max"] {
            assert!(keys.iter().any(|known| known == key), "{key} is not in the example");
        }
    }
}
