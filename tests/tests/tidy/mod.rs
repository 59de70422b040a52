//! The rules of the house, held by tests: see "style" in CONTRIBUTING.md.

mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatemq_tests::outside::files_below;
use gatemq_tests::workspace;
use source::{Function, code, functions, has_word};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 800;
/// Longest function, in lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// What may depend on what of this workspace, directly. Arrows point down only.
const ARROWS: &[(&str, &[&str])] = &[
    ("gatemq-types", &[]),
    ("gatemq-plugin-api", &["gatemq-types"]),
    ("gatemq-plugin-loader", &["gatemq-plugin-api", "gatemq-types"]),
    ("gatemq-plugin-http", &["gatemq-plugin-api"]),
    ("gatemq-mqtt", &["gatemq-types"]),
    ("gatemq-broker", &["gatemq-mqtt", "gatemq-types"]),
    ("gatemq-store", &["gatemq-types"]),
    ("gatemq-cluster", &["gatemq-types"]),
    (
        "gatemq",
        &["gatemq-broker", "gatemq-cluster", "gatemq-mqtt", "gatemq-plugin-loader", "gatemq-store", "gatemq-types"],
    ),
    ("gatemq-plugin-testkit", &["gatemq-plugin-api", "gatemq-plugin-loader", "gatemq-types"]),
    ("gatemq-tests", &[]),
    ("gatemq-load", &[]),
    ("xtask", &["gatemq-plugin-testkit", "gatemq-tests", "gatemq-types"]),
];

/// The only dependencies that these have: what is absent here cannot be used by mistake.
const ONLY: &[(&str, &[&str])] = &[("gatemq-types", &["zeroize"]), ("gatemq-mqtt", &["gatemq-types"])];

/// What must not be there: sockets, clocks and runtimes belong to the shell.
const ABSENT: &[(&str, &[&str])] = &[
    ("gatemq-broker", &["tokio", "mio", "socket2", "rustls", "libloading", "abi_stable", "gatemq-plugin-api"]),
    ("gatemq-store", &["tokio", "mio", "socket2", "rustls", "libloading", "abi_stable", "gatemq-plugin-api"]),
    ("gatemq-cluster", &["libloading", "abi_stable", "gatemq-plugin-api"]),
];

struct Manifest {
    path: PathBuf,
    dependencies: Vec<String>,
    dev_dependencies: Vec<String>,
}

/// Every package of the workspace by its name.
fn manifests() -> BTreeMap<String, Manifest> {
    let mut found = BTreeMap::new();
    for path in sources("toml").into_iter().filter(|p| p.ends_with("Cargo.toml")) {
        let table: toml::Table = read(&path).parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let Some(name) = table.get("package").and_then(|p| p["name"].as_str()) else { continue };
        // Fixtures, fuzz targets and other people's clients are packages of their own.
        let is_outside =
            ["tests/fixtures", "templates"].iter().any(|outside| path.starts_with(workspace().join(outside)));
        if table.contains_key("workspace") || is_outside {
            continue;
        }
        let names = |table: &toml::Table, key: &str| -> Vec<String> {
            table.get(key).and_then(|d| d.as_table()).into_iter().flat_map(|d| d.keys().cloned()).collect()
        };
        let mut manifest = Manifest {
            path: path.clone(),
            dependencies: [names(&table, "dependencies"), names(&table, "build-dependencies")].concat(),
            dev_dependencies: names(&table, "dev-dependencies"),
        };
        let targets = table.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values());
        for target in targets.filter_map(|t| t.as_table()) {
            manifest.dependencies.extend(names(target, "dependencies"));
        }
        found.insert(name.to_owned(), manifest);
    }
    assert!(found.len() >= 9, "too few packages found: {:?}", found.keys());
    found
}

/// Arrows between the crates point down only (DESIGN, layout).
#[test]
fn crates_depend_downwards_only() {
    let manifests = manifests();
    let plugin = ["gatemq-plugin-api", "gatemq-plugin-http"];
    // Tests of these load plugins as the host does.
    let load_in_tests = ["gatemq-plugin-loader", "gatemq-tests"];
    let mut wrong = Vec::new();
    for (name, manifest) in &manifests {
        let is_plugin = manifest.path.starts_with(workspace().join("plugins"));
        let allowed = ARROWS.iter().find(|(from, _)| from == name).map(|(_, to)| *to);
        let allowed =
            allowed.or(is_plugin.then_some(&plugin[..])).unwrap_or_else(|| panic!("{name} has no row in ARROWS"));
        let all = manifest.dependencies.iter().chain(&manifest.dev_dependencies);
        let ours = all.filter(|to| manifests.contains_key(*to));
        let loads_in_tests = is_plugin || load_in_tests.contains(&name.as_str());
        let in_tests = |to: &str| {
            loads_in_tests && to == "gatemq-plugin-testkit" && !manifest.dependencies.iter().any(|d| d == to)
        };
        let fits = |to: &str| allowed.contains(&to) || in_tests(to);
        wrong.extend(ours.filter(|to| !fits(to)).map(|to| format!("{name} -> {to}")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A dependency that must be absent is absent: protocol and broker know no socket, no clock and no runtime.
#[test]
fn dependencies_that_must_be_absent_are_absent() {
    let manifests = manifests();
    for (name, only) in ONLY {
        let more: Vec<_> = manifests[*name].dependencies.iter().filter(|d| !only.contains(&d.as_str())).collect();
        assert!(more.is_empty(), "{name} depends on {more:?}");
    }
    for (name, absent) in ABSENT {
        let there: Vec<_> = manifests[*name].dependencies.iter().filter(|d| absent.contains(&d.as_str())).collect();
        assert!(there.is_empty(), "{name} depends on {there:?}");
    }
}

/// Unsafe code lives under plugin-api/src/abi and plugin-api/loader/src only, and each piece says why it is sound.
#[test]
fn unsafe_code_is_fenced_and_explained() {
    // The last one is a frozen copy of the first.
    let inside = ["plugin-api/src/abi", "plugin-api/loader/src", "tests/fixtures/interface-1.0/src"];
    let inside = inside.map(|p| workspace().join(p));
    let export = workspace().join("plugin-api/src/sdk/export.rs");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in sources("rs") {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (n, code) in code(&text).lines().enumerate().filter(|(_, line)| has_word(line, "unsafe")) {
            let place = format!("{}:{}", shown(&file), n + 1);
            if file == export && code.trim() == "#[unsafe(no_mangle)]" {
                continue;
            }
            seen += 1;
            if !inside.iter().any(|directory| file.starts_with(directory)) {
                wrong.push(format!("{place}: unsafe outside the fence"));
            } else if !source::explained(&lines, n) {
                wrong.push(format!("{place}: no SAFETY comment above it"));
            }
        }
    }
    assert!(seen > 5, "only {seen} pieces of unsafe code found: does this test still see them?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which system this is is asked in modules `platform` alone: so all else compiles elsewhere, and what has no counterpart is seen
/// (README.md, Windows). Tests and tools are Linux's.
#[test]
fn one_system_is_named_in_platform_modules_only() {
    let names = [
        "cfg(unix)",
        "cfg(not(unix))",
        "cfg(windows)",
        "target_os",
        "std::os::",
        "os::unix",
        "signal::unix",
        "rustix::",
        "sd_notify::",
        "UnixListener",
        "UnixStream",
        "winapi_util::",
    ];
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in sources("rs") {
        let path = file.strip_prefix(workspace()).unwrap_or(&file).with_extension("");
        let has = |part: &str| path.components().any(|c| c.as_os_str() == part);
        if !has("src") || has("tests") || has("packaging") || has("templates") {
            continue;
        }
        let text = code(&read(&file));
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = product.lines().enumerate().filter(|(_, line)| names.iter().any(|name| line.contains(name)));
        match has("platform") {
            true => seen += named.count(),
            false => wrong.extend(named.map(|(n, line)| format!("{}:{}: {}", shown(&file), n + 1, line.trim()))),
        }
    }
    assert!(seen > 20, "only {seen} such lines found in platform modules: does this test still see them?");
    assert!(wrong.is_empty(), "outside of a module `platform`:\n{}", wrong.join("\n"));
}

/// Every file says on line 1 what it is for.
#[test]
fn files_begin_with_their_purpose() {
    let silent: Vec<_> =
        sources("rs").into_iter().filter(|f| !read(f).starts_with("//! ")).map(|f| shown(&f)).collect();
    assert!(silent.is_empty(), "without a //! on line 1: {silent:#?}");
}

/// Nothing grows without end: files and functions keep to their lengths.
#[test]
fn files_and_functions_are_short() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in sources("rs") {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", shown(&file)));
        }
        for Function { name, line, lines } in functions(&code(&text)) {
            seen += 1;
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}", shown(&file)));
            }
        }
    }
    assert!(seen > 300, "only {seen} functions found: does this test still see them?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Nothing that is committed knows the machine that it was written on.
#[test]
fn no_file_names_a_path_of_this_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut wrong = Vec::new();
    for file in all_files() {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().enumerate();
        let named = lines.filter(|(_, line)| paths.iter().any(|p| line.contains(p)));
        wrong.extend(named.map(|(n, line)| format!("{}:{}: {}", shown(&file), n + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every example of a configuration is loaded by some test, so that it cannot grow stale.
#[test]
fn every_configuration_file_is_loaded_by_a_test() {
    let tests: String = ["host/src", "host/tests", "tests/tests"]
        .iter()
        .flat_map(|d| files_below(&workspace().join(d)))
        .filter(|f| f.components().any(|c| c.as_os_str().to_string_lossy().starts_with("tests")))
        .map(|f| read(&f))
        .collect();
    let files = files_below(&workspace().join("config"));
    assert!(!files.is_empty());
    for file in files {
        let name = shown(&file);
        assert!(tests.contains(&name), "no test names {name}");
    }
}

/// The two commands that a newcomer needs stand at the top of the README, and CI calls the one that it names.
#[test]
fn the_readme_has_both_commands() {
    let readme = read(&workspace().join("README.md"));
    let top: String = readme.lines().take(30).collect::<Vec<_>>().join("\n");
    for command in ["cargo xtask dev", "cargo xtask test"] {
        assert!(top.contains(command), "README.md does not show `{command}` in its first 30 lines");
    }
    assert!(read(&workspace().join(".ci/run")).contains("cargo xtask test"), ".ci/run calls something else");
}

fn sources(extension: &str) -> Vec<PathBuf> {
    all_files().into_iter().filter(|f| f.extension().is_some_and(|e| e == extension)).collect()
}

/// All files of the project, without what is built and without git's own.
fn all_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(workspace()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            "target" | ".git" | ".library" => {}
            _ if path.is_dir() => files.extend(files_below(&path)),
            _ => files.push(path),
        }
    }
    files.retain(|f| !f.components().any(|c| c.as_os_str() == "target"));
    files.sort();
    files
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(workspace()).unwrap_or(file).display().to_string()
}
