//! Reads one value by the kind of its key. Each of them reports its own problem and goes on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::value::{Tag, Value};
use rustls_pki_types::ServerName;

use super::keys::{self, Kind, Place};
use super::layers::Raw;
use super::problem::{Problem, dotted};
use super::toml_layer;

/// Names of listeners and plugins have at most so many bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Reads values of `raw` and collects what is wrong with them.
pub(super) struct Values<'a> {
    pub(super) raw: &'a Raw,
    pub(super) problems: Vec<Problem>,
    /// A file could not be read: what is missing may be in it, so it is not complained of.
    pub(super) partial: bool,
}

impl Values<'_> {
    /// Adds a problem of the value at `path`.
    pub(super) fn refuse(&mut self, path: &[&str], message: impl Into<String>) {
        let tag = self.raw.get(path).filter(|value| value.as_dict().is_none()).map(Value::tag);
        self.problems.push(self.raw.problem(path, tag, message));
    }

    /// Walks everything that was merged: unknown keys, keys where tables belong, names that cannot be used.
    pub(super) fn walk(&mut self) {
        let raw = self.raw;
        self.walk_table(&raw.root, &mut Vec::new());
    }

    fn walk_table<'v>(&mut self, table: &'v Value, path: &mut Vec<&'v str>) {
        let Some(dict) = table.as_dict() else { return };
        let named = keys::names_below(path) == ["*"];
        let hosts = path.last() == Some(&"sni");
        for (name, value) in dict {
            path.push(name);
            match keys::place(path) {
                Place::Key(_) => {}
                // Who forgets the quotes of a host name writes tables in tables.
                Place::Unknown if path.len() == 6 && path[3] == "sni" && value.as_dict().is_some() => self.refuse(
                    path,
                    r#"is not a key; write a host name with dots in quotes, such as [listeners.x.tls.sni."a.example"]"#,
                ),
                Place::Unknown => {
                    let known = keys::names_below(&path[..path.len() - 1]).join(", ");
                    self.refuse(path, format!("is not a key; remove it or write one of: {known}"));
                }
                Place::Table if value.as_dict().is_none() => {
                    self.refuse(path, format!("must be a table, such as [{}]", dotted(path)));
                }
                Place::Table if hosts && !is_host_name(name) => self.refuse(
                    path,
                    "is no host name; write it in full and in lower case, such as [listeners.x.tls.sni.\"a.example\"]",
                ),
                Place::Table if named && !hosts && !is_name(name) => self.refuse(
                    path,
                    format!("is no usable name; take at most {NAME_BYTES_MAX} of a-z, 0-9, `-` and `_`, first a letter or digit"),
                ),
                Place::Table => self.walk_table(value, path),
            }
            path.pop();
        }
    }

    /// Text that is not empty, or one of the words of a choice.
    pub(super) fn text(&mut self, path: &[&str]) -> Option<String> {
        let value = self.raw.get(path)?;
        let Some(text) = value.as_str() else {
            self.refuse(path, "must be text in quotes");
            return None;
        };
        if text.trim().is_empty() {
            self.refuse(path, "is empty; write a value or remove the key");
            return None;
        }
        if let Kind::Choice(words) = kind(path)
            && !words.contains(&text)
        {
            self.refuse(path, format!("`{}` is none of: {}", text.escape_debug(), words.join(", ")));
            return None;
        }
        Some(text.to_owned())
    }

    /// true or false.
    pub(super) fn flag(&mut self, path: &[&str]) -> Option<bool> {
        let value = self.raw.get(path)?;
        let flag = match value {
            Value::Bool(_, flag) => Some(*flag),
            other => self.textual(other).and_then(|text| text.parse().ok()),
        };
        if flag.is_none() {
            self.refuse(path, "must be true or false, without quotes");
        }
        flag
    }

    /// A number within the bounds of its key.
    pub(super) fn number<N: TryFrom<u64>>(&mut self, path: &[&str]) -> Option<N> {
        let value = self.raw.get(path)?;
        let number = match value {
            Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128().and_then(|n| n.try_into().ok())),
            other => self.textual(other).and_then(|text| text.parse::<i128>().ok()),
        };
        let Kind::Number(min, max) = kind(path) else { return None };
        let Some(number) = number else {
            self.refuse(path, format!("must be a whole number from {min} to {max}, without quotes"));
            return None;
        };
        let fits = u64::try_from(number).ok().filter(|n| (min..=max).contains(n)).and_then(|n| N::try_from(n).ok());
        if fits.is_none() {
            self.refuse(path, format!("is {number}, must be from {min} to {max}"));
        }
        fits
    }

    /// A path; a relative one counts from its file's directory.
    pub(super) fn path(&mut self, path: &[&str]) -> Option<PathBuf> {
        let text = self.text(path)?;
        let origin = self.raw.get(path).map(|value| self.raw.origin(value.tag())).unwrap_or_default();
        let base = origin.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        Some(base.join(text))
    }

    /// An address with port.
    pub(super) fn address(&mut self, path: &[&str]) -> Option<SocketAddr> {
        let text = self.text(path)?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = "must be an IP address and a port, such as 0.0.0.0:1883 or [::]:1883";
            self.refuse(path, format!("is `{}`, {message}", text.escape_debug()));
        }
        address
    }

    /// A list of names, none twice. In the environment: `["a", "b"]`, or `a,b`.
    pub(super) fn names(&mut self, path: &[&str]) -> Option<Vec<String>> {
        let names = self.texts(path)?;
        for (at, name) in names.iter().enumerate() {
            if !is_name(name) {
                self.refuse(path, format!("`{}` is no name of a plugin", name.escape_debug()));
            }
            if names[..at].contains(name) {
                self.refuse(path, format!("`{}` is in it twice; remove one", name.escape_debug()));
            }
        }
        Some(names)
    }

    /// A list of texts. In the environment: `["a", "b"]`, or `a,b`.
    pub(super) fn texts(&mut self, path: &[&str]) -> Option<Vec<String>> {
        let value = self.raw.get(path)?;
        let names: Option<Vec<String>> = match (value, self.textual(value)) {
            (_, Some(text)) => match toml_layer::parse_value(text) {
                Some(Value::Array(_, items)) => texts(&items),
                _ => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
            },
            (Value::Array(_, items), None) => texts(items),
            _ => None,
        };
        let Some(names) = names else {
            self.refuse(path, r#"must be a list, such as ["a", "b"]"#);
            return None;
        };
        Some(names)
    }

    /// Any table, as a JSON object.
    pub(super) fn json(&mut self, path: &[&str]) -> Option<String> {
        let Some(value) = self.raw.get(path) else { return Some("{}".to_owned()) };
        if value.as_dict().is_none() {
            self.refuse(path, format!("must be a table, such as [{}]", path.join(".")));
            return None;
        }
        let json = serde_json::to_string(value);
        json.map_err(|e| self.refuse(path, format!("cannot be handed to the plugin as JSON: {e}"))).ok()
    }

    /// The text of a value whose layer has nothing but text.
    fn textual<'v>(&self, value: &'v Value) -> Option<&'v str> {
        let text = value.as_str()?;
        let tag: Tag = value.tag();
        self.raw.origin(tag).text.map(|_| text.trim())
    }
}

fn texts(items: &[Value]) -> Option<Vec<String>> {
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn kind(path: &[&str]) -> Kind {
    match keys::place(path) {
        Place::Key(key) => key.kind,
        Place::Table | Place::Unknown => Kind::Free,
    }
}

/// Whether `name` is a host name that clients can ask for: labels in lower case, no wildcard, no address.
pub(super) fn is_host_name(name: &str) -> bool {
    let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_)))
        && name.bytes().all(|b| b == b'.' || usable(b))
        && !name.ends_with('.')
}

/// Whether `name` can name a listener or plugin: environment variables and topics can carry it too.
pub(super) fn is_name(name: &str) -> bool {
    let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(usable)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}
