//! What the pages of `packaging/doc` name exists, and what exists is named there: keys, events, exit codes, commands.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::workspace;

/// Words of TLS that are told in an event, and are none.
const OF_TLS: [&str; 4] = ["CertRevoked", "UnknownRevocationStatus", "CrlExpired", "UnknownIssuer"];

/// Of names of files, which look like keys.
const FILE_ENDINGS: [&str; 2] = ["toml", "key"];

/// Name and text of each page but the generated one.
fn pages() -> Vec<(String, String)> {
    let directory = workspace().join("packaging/doc");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let pages = files.map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), read(file)));
    pages.filter(|(name, _)| name != "events.md").collect()
}

fn read(file: PathBuf) -> String {
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// What is between single backticks outside of blocks.
fn words(page: &str) -> Vec<String> {
    let outside: String = page.split("```").step_by(2).collect();
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned)).collect()
}

fn gatemq(arguments: &[&str]) -> String {
    let output = Command::new(Artifacts::get().broker()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every key, as a list of names with `*` for what operators choose.
fn keys() -> Vec<Vec<String>> {
    let annotated = read(workspace().join("host/src/config/keys.rs"));
    let quoted = annotated.split('"').skip(1).step_by(2);
    let is_key = |text: &&str| {
        text.contains('.') && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._*".contains(c))
    };
    quoted.filter(is_key).map(|key| key.split('.').map(str::to_owned).collect()).collect()
}

fn is_key(keys: &[Vec<String>], path: &[&str]) -> bool {
    let fits =
        |key: &Vec<String>| key.len() >= path.len() && key.iter().zip(path).all(|(k, name)| k == "*" || k == name);
    keys.iter().any(fits)
}

/// Paths of all values of a table, as far as the broker's own keys go: what is below a plugin's `config` is the plugin's.
fn paths(table: &toml::Table, above: &[String], found: &mut Vec<Vec<String>>) {
    for (name, value) in table {
        let path = [above, std::slice::from_ref(name)].concat();
        match value.as_table() {
            Some(_) if path.len() == 3 && path[0] == "plugins" && path[2] == "config" => {}
            Some(table) => paths(table, &path, found),
            None => found.push(path),
        }
    }
}

/// Issue 7, item 9: each key that a page names exists.
#[test]
fn keys_of_the_pages_exist() {
    let keys = keys();
    assert!(keys.len() > 80, "the table is read");
    let tables: BTreeSet<_> = keys.iter().map(|key| key[0].clone()).collect();
    let (mut named, mut written) = (0, 0);
    for (page, text) in pages() {
        for word in words(&text) {
            let path: Vec<&str> = word.split('.').collect();
            let is_meant = path.len() > 1
                && tables.contains(path[0])
                && !word.contains([' ', '/'])
                && !FILE_ENDINGS.contains(&path[1]);
            if is_meant {
                named += 1;
                assert!(is_key(&keys, &path), "{page}: `{word}` is no key");
            }
        }
        for block in blocks(&text.replace("\n   ", "\n"), "toml") {
            if block.starts_with("# users.toml") {
                continue;
            }
            let table: toml::Table = block.parse().unwrap_or_else(|e| panic!("{page}: {e}\n{block}"));
            let mut found = Vec::new();
            paths(&table, &[], &mut found);
            for path in found {
                written += 1;
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                assert!(is_key(&keys, &path), "{page}: {} is no key", path.join("."));
            }
        }
    }
    assert!(named > 20 && written > 15, "the pages are read: {named} {written}");
}

/// Issue 7, item 9: each event that a page names exists.
#[test]
fn events_of_the_pages_exist() {
    let events = read(workspace().join("packaging/doc/events.md"));
    let is_name = |word: &str| {
        word.len() > 4
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.chars().filter(char::is_ascii_uppercase).count() > 1
            && word.chars().any(|c| c.is_ascii_lowercase())
    };
    let mut named = 0;
    for (page, text) in pages() {
        for word in words(&text).iter().filter(|word| is_name(word) && !OF_TLS.contains(&word.as_str())) {
            named += 1;
            assert!(events.contains(&format!("[{word}](#")), "{page}: `{word}` is no event");
        }
    }
    assert!(named > 20, "the pages are read: {named}");
}

/// Every command that does something, as words.
fn commands(above: &[&str], found: &mut BTreeSet<String>) {
    let help = gatemq(&[above, &["--help"]].concat());
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next())
        .collect();
    if listed.is_empty() {
        found.insert(above.join(" "));
    }
    listed.iter().for_each(|name| commands(&[above, &[name]].concat(), found));
}

/// Issue 7, item 9: each command of a page exists, with its options; and each that exists is on the page of commands.
#[test]
fn commands_of_the_pages_exist() {
    let mut all = BTreeSet::new();
    commands(&[], &mut all);
    assert!(all.contains("deny add") && all.len() > 15, "{all:?}");
    let mut shown = 0;
    for (page, text) in pages() {
        let of_blocks = blocks(&text.replace("\n   ", "\n"), "sh");
        let lines = of_blocks.iter().flat_map(|block| block.lines().map(str::to_owned)).chain(words(&text));
        for line in lines.filter(|line| line.starts_with("gatemq ") && !line.contains("COMMAND")) {
            shown += 1;
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            if words[0].starts_with('-') {
                continue;
            }
            let command = all.iter().find(|command| (words.join(" ") + " ").starts_with(&format!("{command} ")));
            // A family, such as `gatemq store`.
            let is_family = all.iter().any(|command| command.starts_with(&format!("{} ", words.join(" "))));
            let Some(command) = command else {
                assert!(is_family, "{page}: `{line}` is no command");
                continue;
            };
            let help = gatemq(&[&command.split(' ').collect::<Vec<_>>()[..], &["--help"]].concat());
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{page}: `{line}`: no option {option}");
            }
        }
    }
    assert!(shown > 40, "the pages are read: {shown}");
    let page = read(workspace().join("packaging/doc/commands.md"));
    for command in &all {
        assert!(page.contains(&format!("| `gatemq {command}` |")), "commands.md lacks `gatemq {command}`");
    }
}

/// Numbers behind `const EXIT_…: u8 = `, in all of the broker's sources.
fn exit_codes(directory: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            exit_codes(&path, found);
            continue;
        }
        let text = read(path);
        let constants = text.lines().filter(|line| line.contains("const EXIT_") && line.contains(": u8 = "));
        found.extend(constants.map(|line| line.rsplit(' ').next().unwrap().trim_end_matches(';').to_owned()));
    }
}

/// Issue 7, item 9: the exit codes of the pages are those of the program, each way.
#[test]
fn exit_codes_are_documented() {
    let mut codes = BTreeSet::from(["0".to_owned()]);
    exit_codes(&workspace().join("host/src"), &mut codes);
    assert!(codes.len() > 8, "the sources are read: {codes:?}");
    let page = read(workspace().join("packaging/doc/troubleshooting.md"));
    let (_, table) = page.split_once("## Exit codes").unwrap();
    for code in &codes {
        assert!(table.contains(&format!("\n| {code} | ")), "troubleshooting.md lacks exit code {code}");
    }
    for (page, text) in pages() {
        let told =
            text.split("exit code ").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
        let rows = text.split("| exit code |").skip(1).flat_map(|table| {
            let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
            rows.map(|row| row.split('|').nth(1).unwrap().trim())
        });
        for code in told.chain(rows).filter(|code| !code.is_empty()) {
            assert!(codes.contains(code), "{page}: there is no exit code {code}");
        }
    }
}
