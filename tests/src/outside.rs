//! Plugins that are built outside the workspace, as their authors do it: a sound one, ones that must be refused, and one for each
//! version of the binary interface.
//!
//! A fixture is copied to a directory under the system's temporary one, so that nothing of this workspace reaches it but the path
//! of `plugin-api`, and not even that where the fixture has the interface in it. Each has a target directory of its own.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::{cargo, profile, run, target_directory};
use crate::workspace;

const ABORT: &str = "\n[profile.dev]\npanic = \"abort\"\n[profile.release]\npanic = \"abort\"\n";

/// File of a fixture, text in it, and what comes in its place.
type Change<'a> = (&'a str, &'a str, &'a str);

/// The fixture as it is: admits everybody. Its configuration: `tenant`, and `rules` (a list of grants).
pub fn plugin() -> PathBuf {
    Outside::open().sdk_plugin("outside-plugin", "")
}

/// As [`plugin`], optimized whatever our own profile is: for measuring.
pub fn release_plugin() -> PathBuf {
    Outside { profile: "release", ..Outside::open() }.sdk_plugin("outside-plugin", "")
}

/// The fixture built with `panic = "abort"`.
pub fn panic_abort() -> PathBuf {
    Outside::open().sdk_plugin("outside-plugin-abort", ABORT)
}

/// A plugin of interface 1.0 as it was released.
pub fn interface_1_0() -> PathBuf {
    interface("interface-1-0", &[])
}

/// The same with interface 2.0.0.
pub fn other_major() -> PathBuf {
    interface("interface-major", &[("src/v1_0/mod.rs", "VERSION: &str = \"1.0.0\"", "VERSION: &str = \"2.0.0\"")])
}

/// The same with an interface 1.1.0, whose root module has one function more than this broker knows of.
pub fn later_minor() -> PathBuf {
    let field = "    pub interceptor: ROption<u64>,\n";
    let grown = format!("{field}    pub later: extern \"C\" fn(Instance, u64) -> Status,\n");
    interface(
        "interface-minor",
        &[
            ("src/v1_0/mod.rs", "VERSION: &str = \"1.0.0\"", "VERSION: &str = \"1.1.0\""),
            ("src/v1_0/root.rs", field, &grown),
            ("src/lib.rs", "interceptor: ROption::RNone,", "interceptor: ROption::RNone, later: stop,"),
        ],
    )
}

/// The same with an interface 1.1.0, which knows of a service of the host that this broker does not have.
pub fn later_minor_of_the_host() -> PathBuf {
    let field = "    pub request: extern \"C\" fn(u64, &RequestRecord, ServiceCompleter),\n";
    let grown = format!("{field}    pub later: extern \"C\" fn(u64) -> u64,\n");
    interface(
        "interface-minor-host",
        &[
            ("src/v1_0/mod.rs", "VERSION: &str = \"1.0.0\"", "VERSION: &str = \"1.1.0\""),
            ("src/v1_0/root.rs", field, &grown),
        ],
    )
}

/// The same with an interface that calls itself 1.0.0, in which two numbers of equal size have changed places: by size alone it
/// could not be told.
pub fn other_layout() -> PathBuf {
    let change = (
        "src/v1_0/client.rs",
        "    pub failures: u32,\n    pub deadline_ms: u32,\n",
        "    pub deadline_ms: u32,\n    pub failures: u32,\n",
    );
    interface("interface-layout", &[change])
}

/// The same, which ends its process when it is asked what it is.
pub fn aborts() -> PathBuf {
    let info = "extern \"C\" fn info() -> PluginInfo {\n";
    interface("interface-aborts", &[("src/lib.rs", info, &format!("{info}    std::process::abort();\n"))])
}

/// The same without the exported symbol.
pub fn without_entry() -> PathBuf {
    interface("interface-without-entry", &[("src/lib.rs", "#[unsafe(no_mangle)]\n", "")])
}

/// The fixture of interface 1.0 with changes.
fn interface(name: &str, changes: &[Change<'_>]) -> PathBuf {
    Outside::open().build(name, &workspace().join("tests/fixtures/interface-1.0"), changes, "")
}

/// A project that was made of `templates/plugin`.
pub struct Project {
    /// Where it is.
    pub directory: PathBuf,
    /// What was built of it.
    pub library: PathBuf,
}

/// Makes a project of the template, as `cargo generate` does it, runs its tests and builds it.
///
/// # Panics
/// When something of it fails, or a placeholder is left.
pub fn template(name: &str) -> Project {
    template_of(name, &workspace())
}

/// As [`template`], with the template and the crates of `sources`, which may be installed.
///
/// # Panics
/// As [`template`].
pub fn template_of(name: &str, sources: &Path) -> Project {
    let outside = Outside::open();
    let directory = outside.directory.join(name);
    let template = sources.join("templates/plugin");
    let gatemq = sources.display().to_string();
    let (crate_name, placeholders) = (name.replace('-', "_"), ["project-name", "crate_name", "gatemq"]);
    for file in files_below(&template).into_iter().filter(|file| !file.ends_with("cargo-generate.toml")) {
        let text = placeholders
            .iter()
            .zip([name, &crate_name, &gatemq])
            .fold(read(&file), |text, (placeholder, value)| text.replace(&format!("{{{{{placeholder}}}}}"), value));
        assert!(!text.contains("{{"), "{}: a placeholder is left", file.display());
        write(&directory.join(file.strip_prefix(&template).expect("below the template")), &text);
    }
    let library = outside.cargo("test", name, &directory);
    assert_eq!(library, outside.cargo("build", name, &directory));
    Project { directory, library }
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

    /// The fixture that is written with the SDK.
    fn sdk_plugin(&self, name: &str, more: &str) -> PathBuf {
        let path = format!("path = {:?}", workspace().join("plugin-api"));
        let changes = [
            ("Cargo.toml", "path = \"../../../plugin-api\"", path.as_str()),
            ("Cargo.toml", "name = \"outside-plugin\"", &format!("name = {name:?}")),
        ];
        self.build(name, &workspace().join("tests/fixtures/outside-plugin"), &changes, more)
    }

    /// Builds a copy of a fixture with changes; `more` goes to the end of its manifest.
    fn build(&self, name: &str, fixture: &Path, changes: &[Change<'_>], more: &str) -> PathBuf {
        let package = self.directory.join(name);
        let mut left = changes.to_vec();
        for file in files_below(fixture) {
            let below = file.strip_prefix(fixture).expect("below the fixture");
            let mut text = read(&file);
            left.retain(|(changed, from, to)| {
                let here = below == Path::new(changed) && text.contains(from);
                if here {
                    text = text.replace(from, to);
                }
                !here
            });
            if below == Path::new("Cargo.toml") {
                text.push_str(more);
            }
            write(&package.join(below), &text);
        }
        assert!(left.is_empty(), "not found in {}, so not changed: {left:?}", fixture.display());
        self.cargo("build", name, &package)
    }

    /// Runs cargo in a package; where its library then is.
    fn cargo(&self, subcommand: &str, name: &str, package: &Path) -> PathBuf {
        // The versions that the workspace was built with: nothing else is fetched. Cargo leaves out what is not needed, so
        // what it was made from is kept beside it.
        let lock = read(&workspace().join("Cargo.lock"));
        if !fs::read_to_string(package.join("Cargo.lock.from")).is_ok_and(|from| from == lock) {
            write(&package.join("Cargo.lock"), &lock);
            write(&package.join("Cargo.lock.from"), &lock);
        }
        let target = target_directory().join(name);
        let mut build = cargo(subcommand);
        // In the environment, so that what it runs builds there too.
        build.current_dir(package).env("CARGO_TARGET_DIR", &target).env("CARGO_PROFILE_DEV_DEBUG", "0");
        // What cargo and the test runner tell us is about this workspace.
        for (key, _) in std::env::vars_os().filter(|(k, _)| k.to_string_lossy().starts_with("CARGO_PKG_")) {
            build.env_remove(key);
        }
        if self.profile == "release" {
            build.arg("--release");
        }
        run(&mut build);
        let manifest: toml::Table = read(&package.join("Cargo.toml")).parse().expect("TOML");
        let library = manifest["lib"].get("name").unwrap_or(&manifest["package"]["name"]).as_str().expect("a name");
        target.join(self.profile).join(format!("lib{}.so", library.replace('-', "_")))
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
