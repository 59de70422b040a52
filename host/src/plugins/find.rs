//! Which libraries to load, and under which names.

use std::path::{Path, PathBuf};

use crate::config::{Config, Library, Plugin};

/// A plugin to load.
pub(crate) struct Found {
    /// Instance name.
    pub(crate) name: String,
    /// Its library.
    pub(crate) file: PathBuf,
    /// Its settings.
    pub(crate) settings: Plugin,
}

/// `libmy_gate.so` is `my-gate`.
fn name_of(file: &Path) -> Option<String> {
    let stem = file.file_name()?.to_str()?.strip_suffix(std::env::consts::DLL_SUFFIX)?;
    let name = stem.strip_prefix(std::env::consts::DLL_PREFIX).unwrap_or(stem);
    Some(name.replace('_', "-"))
}

/// Everything in the drop-in directory, and everything that the configuration names.
///
/// # Errors
/// The directory cannot be read although it is there; a named drop-in is not in it.
pub(crate) fn find(config: &Config) -> Result<Vec<Found>, String> {
    let dir = &config.plugin_host.drop_in_dir;
    let drop_ins = drop_ins(dir)?;
    let mut found = Vec::new();
    for (name, settings) in &config.plugins {
        let file = match &settings.library {
            Library::File(file) => file.clone(),
            Library::Bundled(library) => config.plugin_host.bundled_dir.join(file_name(library)),
            Library::DropIn => match drop_ins.iter().find(|(n, _)| n == name) {
                Some((_, file)) => file.clone(),
                None => {
                    return Err(format!(
                        "plugins.{name}: there is no {} in {}; put it there, or give plugins.{name}.library",
                        file_name(name),
                        dir.display()
                    ));
                }
            },
        };
        found.push(Found { name: name.clone(), file, settings: settings.clone() });
    }
    for (name, file) in drop_ins {
        if !found.iter().any(|f| f.file == file || f.name == name) {
            found.push(Found { name, file, settings: Plugin::drop_in() });
        }
    }
    Ok(found)
}

fn file_name(name: &str) -> String {
    format!("{}{}{}", std::env::consts::DLL_PREFIX, name.replace('-', "_"), std::env::consts::DLL_SUFFIX)
}

fn drop_ins(dir: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        // Nothing dropped in: the usual case of a fresh installation.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("plugin_host.drop_in_dir: {} cannot be read: {e}", dir.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("plugin_host.drop_in_dir: {}: {e}", dir.display()))?.path();
        if let Some(name) = name_of(&path) {
            files.push((name, path));
        }
    }
    files.sort();
    Ok(files)
}
