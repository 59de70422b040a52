//! Which keys a plugin's configuration has: asked of the author's own `Deserialize`, with inputs that are not there.
//!
//! A derived `Deserialize` says by which method of its deserializer it wants to be driven, and with which fields. [`Probe`] walks
//! to one key at a time, puts down what is asked for there, and breaks off: no value of the author's is ever made of it. Which keys
//! are needed comes from what is missed when only the needed ones are given ([`Given`]).

mod given;
mod probe;

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use given::Given;
use probe::{Probe, Shape};

/// Keys that are told at most, and how deep they may lie: types may hold themselves.
const KEYS_MAX: usize = 1_000;
const DEPTH_MAX: usize = 8;

/// One step from a configuration to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    /// A key of a table.
    Field(&'static str),
    /// Any element of a list.
    Element,
    /// Any value of a table whose keys are the operator's.
    Value,
}

/// A key, in the form in which the host is told.
#[derive(Serialize, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Where it lies: `server.url`; `rules[].user` is in each element of a list, `anchors.*` any key of a table.
    key: String,
    /// What it takes, in words.
    takes: String,
    /// Whether it must be given, where what it lies in is given.
    needed: bool,
}

/// Why the author's code broke off.
#[derive(Debug)]
enum Broken {
    /// This was missed.
    Missing(&'static str),
    /// Anything else.
    Off,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no configuration, only a look at what it would be")
    }
}

impl std::error::Error for Broken {}

impl serde::de::Error for Broken {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Broken::Off
    }

    fn missing_field(field: &'static str) -> Self {
        Broken::Missing(field)
    }
}

/// The keys of `C`, as JSON.
pub(crate) fn json<C: DeserializeOwned>() -> String {
    serde_json::to_string(&keys::<C>()).unwrap_or_default()
}

fn keys<C: DeserializeOwned>() -> Vec<Key> {
    let mut found = Vec::new();
    walk::<C>(&mut Vec::new(), &mut found);
    let needed = needed::<C>(&found);
    let keys = found.into_iter().map(|(path, takes)| {
        let key = path.iter().fold(String::new(), |key, step| match step {
            Step::Field(name) if key.is_empty() => (*name).to_owned(),
            Step::Field(name) => format!("{key}.{name}"),
            Step::Element => format!("{key}[]"),
            Step::Value => format!("{key}.*"),
        });
        Key { key, takes, needed: needed.contains(&path) }
    });
    keys.collect()
}

type Found = Vec<(Vec<Step>, String)>;

/// Puts down the key at `path` and those below it.
fn walk<C: DeserializeOwned>(path: &mut Vec<Step>, found: &mut Found) {
    if path.len() > DEPTH_MAX || found.len() >= KEYS_MAX {
        return;
    }
    let Some(shape) = Probe::ask::<C>(path) else { return };
    if let Some(Step::Field(_) | Step::Value) = path.last() {
        found.push((path.clone(), takes::<C>(path, &shape)));
    }
    let mut below = |step| {
        path.push(step);
        walk::<C>(path, found);
        path.pop();
    };
    match shape {
        Shape::Table(fields) => fields.iter().for_each(|field| below(Step::Field(field))),
        Shape::List => below(Step::Element),
        Shape::Map => below(Step::Value),
        _ => {}
    }
}

/// What the key at `path` takes.
fn takes<C: DeserializeOwned>(path: &[Step], shape: &Shape) -> String {
    match shape {
        Shape::List if path.len() <= DEPTH_MAX => {
            let element = Probe::ask::<C>(&[path, &[Step::Element]].concat());
            let of = element.map(|element| takes::<C>(&[path, &[Step::Element]].concat(), &element));
            of.map_or_else(|| "list".to_owned(), |of| format!("list of {of}"))
        }
        Shape::OneOf(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("one of {}", names.join(", "))
        }
        shape => shape.word().to_owned(),
    }
}

/// Which of them must be given.
fn needed<C: DeserializeOwned>(found: &Found) -> BTreeSet<Vec<Step>> {
    let mut needed = BTreeSet::new();
    let mut given = BTreeSet::new();
    Given::miss::<C>(&mut given, &mut needed);
    // What lies in something that may be left out is looked at as if that was given.
    for (path, _) in found {
        let mut with = given.clone();
        for end in 1..=path.len() {
            with.insert(path[..end].to_vec());
        }
        Given::miss::<C>(&mut with, &mut needed);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Config {
        tenant: String,
        file: Option<PathBuf>,
        #[serde(default)]
        retries: u32,
        server: Server,
        #[serde(default)]
        rules: Vec<Rule>,
        anchors: BTreeMap<String, PathBuf>,
        mode: Mode,
        networks: Vec<Network>,
        late: bool,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Server {
        url: String,
        #[serde(default)]
        share: f64,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Rule {
        #[serde(default)]
        user: String,
        filters: Vec<String>,
        inner: Option<Box<Rule>>,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    enum Mode {
        Fast,
        Slow,
    }

    /// Something that is written as a text and is picky about it.
    #[derive(serde::Deserialize)]
    #[serde(try_from = "String")]
    struct Network;

    impl TryFrom<String> for Network {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            if text == "10.0.0.0/8" { Ok(Network) } else { Err("no network".into()) }
        }
    }

    /// Guards what operators are shown of a configuration: every key at every depth, what it takes, and whether it is needed.
    #[test]
    fn keys_are_found_at_every_depth() {
        let keys = keys::<Config>();
        let of = |name: &str| keys.iter().find(|key| key.key == name).map(|key| (key.takes.as_str(), key.needed));
        for (name, takes, needed) in [
            ("tenant", "text", true),
            ("file", "text", false),
            ("retries", "integer", false),
            ("server", "table", true),
            ("server.url", "text", true),
            ("server.share", "number", false),
            ("rules", "list of table", false),
            ("rules[].user", "text", false),
            ("rules[].filters", "list of text", true),
            ("anchors", "table of any keys", true),
            ("anchors.*", "text", false),
            ("mode", "one of \"Fast\", \"Slow\"", true),
            ("networks", "list of text", true),
            ("late", "true or false", true),
        ] {
            assert_eq!(of(name), Some((takes, needed)), "{name}");
        }
        assert!(keys.len() < KEYS_MAX, "it ends where a type holds itself");
        assert_eq!(super::keys::<crate::prelude::NoConfig>(), []);
        assert_eq!(super::keys::<serde_json::Value>(), [], "whatever it likes");
    }
}
