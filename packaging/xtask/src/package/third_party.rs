//! Whose code is in the binaries: each crate with its licence, and the texts that it asks to be passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use gatemq_tests::artifacts::cargo;
use gatemq_tests::workspace;
use serde_json::Value;

use crate::install::said;

/// How names of files begin that a licence asks to be passed on.
const NOTICES: [&str; 4] = ["license", "licence", "copying", "notice"];

/// All of them, one after another. Equal texts stand there once, under all names that they belong to.
pub(super) fn notices() -> Result<String, String> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["--format-version", "1", "--locked", "--filter-platform", &platform];
    let metadata = said(cargo("metadata").current_dir(workspace()).args(arguments))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| format!("cargo metadata: {e}"))?;
    let linked = linked(&metadata);
    let mut list = String::from("Libraries that are part of GateMQ's programs, with their licences.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in values(&metadata["packages"]) {
        if package["source"].is_null() || !linked.contains(text(&package["id"])) {
            continue;
        }
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        list += &format!("{name}: {}\n", text(&package["license"]));
        let directory = Path::new(text(&package["manifest_path"])).parent().unwrap_or(Path::new("/"));
        for notice in notices_in(directory)? {
            texts.entry(notice).or_default().push(name.clone());
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(notice, names)| (names, notice)).collect();
    texts.sort();
    for (names, notice) in texts {
        let rule = "=".repeat(100);
        list += &format!("\n{rule}\n{}\n{rule}\n{}\n", names.join(", "), notice.trim_end());
    }
    Ok(list)
}

/// What the packaged programs are made of: their dependencies, and those of these, but for what only builds and tests need.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> =
        values(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let is_root = |id: &&str| id.contains("/host#") || (id.contains("/plugins/") && !id.contains("/plugins/test-"));
    let mut open: Vec<&str> = nodes.keys().copied().filter(is_root).collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !linked.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| values(&node["deps"]));
        let of_kind = dependencies.filter(|of| values(&of["dep_kinds"]).any(|kind| kind["kind"].is_null()));
        open.extend(of_kind.map(|of| text(&of["pkg"])));
    }
    linked
}

/// The texts beside a crate's manifest.
fn notices_in(directory: &Path) -> Result<Vec<String>, String> {
    let cannot = |e: std::io::Error| format!("{}: {e}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if file.is_file() && NOTICES.iter().any(|begin| name.starts_with(begin)) {
            found.push(String::from_utf8_lossy(&fs::read(&file).map_err(cannot)?).replace('\r', ""));
        }
    }
    found.sort();
    Ok(found)
}

fn values(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
