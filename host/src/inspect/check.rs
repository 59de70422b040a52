//! `gatemq plugin check`.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, INTERFACE_VERSION, Instance, Library, LibraryFile, Wanted};
use serde_json::{Value, json};

use super::{Of, STOP_WAIT, client, config, map, name_of, print, run, start};
use crate::app::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::command::{shown, table};
use crate::platform;

/// How long a plugin may look at its configuration, and how long it may take for a batch of no events.
const CHECK_WAIT: Duration = Duration::from_secs(10);

/// Looks at a library, and starts it for a moment where its configuration is good: in a process of its own, unless `here`, since a library
/// that crashes takes its process with it.
pub(crate) fn check(of: &Of, here: bool) -> ExitCode {
    if here { look_here(of) } else { look_elsewhere(of) }
}

fn look_elsewhere(of: &Of) -> ExitCode {
    let looked = std::env::current_exe().and_then(|this| {
        let mut other = Command::new(this);
        other.args(["plugin", "check", "--here"]).args(of.json.then_some("--json"));
        if let Some(config) = &of.config_file {
            other.arg("--plugin-config").arg(config);
        }
        other.arg("--").arg(&of.file).status()
    });
    let why = match looked {
        Ok(status) => match platform::exit_code(status) {
            Ok(code) => return ExitCode::from(u8::try_from(code).unwrap_or(EXIT_UNAVAILABLE)),
            Err(by) => format!(
                "wanted a library that can be used, found one that ended the process by {by}; it would take a broker with it"
            ),
        },
        Err(e) => format!("a process to look at it cannot be started: {e}"),
    };
    print(of.json, &json!({ "file": of.file.display().to_string(), "usable": false, "refused": why }), people);
    ExitCode::from(EXIT_UNAVAILABLE)
}

fn look_here(of: &Of) -> ExitCode {
    run(async {
        let mut report = json!({ "file": of.file.display().to_string() });
        let code = look(of, &mut report).await;
        report["usable"] = (code == 0).into();
        print(of.json, &report, people);
        ExitCode::from(code)
    })
}

/// Puts down what is found; the exit code.
async fn look(of: &Of, report: &mut Value) -> u8 {
    let refused = |report: &mut Value, why: String| {
        report["refused"] = why.into();
        EXIT_UNAVAILABLE
    };
    let file = match LibraryFile::read(&of.file, &Wanted::default()) {
        Ok(file) => file,
        Err(refusal) => return refused(report, refusal.reason.to_string()),
    };
    report["sha256"] = file.sha256().to_string().into();
    report["bytes"] = file.len().into();
    report["compiler"] = file.compiler().into();
    // Another user runs the broker, maybe: it is told, and no reason to look no further.
    if let Err(refusal) = LibraryFile::read(&of.file, &Wanted { owner_checked: true, sha256: None }) {
        report["owner"] = refusal.reason.to_string().into();
    }
    let library = match map(file).await {
        Ok(library) => library,
        Err(why) => return refused(report, why),
    };
    let info = library.info();
    report["interface"] = info.interface.clone().into();
    report["name"] = info.name.clone().into();
    report["version"] = info.version.clone().into();
    report["api_version"] = info.api_version.clone().into();
    report["roles"] = info.roles().into();
    match library.config_keys(CHECK_WAIT).await {
        Ok(keys) => report["keys"] = serde_json::from_str(&keys).unwrap_or_default(),
        Err(failure) => return refused(report, format!("it cannot say which keys its configuration has: {failure}")),
    }
    configured(of, library, report).await
}

/// What it says of its configuration; with a good one it is tried.
async fn configured(of: &Of, library: Library, report: &mut Value) -> u8 {
    let config = match config(of.config_file.as_deref()) {
        Ok(config) => config,
        Err(why) => {
            report["config"] = why.into();
            return EXIT_CONFIG;
        }
    };
    match library.check_config(config.clone(), CHECK_WAIT).await {
        Ok(()) => report["config"] = "good".into(),
        Err(failure) => {
            report["config"] = failure.to_string().into();
            // Without a file nobody has said that it should do without.
            let is_wrong = of.config_file.is_some() || !matches!(failure, CallFailure::Failed(_));
            return if is_wrong { EXIT_CONFIG } else { 0 };
        }
    }
    let mut steps = Vec::new();
    let passed = self_test(of, library, config, &mut steps).await;
    report["self_test"] = steps.into();
    if passed { 0 } else { EXIT_UNAVAILABLE }
}

/// Starts it, calls each of its roles once, and stops it. Whether all went well.
async fn self_test(of: &Of, library: Library, config: String, steps: &mut Vec<Value>) -> bool {
    let mut tell = |step: &str, began: Instant, result: Result<String, String>| {
        let passed = result.is_ok();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let said = result.unwrap_or_else(|why| why);
        steps.push(json!({ "step": step, "passed": passed, "says": said, "took_ms": took_ms }));
        passed
    };
    let began = Instant::now();
    let instance = match start(library, &name_of(&of.file), config).await {
        Ok(instance) => instance,
        Err(why) => return tell("start", began, Err(why)),
    };
    let mut passed = tell("start", began, Ok("ready".into()));
    if instance.info().auth {
        let began = Instant::now();
        let outcome = instance.authenticate(&client::nobody()).await;
        let said = outcome.map(|outcome| super::answer::word(&outcome).to_owned()).map_err(|e| e.to_string());
        passed &= tell("a client without name and certificate", began, said);
    }
    if instance.info().events {
        let began = Instant::now();
        let interest = instance.interest().await;
        let said = interest.map(|interest| format!("classes {:#x}, {} kinds", interest.classes, interest.kinds.len()));
        passed &= tell("interest", began, said.map_err(|e| e.to_string()));
        let began = Instant::now();
        passed &= tell("a batch without events", began, collect(&instance).await);
    }
    let began = Instant::now();
    let stopped = instance.stop(STOP_WAIT).await;
    passed & tell("stop", began, stopped.map(|()| "stopped".into()).map_err(|e| e.to_string()))
}

async fn collect(instance: &Arc<Instance>) -> Result<String, String> {
    let instance = instance.clone();
    let collecting = tokio::task::spawn_blocking(move || instance.collect(&[]));
    match tokio::time::timeout(CHECK_WAIT, collecting).await {
        Ok(Ok(Ok(()))) => Ok("taken".into()),
        Ok(Ok(Err(failure))) => Err(failure.to_string()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("not taken within {CHECK_WAIT:?}")),
    }
}

fn people(report: &Value) -> String {
    let mut lines = vec![shown(&report["file"])];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<14} {text}"));
    if report["sha256"].is_string() {
        line("contents", format!("{} bytes, SHA-256 {}", shown(&report["bytes"]), shown(&report["sha256"])));
        line("compiler", shown(&report["compiler"]));
    }
    if report["interface"].is_string() {
        line("interface", format!("{} (this broker: {INTERFACE_VERSION})", shown(&report["interface"])));
        let api = shown(&report["api_version"]);
        let (name, version) = (shown(&report["name"]), shown(&report["version"]));
        line("package", format!("{name} {version}, built with gatemq-plugin-api {api}"));
        line("roles", shown(&report["roles"]));
    }
    let keys = report["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let cells = |key: &Value| {
        let needed = if key["needed"] == true { "yes" } else { "" };
        vec![shown(&key["key"]), needed.to_owned(), shown(&key["takes"])]
    };
    match keys.is_empty() {
        true if report["keys"].is_array() => line("keys", "none".into()),
        true => {}
        false => {
            let rows: Vec<_> = keys.iter().map(cells).collect();
            let table = table::render(&["KEY", "NEEDED", "TAKES"], &rows);
            table.lines().enumerate().for_each(|(n, row)| line(if n == 0 { "keys" } else { "" }, row.to_owned()));
        }
    }
    let problems = report["config"].as_str().unwrap_or_default();
    let lines_of = |text: &str| text.lines().map(|line| shown(&line.into())).collect::<Vec<_>>();
    lines_of(problems)
        .into_iter()
        .enumerate()
        .for_each(|(n, text)| line(if n == 0 { "configuration" } else { "" }, text));
    for (n, step) in report["self_test"].as_array().map_or(&[][..], Vec::as_slice).iter().enumerate() {
        let result = if step["passed"] == true { "passed" } else { "FAILED" };
        let (name, says, took) = (shown(&step["step"]), shown(&step["says"]), shown(&step["took_ms"]));
        line(if n == 0 { "self test" } else { "" }, format!("{result}: {name}: {says} ({took} ms)"));
    }
    if let Some(why) = report["owner"].as_str() {
        line("owner", format!("refused where plugin_host.owner_checked is on: {}", shown(&why.into())));
    }
    lines.push(verdict(report));
    lines.join("\n") + "\n"
}

/// The last line.
fn verdict(report: &Value) -> String {
    match (&report["refused"], report["usable"] == true) {
        (Value::String(why), _) => format!("refused: {}", shown(&why.as_str().into())),
        (_, true) if report["self_test"].is_array() => "it can be used".into(),
        (_, true) => "it can be used; its configuration is wanted for a self test: give it with --plugin-config".into(),
        (_, false) if report["self_test"].is_array() => "it cannot be used: the self test failed".into(),
        (_, false) => "it cannot be used with this configuration".into(),
    }
}
