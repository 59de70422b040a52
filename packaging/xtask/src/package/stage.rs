//! The staged trees: files where and as they will be installed. Owners are made root's when they are packed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use gatemq_tests::outside::files_below;
use gatemq_tests::workspace;

use super::build::Built;
use super::{read, third_party, write};
use crate::install::succeeds;

/// Files of these sources, and where they are installed.
const FILES: &[(&str, &str)] = &[
    ("packaging/etc/gatemq.toml", "etc/gatemq/gatemq.toml"),
    ("packaging/etc/users.toml", "etc/gatemq/users.toml"),
    ("packaging/systemd/gatemq.service", "usr/lib/systemd/system/gatemq.service"),
    ("packaging/systemd/gatemq.sysusers", "usr/lib/sysusers.d/gatemq.conf"),
    ("packaging/systemd/gatemq.tmpfiles", "usr/lib/tmpfiles.d/gatemq.conf"),
    ("packaging/man/gatemq-plugins.7", "usr/share/man/man7/gatemq-plugins.7"),
    ("packaging/man/gatemq-tls.7", "usr/share/man/man7/gatemq-tls.7"),
    ("config/gatemq.toml", "usr/share/doc/gatemq/gatemq.toml.example"),
    ("plugins/auth-certificate/README.md", "usr/share/doc/gatemq/auth-certificate.md"),
    ("plugins/auth-jwt/README.md", "usr/share/doc/gatemq/auth-jwt.md"),
    ("plugins/auth-http/README.md", "usr/share/doc/gatemq/auth-http.md"),
    ("SECURITY.md", "usr/share/doc/gatemq/SECURITY.md"),
    ("CHANGELOG.md", "usr/share/doc/gatemq/changelog"),
];
/// All that is below it, pages for operators, the dashboard and the alert rules, is installed below [`DOCS`].
const PAGES: &str = "packaging/doc";
const DOCS: &str = "usr/share/doc/gatemq";
/// Directories that are empty as installed.
const DIRECTORIES: &[&str] = &["etc/gatemq/conf.d", KEYS, "usr/lib/gatemq/plugins"];
/// What is in here only the broker may read.
const KEYS: &str = "etc/gatemq/tls";
/// Hashes of passwords are written into it; the packages' scripts give it to the broker's group.
const USERS: &str = "etc/gatemq/users.toml";
/// Where the sources for authors of plugins are installed: a workspace of its own, so that they find each other.
const SOURCES: &str = "usr/share/gatemq";
/// Members of that workspace.
const MEMBERS: [&str; 5] =
    ["plugin-api/types", "plugin-api", "plugin-api/loader", "plugin-api/http", "plugin-api/testkit"];

/// The broker, its plugins, and all that goes with them.
pub(super) fn gatemq(built: &Built, tree: &Path) -> Result<(), String> {
    binary(&built.broker(), &tree.join("usr/bin/gatemq"), &["--strip-all"])?;
    for library in built.plugins() {
        let name = library.file_name().unwrap_or_default();
        binary(&library, &tree.join("usr/lib/gatemq/bundled").join(name), &["--strip-unneeded"])?;
    }
    for (from, to) in FILES {
        write(&tree.join(to), read(from)?)?;
    }
    let pages = workspace().join(PAGES);
    for page in files_below(&pages) {
        let to = tree.join(DOCS).join(page.strip_prefix(&pages).map_err(|e| e.to_string())?);
        let text = fs::read(&page).map_err(|e| format!("{}: {e}", page.display()))?;
        write(&to, text)?;
    }
    for directory in DIRECTORIES {
        let directory = tree.join(directory);
        fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    manual(built, tree)?;
    write(&tree.join(DOCS).join("third-party"), third_party::notices()?)?;
    for file in files_below(&tree.join("usr/share/man")) {
        gzip(&file)?;
    }
    ["changelog", "third-party"].iter().try_for_each(|file| gzip(&tree.join(DOCS).join(file)))
}

/// Copies a binary without what only a debugger needs.
fn binary(from: &Path, to: &Path, strip: &[&str]) -> Result<(), String> {
    let bytes = fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?;
    write(to, bytes)?;
    let sections = ["--remove-section=.comment", "--remove-section=.note"];
    succeeds(Command::new("strip").args(strip).args(sections).arg(to))?;
    // So that it can be told from other files below /usr/lib.
    let mode = if to.extension().is_some() { 0o644 } else { 0o755 };
    fs::set_permissions(to, Permissions::from_mode(mode)).map_err(|e| format!("{}: {e}", to.display()))
}

/// What the program writes about itself.
fn manual(built: &Built, tree: &Path) -> Result<(), String> {
    let written = tree.with_extension("manual");
    succeeds(Command::new(built.broker()).arg("manual").arg(&written))?;
    let places = [
        ("man5", "usr/share/man/man5"),
        ("man8", "usr/share/man/man8"),
        ("zsh/_gatemq", "usr/share/zsh/vendor-completions/_gatemq"),
        ("bash/gatemq.bash", "usr/share/bash-completion/completions/gatemq"),
        ("fish/gatemq.fish", "usr/share/fish/vendor_completions.d/gatemq.fish"),
    ];
    for (from, to) in places {
        let (from, to) = (written.join(from), tree.join(to));
        let parent = to.parent().unwrap_or(tree);
        let moved = fs::create_dir_all(parent).and_then(|()| fs::rename(&from, &to));
        moved.map_err(|e| format!("{} to {}: {e}", from.display(), to.display()))?;
    }
    fs::remove_dir_all(&written).map_err(|e| format!("{}: {e}", written.display()))?;
    let page = tree.join("usr/share/man/man8/gatemq.8");
    let of_commands = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
    write(&page, of_commands + &read("packaging/man/gatemq.8.more")?)
}

/// What an author of plugins needs: the crates, the template, and what is to be read first.
pub(super) fn plugin_dev(tree: &Path) -> Result<(), String> {
    let sources = tree.join(SOURCES);
    for directory in ["plugin-api", "templates"] {
        let files = files_below(&workspace().join(directory));
        // Tests of ours need the rest of the workspace.
        let wanted = files.iter().filter_map(|file| file.strip_prefix(workspace()).ok());
        for file in wanted.filter(|file| directory == "templates" || !file.iter().any(|part| part == "tests")) {
            let name = file.display().to_string();
            let mut text = read(&name)?;
            if name == "templates/plugin/cargo-generate.toml" {
                text.push_str(&format!("default = \"/{SOURCES}\"\n"));
            }
            write(&sources.join(file), text)?;
        }
    }
    write(&sources.join("Cargo.toml"), reduced(&read("Cargo.toml")?)?)?;
    write(&sources.join("Cargo.lock"), read("Cargo.lock")?)?;
    let docs = tree.join("usr/share/doc/gatemq-plugin-dev");
    write(&docs.join("README.md"), read("plugin-api/README.md")?)?;
    write(&docs.join("changelog"), read("CHANGELOG.md")?)?;
    gzip(&docs.join("changelog"))
}

/// The workspace's manifest with [`MEMBERS`] alone.
fn reduced(manifest: &str) -> Result<String, String> {
    let mut manifest: toml::Table = manifest.parse().map_err(|e| format!("Cargo.toml: {e}"))?;
    let workspace = manifest.get_mut("workspace").and_then(|w| w.as_table_mut()).ok_or("Cargo.toml: no workspace")?;
    workspace.insert("members".into(), MEMBERS.map(toml::Value::from).to_vec().into());
    workspace.remove("exclude");
    let dependencies = workspace.get_mut("dependencies").and_then(|d| d.as_table_mut());
    let path = |dependency: &toml::Value| dependency.get("path").and_then(|p| p.as_str()).map(str::to_owned);
    dependencies
        .ok_or("Cargo.toml: no workspace.dependencies")?
        .retain(|_, dependency| path(dependency).is_none_or(|path| MEMBERS.contains(&path.as_str())));
    let about = "# Sources of what plugins for GateMQ depend on: name plugin-api (and, for tests, plugin-api/testkit) by path.\n";
    toml::to_string(&manifest).map(|text| format!("{about}{text}")).map_err(|e| e.to_string())
}

/// Compresses a file in its place; the same bytes each time.
pub(super) fn gzip(file: &Path) -> Result<(), String> {
    succeeds(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(file))
}

/// Gives everything in a tree the time of these sources, and modes that no umask has had a part in.
pub(super) fn seal(tree: &Path, epoch: u64) -> Result<(), String> {
    let sealed = |path: &Path| -> std::io::Result<()> {
        let about = fs::symlink_metadata(path)?;
        let is_program = about.permissions().mode() & 0o100 != 0;
        let mode = match (about.is_dir(), is_program) {
            (true, _) if path.ends_with(KEYS) => 0o750,
            (false, _) if path.ends_with(USERS) => 0o640,
            (true, _) | (false, true) => 0o755,
            (false, false) => 0o644,
        };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        File::open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(epoch))
    };
    let seal = |path: &Path| sealed(path).map_err(|e| format!("{}: {e}", path.display()));
    for entry in fs::read_dir(tree).map_err(|e| format!("{}: {e}", tree.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", tree.display()))?.path();
        if path.is_dir() { self::seal(&path, epoch)? } else { seal(&path)? }
    }
    seal(tree)
}
