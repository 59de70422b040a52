//! The configuration in effect as TOML that loads to the same, with where each value came from. Secrets are left out.

use std::fmt::Write;

use figment::value::{Dict, Value};

use super::Config;
use super::check::checked;
use super::keys::{self, Kind, Place};
use super::layers::{Raw, Sources};
use super::problem::Problem;
use super::values::Values;

/// What is shown instead of a secret.
const HIDDEN: &str = "…";
/// A key with one of these in its name holds a secret, as far as anybody can tell.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "passphrase", "pwd", "secret", "token", "bearer", "key", "credential"];
/// A key that ends so says where something is.
const PLACE_ENDINGS: &[&str] = &["_file", "_path", "_dir", "_url"];

/// The configuration in effect. With `origin`, each line says where its value came from.
///
/// # Errors
/// All that is wrong with the configuration.
pub(crate) fn show(sources: &Sources, origin: bool) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    let raw = Raw::load(sources, &mut problems);
    let config = checked(&raw, problems)?;
    let mut values = Values { raw: &raw, problems: Vec::new(), partial: false };
    let tree = typed(&mut values, &raw.root, &mut Vec::new());
    let mut page = Page { sources, raw: &raw, origin, text: String::new() };
    page.table(&with_computed(tree, &config), &mut Vec::new(), false);
    Ok(page.text)
}

/// The values with the types of their keys: layers of text have text whatever it means. Paths no longer depend on the
/// file that they are in.
fn typed(values: &mut Values<'_>, value: &Value, path: &mut Vec<String>) -> Value {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let typed = match keys::place(&names) {
        Place::Key(key) => match key.kind {
            Kind::Number(..) => values.number::<u64>(&names).map(Value::from),
            Kind::Bool => values.flag(&names).map(Value::from),
            Kind::Names | Kind::Texts => values.texts(&names).map(Value::from),
            Kind::Path => values.path(&names).map(|file| {
                // Fails only without a current directory; then it is shown as it is.
                let file = std::path::absolute(&file).unwrap_or(file);
                Value::from(file.to_string_lossy().into_owned())
            }),
            Kind::Text | Kind::Choice(_) | Kind::Address | Kind::Free => None,
        },
        Place::Table | Place::Unknown => value.as_dict().map(|dict| {
            let mut below = Dict::new();
            for (name, value) in dict {
                path.push(name.clone());
                below.insert(name.clone(), typed(values, value, path));
                path.pop();
            }
            Value::from(below)
        }),
    };
    typed.unwrap_or_else(|| value.clone())
}

/// With the defaults that are computed, and so in no layer.
fn with_computed(mut tree: Value, config: &Config) -> Value {
    let mut add = |path: &[&str], value: Value| {
        let mut at = &mut tree;
        for name in path {
            let Value::Dict(_, dict) = at else { return };
            at = dict.entry((*name).to_owned()).or_insert_with(|| Value::from(Dict::new()));
        }
        // What is there was written by somebody.
        if at.as_dict().is_some_and(Dict::is_empty) {
            *at = value;
        }
    };
    add(&["node", "name"], config.node.name.clone().into());
    add(&["node", "workers"], config.node.workers.into());
    for (name, listener) in &config.listeners {
        if let Some(tls) = &listener.tls {
            add(&["listeners", name, "tls", "resumption"], tls.resumption.into());
        }
        if let Some(web_socket) = &listener.web_socket {
            add(&["listeners", name, "websocket", "path"], web_socket.path.clone().into());
        }
    }
    tree
}

struct Page<'a> {
    sources: &'a Sources,
    raw: &'a Raw,
    origin: bool,
    text: String,
}

impl Page<'_> {
    /// Values of the table at `path` first, then the tables in it: so TOML wants it. `hidden`: a secret is around it.
    fn table(&mut self, table: &Value, path: &mut Vec<String>, hidden: bool) {
        let Some(dict) = table.as_dict() else { return };
        let names = in_order(dict, path);
        let (tables, leaves): (Vec<_>, Vec<_>) = names.into_iter().partition(|(_, value)| value.as_dict().is_some());
        if !path.is_empty() && (!leaves.is_empty() || tables.is_empty()) {
            let header: Vec<_> = path.iter().map(|name| bare_or_quoted(name)).collect();
            let gap = if self.text.is_empty() { "" } else { "\n" };
            // Writing to memory does not fail.
            let _ = writeln!(self.text, "{gap}[{}]", header.join("."));
        }
        for (name, value) in leaves {
            path.push(name.clone());
            let mut line = format!("{} = ", bare_or_quoted(name));
            write_value(&mut line, value, hidden || is_hidden(path));
            if self.origin {
                let _ = write!(line, "  # {}", self.origin_of(path));
            }
            path.pop();
            self.text += &line;
            self.text.push('\n');
        }
        for (name, value) in tables {
            path.push(name.clone());
            self.table(value, path, hidden || is_hidden(path));
            path.pop();
        }
    }

    /// `default`, `FILE:LINE`, `environment GATEMQ_…` or `--set`.
    fn origin_of(&self, path: &[String]) -> String {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(origin) = self.raw.get(&names).map(|value| self.raw.origin(value.tag())) else {
            return "default".into();
        };
        match (origin.file, origin.text) {
            (Some(file), _) => {
                let line = self.raw.line(&file, &names).map(|line| format!(":{line}")).unwrap_or_default();
                format!("{}{line}", file.display().to_string().escape_debug())
            }
            (None, Some(layer)) if layer == super::layers::ENVIRONMENT => {
                let key = names.join("__");
                let set = |name: &&String| name.strip_prefix("GATEMQ_").is_some_and(|n| n.eq_ignore_ascii_case(&key));
                let variable = self.sources.environment.iter().map(|(name, _)| name).rfind(set);
                format!("{layer} {}", variable.map_or("", String::as_str).escape_debug())
            }
            (None, Some(layer)) => layer.to_owned(),
            (None, None) => "default".to_owned(),
        }
    }
}

/// What is in a table, in the order of the table of keys; names that operators choose by the alphabet.
fn in_order<'d>(dict: &'d Dict, path: &[String]) -> Vec<(&'d String, &'d Value)> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let known = keys::names_below(&path);
    let mut names: Vec<_> = dict.iter().collect();
    names.sort_by_key(|(name, _)| known.iter().position(|k| k == name));
    names
}

/// Whether what is at `path` is not to be seen. The name of a listener or plugin is no name of a secret.
fn is_hidden(path: &[String]) -> bool {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_chosen = matches!(keys::place(&names), Place::Table);
    !is_chosen && names.last().is_some_and(|name| is_secret(name))
}

/// Whether a value under this name is not to be seen.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let secret = SECRET_WORDS.iter().any(|word| name.contains(word)) || name.split('_').any(|word| word == "pass");
    secret && !PLACE_ENDINGS.iter().any(|end| name.ends_with(end))
}

fn bare_or_quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A URL's user and password are no part of where it points to.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// A value as TOML, on one line.
fn write_value(to: &mut String, value: &Value, hidden: bool) {
    let written = match value {
        Value::Dict(_, dict) => {
            to.push_str("{ ");
            for (at, (name, value)) in dict.iter().enumerate() {
                to.push_str(if at > 0 { ", " } else { "" });
                let _ = write!(to, "{} = ", bare_or_quoted(name));
                write_value(to, value, hidden || is_secret(name));
            }
            to.push_str(" }");
            return;
        }
        _ if hidden => quoted(HIDDEN),
        Value::Array(_, items) => {
            to.push('[');
            for (at, value) in items.iter().enumerate() {
                to.push_str(if at > 0 { ", " } else { "" });
                write_value(to, value, hidden);
            }
            to.push(']');
            return;
        }
        Value::String(_, text) => quoted(&without_user(text)),
        Value::Char(_, c) => quoted(&c.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(n), ..) => n.to_string(),
            (_, Some(n), _) => n.to_string(),
            (_, _, Some(n)) => format!("{n:?}"),
            (None, None, None) => quoted(HIDDEN),
        },
        // TOML has none, so no layer can make one.
        Value::Empty(..) => quoted(""),
    };
    to.push_str(&written);
}
