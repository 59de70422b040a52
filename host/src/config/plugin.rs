//! `[plugins.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::Value;
use gatemq_plugin_loader::{BreakerOptions, LibraryHash, Options, Policy};

use super::values::{Values, is_name};
use super::{Library, Plugin};

/// All of them, by name.
pub(super) fn plugins(values: &mut Values<'_>) -> Option<BTreeMap<String, Plugin>> {
    let names = values.raw.names(&["plugins"]);
    let all: Vec<_> = names.into_iter().map(|name| (plugin(values, &name), name)).collect();
    all.into_iter().map(|(plugin, name)| Some((name, plugin?))).collect()
}

fn plugin(values: &mut Values<'_>, name: &str) -> Option<Plugin> {
    let path = |key: &'static str| ["plugins", name, key];
    if values.raw.get(&["plugins", name]).and_then(Value::as_dict).is_none() || !is_name(name) {
        return None; // the walk has said so
    }
    let library = match values.raw.get(&path("library")) {
        Some(_) => library(values, &path("library")),
        None => Some(Library::DropIn),
    };
    let sha256 = match values.raw.get(&path("sha256")) {
        Some(_) => sha256(values, &path("sha256")).map(Some),
        None => Some(None),
    };
    let required = values.flag(&path("required"));
    let policy = policy(values, name);
    let ring_events = values.number(&path("ring_events"));
    let config_json = values.json(&path("config"));
    Some(Plugin {
        library: library?,
        sha256: sha256?,
        required: required?,
        policy: policy?,
        ring_events: ring_events?,
        config_json: config_json?,
    })
}

fn policy(values: &mut Values<'_>, name: &str) -> Option<Policy> {
    let path = |key: &'static str| ["plugins", name, key];
    let (timeout_ms, calls_max) = (values.number(&path("timeout_ms")), values.number(&path("calls_max")));
    let calls_kept_percent = values.number(&path("calls_kept_percent"));
    let address_calls_max = values.number(&path("address_calls_max"));
    let (calls, open_ms) = (values.number(&path("breaker_calls")), values.number(&path("breaker_open_ms")));
    let failed_percent = values.number(&path("breaker_failed_percent"));
    let veto = values.flag(&path("veto"));
    Some(Policy {
        options: Options { timeout: Duration::from_millis(timeout_ms?), calls_max: calls_max?, ..Options::default() },
        calls_kept_percent: calls_kept_percent?,
        address_calls_max: address_calls_max?,
        breaker: BreakerOptions {
            calls: calls?,
            failed_percent: failed_percent?,
            open: Duration::from_millis(open_ms?),
        },
        veto: veto?,
    })
}

fn sha256(values: &mut Values<'_>, path: &[&str]) -> Option<LibraryHash> {
    let text = values.text(path)?;
    let hash = LibraryHash::parse(text.trim());
    if hash.is_none() {
        values.refuse(path, "must be the 64 hexadecimal digits that `sha256sum` prints for the library");
    }
    hash
}

fn library(values: &mut Values<'_>, path: &[&str]) -> Option<Library> {
    let text = values.text(path)?;
    if Path::new(&text).is_absolute() {
        return Some(Library::File(PathBuf::from(text)));
    }
    let usable = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.bytes().all(usable) {
        let text = text.escape_debug();
        values.refuse(
            path,
            format!("`{text}` is neither a name like `auth-file` nor an absolute path like `/opt/libx.so`"),
        );
        return None;
    }
    Some(Library::Bundled(text))
}
