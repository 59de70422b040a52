//! Man pages and shell completions. The program writes them itself, out of its command line and its table of keys, so that they
//! say what it does.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use crate::cli::Cli;
use crate::config::keys::{KEYS, Key, Kind};

/// What stands before the keys of gatemq.toml(5).
const ABOUT: &[&str] = &[
    "Values come from layers, of which the later win: built-in defaults, /etc/gatemq/gatemq.toml (or the file that --config names), \
     the files conf.d/*.toml beside it by name, environment variables (GATEMQ_LOG__LEVEL sets log.level), and --set KEY=VALUE. \
     Each file is TOML.",
    "A key that is not known is an error, and so is a value that its key does not take. gatemq check names all of them, with file and \
     line; gatemq config show --origin prints every value in effect, and where it came from.",
    "Relative paths count from the directory of the file that holds them. NAME stands for a name that you choose. What a plugin takes \
     below [plugins.NAME.config] it says itself: gatemq plugin check FILE.",
    "After a change, systemctl reload gatemq has a running broker read its configuration again. Of what takes effect only at a start it \
     names the keys.",
];

/// Writes all of them below `directory`, as packages have them: `man5`, `man8`, and a folder for each shell.
pub(crate) fn run(directory: &Path) -> ExitCode {
    match write(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let of_section = |section: &str| {
        let directory = directory.join(format!("man{section}"));
        std::fs::create_dir_all(&directory).map(|()| directory)
    };
    std::fs::write(of_section("5")?.join("gatemq.toml.5"), configuration())?;
    let mut cli = Cli::command();
    cli.build();
    commands(&cli, &of_section("8")?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let directory = directory.join(shell.to_string());
        std::fs::create_dir_all(&directory)?;
        clap_complete::generate_to(shell, &mut Cli::command(), "gatemq", &directory)?;
    }
    Ok(())
}

/// A page for each command, `gatemq-deny-add.8`, and one for all, `gatemq.8`.
fn commands(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        commands(subcommand, directory)?;
    }
    let page = Man::new(command.clone()).section("8").source(source()).manual("GateMQ");
    page.generate_to(directory).map(drop)
}

fn source() -> String {
    format!("gatemq {}", env!("CARGO_PKG_VERSION"))
}

/// gatemq.toml(5): every key, a section for each table.
fn configuration() -> String {
    let mut page = Roff::new();
    page.control("TH", ["gatemq.toml", "5", "", &source(), "GateMQ"]);
    page.control("SH", ["NAME"]).text([roman("gatemq.toml - configuration of the MQTT broker gatemq")]);
    page.control("SH", ["DESCRIPTION"]);
    for (n, paragraph) in ABOUT.iter().enumerate() {
        if n > 0 {
            page.control("PP", []);
        }
        page.text([roman(*paragraph)]);
    }
    page.control("SH", ["KEYS"]);
    let mut table = "";
    for key in KEYS {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != table {
            table = of;
            let named = format!("[{}]", of.replace('*', "NAME"));
            page.control("SS", [named.as_str()]);
        }
        page.control("TP", []).text([bold(name), roman(" = "), italic(kind(key.kind))]);
        page.text([roman(told(key))]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("gatemq(8), gatemq-plugins(7), gatemq-tls(7)")]);
    page.to_roff()
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Path => "path".into(),
        Kind::Bool => "true | false".into(),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::Choice(words) => words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" | "),
        Kind::Address => "address:port".into(),
        Kind::Names => "list of names".into(),
        Kind::Texts => "list of texts".into(),
        Kind::Free => "table".into(),
    }
}

/// What a key is for, and what it is without being set.
fn told(key: &Key) -> String {
    match key.default {
        Some(default) => format!("{} Default: {default}.", key.why),
        None => format!("{} Example: {}.", key.why, key.example),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what the pages are for: each command and each of its options is in the page of that command, each key with its
    /// purpose in gatemq.toml(5), and each shell completes each command.
    #[test]
    fn pages_say_all() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.path().join(file)).unwrap();
        let mut cli = Cli::command();
        cli.build();
        let mut commands = vec![&cli];
        let shells = ["bash/gatemq.bash", "zsh/_gatemq", "fish/gatemq.fish"].map(read);
        while let Some(command) = commands.pop() {
            let page = read(&format!("man8/{}.8", command.get_display_name().unwrap_or(command.get_name())));
            for option in command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(|a| a.get_long()) {
                assert!(page.contains(&format!("\\-\\-{}", option.replace('-', "\\-"))), "{option}: {page}");
            }
            for shell in &shells {
                assert!(shell.contains(command.get_name()), "{}", command.get_name());
            }
            commands.extend(command.get_subcommands().filter(|c| !c.is_hide_set()));
        }
        assert!(!directory.path().join("man8/gatemq-manual.8").exists(), "a hidden command has a page");
        let page = read("man5/gatemq.toml.5").replace('\\', "");
        for key in KEYS {
            let name = key.path.rsplit('.').next().unwrap();
            assert!(page.contains(&format!("fB{name}fR = ")), "{}: {page}", key.path);
            assert!(page.contains(&key.why.replace('\\', "")), "{}: {page}", key.path);
        }
    }
}
