//! `gatemq import mosquitto`: another broker's configuration becomes one of this broker.
//!
//! | module | what it does |
//! |---|---|
//! | [`conf`] | reads mosquitto.conf and what it includes, line by line, into settings |
//! | [`acl`] | the ACL file: rules of users, of anonymous clients, and of all |
//! | [`passwords`] | the password file |
//! | [`write`](mod@write) | the two files of this broker |
//!
//! Every line is told: what became of it, or that it has no counterpart. What cannot be understood ends it before anything is written:
//! half of somebody's rules are none.

mod acl;
mod conf;
mod passwords;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code: a file is not what it should be (sysexits: EX_DATAERR).
const EXIT_DATA: u8 = 65;
/// Exit code: a file cannot be read (EX_NOINPUT).
const EXIT_NO_INPUT: u8 = 66;
/// Exit code: a file is there already, or cannot be written (EX_CANTCREAT).
const EXIT_CANNOT_CREATE: u8 = 73;

/// Why it ends.
enum Failure {
    /// What is wrong in a file, a line each.
    Data(Vec<String>),
    /// What cannot be read.
    NoInput(String),
    /// What cannot be written.
    CannotCreate(String),
}

/// What is told of each line, in the order of reading.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    /// Lines without a counterpart.
    left_out: usize,
    wrong: Vec<String>,
}

/// Where a line is.
#[derive(Clone, Copy)]
struct At<'a> {
    file: &'a Path,
    line: usize,
}

impl Report {
    /// It became something.
    fn done(&mut self, at: At<'_>, what: &str, became: &str) {
        self.lines.push(format!("{}:{}: {what}: {became}", at.file.display(), at.line));
    }

    /// It has no counterpart.
    fn left_out(&mut self, at: At<'_>, what: &str, why: &str) {
        self.left_out += 1;
        self.lines.push(format!("{}:{}: {what}: NOT TAKEN: {why}", at.file.display(), at.line));
    }

    /// It cannot be understood.
    fn wrong(&mut self, at: At<'_>, why: &str) {
        self.wrong.push(format!("{}:{}: {why}", at.file.display(), at.line));
    }
}

/// Runs it.
pub(crate) fn mosquitto(file: &Path, out: &Path) -> ExitCode {
    let mut report = Report::default();
    match import(file, out, &mut report) {
        Ok((config, users)) => {
            report.lines.iter().for_each(|line| println!("{}", printable(line)));
            println!("{}: the configuration; look at it with `gatemq check --config {0}`", config.display());
            println!("{}: the users, with their passwords and grants", users.display());
            println!("{} lines have no counterpart (NOT TAKEN above); messages and sessions are not taken along", {
                report.left_out
            });
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let (lines, code) = match failure {
                Failure::Data(lines) => (lines, EXIT_DATA),
                Failure::NoInput(line) => (vec![line], EXIT_NO_INPUT),
                Failure::CannotCreate(line) => (vec![line], EXIT_CANNOT_CREATE),
            };
            lines.iter().for_each(|line| eprintln!("gatemq: {}", printable(line)));
            eprintln!("gatemq: nothing was written");
            ExitCode::from(code)
        }
    }
}

fn import(file: &Path, out: &Path, report: &mut Report) -> Result<(PathBuf, PathBuf), Failure> {
    let settings = conf::read(file, report)?;
    let passwords = match &settings.password_file {
        Some(file) => passwords::read(file, report)?,
        None => Vec::new(),
    };
    let rules = settings.acl_file.as_ref().map(|file| acl::read(file, report)).transpose()?;
    if !report.wrong.is_empty() {
        return Err(Failure::Data(std::mem::take(&mut report.wrong)));
    }
    write::write(out, file, &settings, &passwords, rules.as_ref(), report)
}

/// Quotes as they are, but nothing that a terminal would obey.
fn printable(line: &str) -> String {
    let shown = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    line.chars().map(shown).collect()
}

/// The text of a file.
fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::NoInput(format!("{}: cannot be read: {e}", file.display())))
}
