//! Builds a package's plugin library, as `cargo build` does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Builds the library of the package whose test this is, and gives its path: `let library = build!();`.
///
/// # Panics
/// When it cannot be built.
#[macro_export]
macro_rules! build {
    () => {
        $crate::build(::std::path::Path::new(env!("CARGO_MANIFEST_DIR")), env!("CARGO_PKG_NAME"))
    };
}

/// Builds the `cdylib` of `package`, from the directory of some package of its workspace, with the profile of the caller (release
/// or not); once a process. Cargo builds no library by itself for tests that only load it.
///
/// # Panics
/// When it cannot be built, or is no `cdylib`.
pub fn build(directory: &Path, package: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<(PathBuf, String), PathBuf>>> = Mutex::new(None);
    // Held while cargo runs: two of them would only wait for each other.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = built.get_or_insert_default();
    let key = (directory.to_owned(), package.to_owned());
    known.entry(key).or_insert_with(|| cargo_build(directory, package)).clone()
}

fn cargo_build(directory: &Path, package: &str) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--lib", "--message-format=json", "--package", package]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(directory).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|e| panic!("cargo cannot be run: {e}"));
    assert!(output.status.success(), "{package} cannot be built: {}", output.status);
    let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut libraries = messages.flat_map(|message: serde_json::Value| {
        let is_cdylib = message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "cdylib"));
        let files = message["filenames"].as_array().filter(|_| is_cdylib).cloned().unwrap_or_default();
        files.into_iter().filter_map(|file| file.as_str().map(PathBuf::from)).collect::<Vec<_>>()
    });
    let is_library = |file: &PathBuf| file.extension().is_some_and(|e| e == std::env::consts::DLL_EXTENSION);
    // Its own comes last: dependencies are built before.
    let library = libraries.rfind(is_library);
    library.unwrap_or_else(|| panic!("{package} is no plugin: give its [lib] crate-type = [\"cdylib\"]"))
}
