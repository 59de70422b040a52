//! `cargo xtask console`: the console page in headless Chromium, installed here, with a real cluster of two nodes behind it.
//!
//! The script `tests/interop/console.mjs` prints a line a check and ends at the first that fails; screenshots are left in
//! `target/interop`.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::target_directory;
use gatemq_tests::broker::TOKEN;
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::cluster;
use gatemq_tests::pki::Pki;
use gatemq_tests::workspace;
use serde_json::json;

use crate::install::{Program, programs, succeeds};
use crate::interop::copy;

/// What must run, and the package of Debian and its kin that brings it.
const PROGRAMS: [Program; 3] =
    [(&["chromium", "--version"], "chromium"), (&["node", "--version"], "nodejs"), (&["npm", "--version"], "npm")];
/// A client identifier that would be markup, and would act on a terminal.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\u{1b}[31m\u{202e}";

pub(crate) fn run() -> ExitCode {
    let there = target_directory().join("interop");
    match install(&there).and_then(|()| walk(&there)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED  console: {why}");
            ExitCode::FAILURE
        }
    }
}

fn install(there: &Path) -> Result<(), String> {
    let here = workspace().join("tests/interop");
    fs::create_dir_all(there).map_err(|e| format!("{}: {e}", there.display()))?;
    programs(&PROGRAMS)?;
    ["package.json", "console.mjs"].iter().try_for_each(|file| copy(&here, there, file))?;
    let npm = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
    succeeds(Command::new("npm").current_dir(there).args(npm))
}

fn walk(there: &Path) -> Result<(), String> {
    let grants = "config.grants = [{ allow = [\"all\"], filter = \"#\" }]";
    let (members, pki) = (cluster::members("console", 2), Pki::new("Acme"));
    let first = members[0].bare().mqtt("mqtt").mqtts("mqtts", &pki, "required", "").faults(grants).http("");
    let mut nodes = cluster::start([first, members[1].setup()]).into_iter();
    let (Some(broker), Some(other)) = (nodes.next(), nodes.next()) else {
        return Err("there are not two nodes".into());
    };
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).map_err(|e| e.to_string())?;
    let code = client.connect_as(HOSTILE, Some(("mallory", ""))).map_err(|e| e.to_string())?;
    if code != 0 || client.subscribe("a/#", 1) != 1 {
        return Err(format!("the client is not served: {code:#04x}"));
    }
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    let mut certified = Client::tls(broker.address("mqtts"), &tls, Version::V5).map_err(|e| e.to_string())?;
    let code = certified.connect_as("sensor", Some(("ann", ""))).map_err(|e| e.to_string())?;
    if code != 0 {
        return Err(format!("the client with a certificate is not served: {code:#04x}"));
    }
    let given = json!({
        "url": format!("http://{}/", broker.http_address()),
        "token": TOKEN,
        // Which the script kills.
        "other_pid": other.pid(),
        "browser": "/usr/bin/chromium",
        "screenshots": there,
    });
    // Beside node_modules, which it imports from.
    let mut script = Command::new("node");
    let status = script.arg(there.join("console.mjs")).env("GATEMQ_CONSOLE", given.to_string()).status();
    let status = status.map_err(|e| format!("node: {e}"))?;
    let ended = broker.stop();
    match (status.success(), ended.code) {
        (true, Some(0)) => Ok(()),
        (true, code) => Err(format!("the broker ended with {code:?}:\n{}", ended.log)),
        (false, _) => Err(format!("{status}")),
    }
}
