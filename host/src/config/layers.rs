//! Where values come from: defaults, base file, `conf.d`, environment, `--set`. Later wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::keys::{self, KEYS, Place};
use super::problem::{Problem, dotted};
use super::toml_layer::{self, Document};
use crate::platform;

const ENVIRONMENT_PREFIX: &str = "GATEMQ_";
/// Variables with our prefix that are not configuration: tests find installed programs by it.
const NOT_KEYS: &[&str] = &["GATEMQ_BIN_DIR"];

const DEFAULTS: &str = "default";
pub(super) const ENVIRONMENT: &str = "environment";
const SET: &str = "--set";

/// What the process was given.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sources {
    /// `--config FILE`: replaces the base file and must exist. Its `conf.d` is beside it.
    pub(crate) file: Option<PathBuf>,
    /// Environment variables; others than `GATEMQ_…` are ignored.
    pub(crate) environment: Vec<(String, String)>,
    /// Each `--set key=value`.
    pub(crate) set: Vec<String>,
}

impl Sources {
    /// With the environment of this process.
    pub(crate) fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Sources {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Sources { file, environment, set }
    }
}

/// All layers merged, and where each value came from. Nothing in here is checked.
pub(super) struct Raw {
    figment: Figment,
    pub(super) root: Value,
    lines: BTreeMap<PathBuf, BTreeMap<Vec<String>, usize>>,
}

/// Where a value came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) file: Option<PathBuf>,
    /// It is text whatever it means: environment or `--set`.
    pub(super) text: Option<&'static str>,
}

impl Raw {
    /// Reads all layers. What cannot be read is a problem and left out.
    pub(super) fn load(sources: &Sources, problems: &mut Vec<Problem>) -> Raw {
        let mut figment = Figment::new();
        let mut lines = BTreeMap::new();
        for file in files(sources, problems) {
            if let Some(document) = read(&file, problems) {
                figment = figment.merge(Layer { metadata: Metadata::from("file", &*file), values: document.values });
                lines.insert(file, document.lines);
            }
        }
        figment = figment
            .merge(Layer::named(ENVIRONMENT, environment(sources, problems)))
            .merge(Layer::named(SET, set(sources, problems)));
        // Which named tables exist is known only now: so defaults fill what is absent.
        let names = merged(&figment, problems);
        figment = figment.join(Layer::named(DEFAULTS, defaults(&names)));
        let root = merged(&figment, problems);
        Raw { figment, root, lines }
    }

    /// Where the value that carries `tag` came from.
    pub(super) fn origin(&self, tag: Tag) -> Origin {
        let Some(metadata) = self.figment.get_metadata(tag) else { return Origin::default() };
        let file = metadata.source.as_ref().and_then(|source| source.file_path()).map(Path::to_owned);
        let text = [ENVIRONMENT, SET].into_iter().find(|name| *name == metadata.name);
        Origin { file, text }
    }

    /// A problem of the value at `path` that carries `tag`, or of the absent value at `path`.
    pub(super) fn problem(&self, path: &[&str], tag: Option<Tag>, message: impl Into<String>) -> Problem {
        let origin = tag.or_else(|| self.some_tag(path)).map(|tag| self.origin(tag)).unwrap_or_default();
        let line = origin.file.as_ref().and_then(|file| self.line(file, path));
        let mut message = message.into();
        if let Some(layer) = origin.text {
            message += &format!(" (set by {layer})");
        }
        Problem { file: origin.file, line, key: dotted(path), message }
    }

    /// A tag near `path`: its own, or of a value in the deepest table around it that comes from a file.
    fn some_tag(&self, path: &[&str]) -> Option<Tag> {
        (1..=path.len()).rev().find_map(|depth| leaf_tags(self.get(&path[..depth])?, self))
    }

    /// Line of `path` in `file`, or of the deepest table around it that has one.
    pub(super) fn line(&self, file: &Path, path: &[&str]) -> Option<usize> {
        let lines = self.lines.get(file)?;
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        (1..=path.len()).rev().find_map(|depth| lines.get(&path[..depth]).copied())
    }

    /// The merged value at `path`.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |value, name| value.as_dict()?.get(*name))
    }

    /// Names in the table at `path`.
    pub(super) fn names(&self, path: &[&str]) -> Vec<String> {
        self.get(path).and_then(Value::as_dict).map(|dict| dict.keys().cloned().collect()).unwrap_or_default()
    }
}

/// The tag of a value below `value` that an operator wrote.
fn leaf_tags(value: &Value, raw: &Raw) -> Option<Tag> {
    match value {
        Value::Dict(_, dict) => dict.values().find_map(|value| leaf_tags(value, raw)),
        other => Some(other.tag()).filter(|tag| {
            let origin = raw.origin(*tag);
            origin.file.is_some() || origin.text.is_some()
        }),
    }
}

fn merged(figment: &Figment, problems: &mut Vec<Problem>) -> Value {
    figment.find_value("").unwrap_or_else(|errors| {
        problems.extend(errors.into_iter().map(|e| Problem::new(e.path.join("."), e.to_string())));
        Value::from(Dict::new())
    })
}

/// A layer for figment.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    fn named(name: &'static str, values: Dict) -> Layer {
        Layer { metadata: Metadata::named(name), values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The files to read, lowest first. The base file may be absent where it was not named.
fn files(sources: &Sources, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let base = sources.file.clone().unwrap_or_else(|| platform::BASE_FILE.into());
    let conf_d = base.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut files = Vec::new();
    if sources.file.is_some() || base.exists() {
        files.push(base);
    }
    match std::fs::read_dir(&conf_d) {
        Ok(entries) => {
            let mut more: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            more.retain(|path| path.extension().is_some_and(|e| e == "toml"));
            more.sort();
            files.append(&mut more);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => problems.push(Problem { file: Some(conf_d), ..Problem::new("", format!("cannot be read: {e}")) }),
    }
    files
}

fn read(file: &Path, problems: &mut Vec<Problem>) -> Option<Document> {
    let problem = |line, message| Problem { file: Some(file.to_owned()), line, key: String::new(), message };
    let read = std::fs::read_to_string(file).map_err(|e| problem(None, format!("cannot be read: {e}")));
    let document = read.and_then(|text| toml_layer::parse(&text).map_err(|(line, message)| problem(line, message)));
    document.map_err(|problem| problems.push(problem)).ok()
}

fn environment(sources: &Sources, problems: &mut Vec<Problem>) -> Dict {
    let mut values = Dict::new();
    for (variable, value) in &sources.environment {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        if NOT_KEYS.contains(&variable.as_str()) {
            continue;
        }
        let name = name.to_lowercase();
        let path: Vec<_> = name.split("__").collect();
        if !insert(&mut values, &path, value) {
            problems.push(Problem::new(
                path.join("."),
                format!("environment variable {variable}: another one sets a key above or below this one; unset one"),
            ));
        }
    }
    values
}

fn set(sources: &Sources, problems: &mut Vec<Problem>) -> Dict {
    let mut values = Dict::new();
    for argument in &sources.set {
        let Some((key, value)) = argument.split_once('=') else {
            problems.push(Problem::new(argument, "--set needs key=value, such as --set log.level=debug"));
            continue;
        };
        // As in TOML: a name with dots stands in quotes.
        let names = toml_edit::Key::parse(key.trim()).ok();
        let path: Vec<_> = match &names {
            Some(names) => names.iter().map(|name| name.get()).collect(),
            None => key.trim().split('.').collect(),
        };
        if !insert(&mut values, &path, value) {
            problems.push(Problem::new(key, "another --set is of a key above or below this one; remove one"));
        }
    }
    values
}

/// Puts a text into a tree; false if something else is in the way. Inside free tables the text is read as TOML where
/// it is TOML, since nobody knows the types there.
fn insert(values: &mut Dict, path: &[&str], text: &str) -> bool {
    let Some((last, tables)) = path.split_last() else { return false };
    let free = (1..path.len()).any(|n| matches!(keys::place(&path[..n]), Place::Key(k) if k.kind == keys::Kind::Free));
    let value = if free { toml_layer::parse_value(text) } else { None }.unwrap_or_else(|| Value::from(text));
    let mut at = values;
    for name in tables {
        let entry = at.entry((*name).to_owned()).or_insert_with(|| Value::from(Dict::new()));
        let Value::Dict(_, dict) = entry else { return false };
        at = dict;
    }
    !matches!(at.insert((*last).to_owned(), value), Some(Value::Dict(..)))
}

/// The defaults of the table, for each name that `merged` has.
fn defaults(merged: &Value) -> Dict {
    let mut values = Dict::new();
    for key in KEYS {
        if let Some(value) = key.default.and_then(toml_layer::parse_value) {
            let path: Vec<_> = key.path.split('.').collect();
            fill(&mut values, &path, Some(merged), &value);
        }
    }
    values
}

/// Puts `value` at `path`, once for each name where `path` has a `*`. Only tables that exist get defaults below a `*`.
fn fill(values: &mut Dict, path: &[&str], merged: Option<&Value>, value: &Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        values.insert((*first).to_owned(), value.clone());
        return;
    }
    let present = merged.and_then(Value::as_dict);
    let names: Vec<String> = match (*first, present) {
        ("*", Some(dict)) => dict.iter().filter(|(_, v)| v.as_dict().is_some()).map(|(name, _)| name.clone()).collect(),
        ("*", None) => Vec::new(),
        (name, _) => vec![name.to_owned()],
    };
    for name in names {
        let below = present.and_then(|dict| dict.get(&name));
        // `[listeners.NAME.tls]` and `.websocket` say something by being there.
        if matches!(&*name, "tls" | "websocket") && below.is_none() {
            continue;
        }
        let entry = values.entry(name).or_insert_with(|| Value::from(Dict::new()));
        if let Value::Dict(_, dict) = entry {
            fill(dict, rest, below, value);
        }
    }
}
