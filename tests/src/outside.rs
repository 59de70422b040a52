//! Plugins that are built outside the workspace, as their authors do it: a sound one, and ones that must be refused.
//!
//! `tests/fixtures/outside-plugin` is copied to a directory under the system's temporary one, so that nothing of this
//! workspace reaches it but the path of `plugin-api`. All variants share one target directory, `target/outside-plugin`:
//! what they depend on is built once.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::{cargo, profile, run, target_directory};
use crate::workspace;

const MANIFEST: &str = include_str!("../fixtures/outside-plugin/Cargo.toml");
const SOURCE: &str = include_str!("../fixtures/outside-plugin/src/lib.rs");
const ABORT: &str = "\n[profile.dev]\npanic = \"abort\"\n[profile.release]\npanic = \"abort\"\n";

/// The fixture as it is: admits everybody. Its configuration: `tenant`, and `rules` (a list of grants).
pub fn plugin() -> PathBuf {
    Outside::open().build("outside-plugin", &workspace().join("plugin-api"), "")
}

/// As [`plugin`], optimized whatever our own profile is: for measuring.
pub fn release_plugin() -> PathBuf {
    Outside { profile: "release", ..Outside::open() }.build("outside-plugin", &workspace().join("plugin-api"), "")
}

/// The fixture built with `panic = "abort"`.
pub fn panic_abort() -> PathBuf {
    Outside::open().build("outside-plugin-abort", &workspace().join("plugin-api"), ABORT)
}

/// The fixture built with interface 2.0.0.
pub fn other_major() -> PathBuf {
    let change = [("abi/v1_0/mod.rs", "VERSION: &str = \"1.0.0\"", "VERSION: &str = \"2.0.0\"")];
    Outside::open().build_with_changed_api("outside-plugin-major", &change)
}

/// The fixture built with an interface that calls itself 1.0.0, in which two numbers of equal size have changed places: by
/// size alone it could not be told.
pub fn other_layout() -> PathBuf {
    let change = [(
        "abi/v1_0/client.rs",
        "    pub failures: u32,\n    pub deadline_ms: u32,\n",
        "    pub deadline_ms: u32,\n    pub failures: u32,\n",
    )];
    Outside::open().build_with_changed_api("outside-plugin-layout", &change)
}

/// Compiles C to a library `libNAME.so` in `directory`.
///
/// # Panics
/// Without a C compiler.
pub fn c_library(directory: &Path, name: &str, source: &str) -> PathBuf {
    let (file, library) = (directory.join(format!("{name}.c")), directory.join(format!("lib{name}.so")));
    fs::write(&file, source).expect("C source is written");
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file));
    library
}

/// The directory outside, and the right to change it.
struct Outside {
    directory: PathBuf,
    profile: &'static str,
    /// Held while it lives: tests run in several processes.
    _lock: File,
}

impl Outside {
    fn open() -> Outside {
        let mut hash = DefaultHasher::new();
        (workspace(), std::env::var("USER").ok()).hash(&mut hash);
        let directory = std::env::temp_dir().join(format!("gatemq-outside-{:016x}", hash.finish()));
        fs::create_dir_all(&directory).expect("a directory outside");
        let lock = File::create(directory.join("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        Outside { directory, profile: profile(), _lock: lock }
    }

    fn build(&self, name: &str, plugin_api: &Path, more: &str) -> PathBuf {
        let package = self.directory.join(name);
        let path = format!("path = {plugin_api:?}");
        let manifest = MANIFEST.replace("path = \"../../../plugin-api\"", &path);
        assert!(
            manifest.contains(&path),
            "the fixture's manifest has another path to plugin-api than the one replaced here"
        );
        let manifest = manifest.replace("name = \"outside-plugin\"", &format!("name = {name:?}"));
        write(&package.join("Cargo.toml"), &(manifest + more));
        write(&package.join("src/lib.rs"), SOURCE);
        // The versions that the workspace was built with: nothing else is fetched. Cargo leaves out what is not needed, so
        // what it was made from is kept beside it.
        let lock = read(&workspace().join("Cargo.lock"));
        if !fs::read_to_string(package.join("Cargo.lock.from")).is_ok_and(|from| from == lock) {
            write(&package.join("Cargo.lock"), &lock);
            write(&package.join("Cargo.lock.from"), &lock);
        }
        let target = target_directory().join("outside-plugin");
        let mut build = cargo("build");
        build.current_dir(&package).arg("--target-dir").arg(&target).env("CARGO_PROFILE_DEV_DEBUG", "0");
        // What cargo and the test runner tell us is about this workspace.
        for (key, _) in std::env::vars_os().filter(|(k, _)| k.to_string_lossy().starts_with("CARGO_PKG_")) {
            build.env_remove(key);
        }
        if self.profile == "release" {
            build.arg("--release");
        }
        run(&mut build);
        target.join(self.profile).join(format!("lib{}.so", name.replace('-', "_")))
    }

    /// Builds against a copy of `plugin-api` in which (file, text, other text) are replaced.
    fn build_with_changed_api(&self, name: &str, changes: &[(&str, &str, &str)]) -> PathBuf {
        let copy = self.directory.join(format!("{name}-api"));
        let mut root: toml::Table = read(&workspace().join("Cargo.toml")).parse().expect("TOML");
        let table = root["workspace"].as_table_mut().expect("a table");
        table.remove("exclude");
        table.insert("members".into(), vec!["plugin-api", "plugin-api/types"].into());
        write(&copy.join("Cargo.toml"), &root.to_string());
        for part in ["plugin-api/Cargo.toml", "plugin-api/types/Cargo.toml"] {
            write(&copy.join(part), &read(&workspace().join(part)));
        }
        let mut left = changes.to_vec();
        for part in ["plugin-api/src", "plugin-api/types/src"] {
            for file in files_below(&workspace().join(part)) {
                let below = file.strip_prefix(workspace()).expect("below the workspace");
                let mut text = read(&file);
                left.retain(|(changed, from, to)| {
                    let here = below == Path::new("plugin-api/src").join(changed) && text.contains(from);
                    if here {
                        text = text.replace(from, to);
                    }
                    !here
                });
                write(&copy.join(below), &text);
            }
        }
        assert!(left.is_empty(), "not found in plugin-api, so not changed: {left:?}");
        self.build(name, &copy.join("plugin-api"), "")
    }
}

/// All files below a directory, in order.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().filter_map(|e| e.ok()).map(|e| e.path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            files.extend(files_below(&entry));
        } else {
            files.push(entry);
        }
    }
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Writes only what differs, so that cargo sees no change where there is none.
fn write(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(file.parent().expect("a file is in a directory")).expect("a directory");
    fs::write(file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
