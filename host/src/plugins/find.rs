//! Which libraries to load, and under which names.

use std::path::{Path, PathBuf};

use crate::config::{Config, Library, Plugin};

/// A plugin to load.
#[derive(Clone)]
pub(crate) struct Found {
    /// Instance name.
    pub(crate) name: String,
    /// Its library.
    pub(crate) file: PathBuf,
    /// Its settings.
    pub(crate) settings: Plugin,
}

/// `libmy_gate.so` is `my-gate`.
pub(crate) fn name_of(file: &Path) -> Option<String> {
    let file_name = file.file_name()?.to_str()?;
    // Hidden: half of a copy that somebody makes, or a leftover.
    if file_name.starts_with('.') {
        return None;
    }
    let stem = file_name.strip_suffix(std::env::consts::DLL_SUFFIX)?;
    let name = stem.strip_prefix(std::env::consts::DLL_PREFIX).unwrap_or(stem);
    Some(name.replace('_', "-"))
}

/// Everything in the drop-in directory, and everything that the configuration names.
///
/// # Errors
/// The directory cannot be read although it is there; a named drop-in is not in it; two libraries have one name.
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
        if found.iter().any(|f| f.file == file) {
            continue;
        }
        // Left out silently it would be a gatekeeper that its operator believes to be there.
        if let Some(other) = found.iter().find(|f| f.name == name) {
            return Err(format!(
                "plugins.{name}: {} and {} would both have this name; rename or remove one",
                other.file.display(),
                file.display()
            ));
        }
        found.push(Found { name, file, settings: Plugin::drop_in() });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    /// Guards section 4.3: two libraries of one name are an error, never one of them silently left out; one library that is
    /// configured under another name is one plugin.
    #[test]
    fn two_libraries_of_one_name_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(file_name("my-gate"));
        std::fs::write(&file, "").unwrap();
        let found = |plugins: &str| {
            let text = format!(
                "[listeners.l]\nkind = 'mqtt'\nbind = '127.0.0.1:0'\n[plugin_host]\ndrop_in_dir = {:?}\n{plugins}",
                dir.path()
            );
            let base = dir.path().join("gatemq.toml");
            std::fs::write(&base, text).unwrap();
            let sources = Sources { file: Some(base), ..Sources::default() };
            find(&config::load(&sources).unwrap()).map(|f| f.into_iter().map(|p| p.name).collect::<Vec<_>>())
        };
        assert_eq!(found(""), Ok(vec!["my-gate".to_owned()]));
        assert_eq!(found(&format!("[plugins.gate]\nlibrary = {file:?}\n")), Ok(vec!["gate".to_owned()]));
        let error = found("[plugins.my-gate]\nlibrary = 'auth-file'\n").unwrap_err();
        assert!(error.contains("my-gate") && error.contains("auth_file") && error.contains("my_gate"), "{error}");
    }
}
