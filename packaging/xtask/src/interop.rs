//! `cargo xtask test --interop`: other people's clients, installed here, against the real broker.
//!
//! Each client has a script in `tests/interop/` that prints a line a scenario. A client that cannot be installed, a scenario of
//! the table in `README.md` there that nobody spoke of, and a broker that saw another certificate chain than the client has are
//! failures.

mod features;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use features::Features;
use gatemq_tests::artifacts::{Artifacts, cargo, target_directory};
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, workspace};
use serde_json::{Value, json};
use table::Table;

use crate::install::{self, Program, succeeds};

/// Transport as the scripts call it, kind of listener, `client_auth`.
const TRANSPORTS: [(&str, &str, Option<&str>); 6] = [
    ("mqtt", "mqtt", None),
    ("mqtts", "mqtts", Some("none")),
    ("mqtts-cert", "mqtts", Some("required")),
    ("ws", "ws", None),
    ("wss", "wss", Some("none")),
    ("wss-cert", "wss", Some("required")),
];
/// Client, versions, how many of [`TRANSPORTS`].
const CLIENTS: [(&str, &[&str], usize); 4] = [
    ("mosquitto", &["3.1", "3.1.1", "5"], 3),
    ("paho", &["3.1", "3.1.1", "5"], 6),
    ("mqttjs", &["3.1", "3.1.1", "5"], 6),
    ("rumqttc", &["3.1.1", "5"], 3),
];
/// What `test-faults` says of clients without user name. Everything is allowed but `secret/#`.
const FAULTS: &str = r##"config.response_info = "answers/"
config.grants = [
    { deny = ["all"], filter = "secret/#" },
    { allow = ["all"], filter = "#", share_groups = ["*"] },
    { allow = ["subscribe", "unsubscribe"], filter = "$SYS/#" },
]"##;
/// The user of `auth-file`, and the password.
const USER: (&str, &str) = ("tourist", "a right password");
/// The scenario that is looked at here.
const CHAIN: &str = "chain of three";
/// Each scenario gives up on its own; this is for a script that hangs.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(220);
/// What must run, and the package of Debian and its kin that brings it.
const PROGRAMS: [Program; 4] = [
    // Asked for their version they exit with 1.
    (&["sh", "-c", "command -v mosquitto_pub && command -v mosquitto_sub"], "mosquitto-clients"),
    (&["python3", "-c", "import ensurepip, venv"], "python3-venv"),
    (&["node", "--version"], "nodejs"),
    (&["npm", "--version"], "npm"),
];
/// Close reasons that a sound client has no part in.
const BREACHES: [&str; 6] =
    ["PacketMalformed", "ProtocolViolated", "PacketTooLarge", "ClientStalled", "NotSupported", "InternalError"];
/// Where a WebSocket is upgraded.
const PATH: &str = "/mqtt";

/// Client, version, transport.
type Cell = (String, String, String);

pub(crate) fn run() -> ExitCode {
    let page = workspace().join("tests/interop/README.md");
    let features = fs::read_to_string(&page).map_err(|e| vec![e.to_string()]).and_then(|page| Features::read(&page));
    let features = match features {
        Ok(features) => features,
        Err(problems) => {
            problems.iter().for_each(|problem| println!("FAILED  {}: {problem}", page.display()));
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let scripts = match install() {
        Ok(scripts) => scripts,
        Err(why) => {
            println!("FAILED  install: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("installed in {} s", began.elapsed().as_secs());
    let mut table = Table::new(features);
    let pki = Pki::new("Acme");
    let mut broker = start(&pki);
    let environment = describe(&broker, &pki);
    let began = Instant::now();
    run_scripts(scripts, &environment, &mut table);
    compare_chains(&broker, &mut table);
    look_for_breaches(&mut broker, &mut table);
    let ended = broker.stop();
    if ended.code != Some(0) {
        table.problem(format!("the broker ended with {:?}:\n{}", ended.code, ended.log));
    }
    table.sum_up(began.elapsed().as_secs())
}

/// Runs all scripts at the same time and takes down what they say. One that takes longer than [`SCRIPT_PATIENCE`] is killed,
/// and what it has not said is missing.
fn run_scripts(scripts: Vec<Command>, environment: &Path, table: &mut Table) {
    // Bounded: a script that is not listened to waits.
    let (said, lines) = mpsc::sync_channel::<(usize, String)>(64);
    let mut children = Vec::new();
    for (at, mut script) in scripts.into_iter().enumerate() {
        let name = format!("{script:?}");
        println!("── {name}");
        match script.env("GATEMQ_INTEROP", environment).stdout(Stdio::piped()).spawn() {
            Ok(mut child) => {
                let (said, out) = (said.clone(), BufReader::new(child.stdout.take().expect("piped")));
                let (script, began) = (name.clone(), Instant::now());
                // It ends with its script's standard output.
                thread::spawn(move || {
                    let ended = || format!("── {script}: {} s", began.elapsed().as_secs());
                    let lines = out.lines().map_while(Result::ok);
                    lines.chain(iter::once_with(ended)).try_for_each(|line| said.send((at, line)))
                });
                children.push((name, child, false));
            }
            Err(e) => return table.problem(format!("{name}: {e}")),
        }
    }
    drop(said);
    let deadline = Instant::now() + SCRIPT_PATIENCE;
    while let Ok((at, line)) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        children[at].2 |= line.starts_with("FAILED ");
        table.line(&line);
    }
    for (name, mut child, failed) in children {
        if Instant::now() >= deadline {
            // Of one that has ended there is nothing to kill.
            let _ = child.kill();
        }
        let status = child.wait().expect("the process is ours");
        if !status.success() && !failed {
            table.problem(format!("{name}: {status}, though no scenario failed"));
        }
    }
}

/// Promise 2 with other people's clients: the plugin saw the three certificates that the client has.
fn compare_chains(broker: &Broker, table: &mut Table) {
    let pem = fs::read_to_string(broker.directory().join("client.crt")).expect("the client's certificate");
    let hex = |der: &[u8]| der.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let own: Vec<String> = gatemq_tests::pki::from_pem(&pem).iter().map(|der| hex(der)).collect();
    for cell in cells() {
        let (client, version, transport) = &cell;
        if !transport.ends_with("-cert") {
            continue;
        }
        let seen = seen(broker, &client_id(&cell));
        let chain = seen.map(|seen| seen["tls"]["chain"].clone());
        let well = chain == Some(json!(own)) && own.len() == 3;
        println!("{} {client} {version} {transport} {CHAIN}", if well { "ok" } else { "FAILED" });
        table.count(cell, CHAIN, well);
    }
}

/// In the broker's eyes no client broke a rule, and each left with a DISCONNECT when it wanted to.
fn look_for_breaches(broker: &mut Broker, table: &mut Table) {
    for cell in cells() {
        let name = client_id(&cell);
        let left = |e: &Value| e["event"] == "ClientDisconnected" && e["client_id"] == name.as_str();
        match broker.tape().find(PATIENCE, left) {
            Some(event) if event["fields"]["reason"] == "ClientDisconnected" => {}
            Some(event) => table.problem(format!("{name} did not leave with a DISCONNECT: {event}")),
            None => table.problem(format!("{name} was not seen to leave")),
        }
    }
    for event in broker.tape().events() {
        if event["fields"]["reason"].as_str().is_some_and(|reason| BREACHES.contains(&reason)) {
            table.problem(format!("what a sound client does not do: {event}"));
        }
    }
}

/// Installs the clients; the commands that run their scripts.
fn install() -> Result<Vec<Command>, String> {
    let (here, there) = (workspace().join("tests/interop"), target_directory().join("interop"));
    fs::create_dir_all(&there).map_err(|e| format!("{}: {e}", there.display()))?;
    install::programs(&PROGRAMS)?;
    let venv = there.join("venv");
    let python = venv.join("bin/python");
    // Whatever was left half done, or made by a Python that is gone, is made again.
    if succeeds(Command::new(&python).args(["-m", "pip", "--version"])).is_err() {
        succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let requirements = here.join("requirements.txt");
    succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    copy(&here, &there, "package.json")?;
    for script in ["mqttjs.mjs", "mqttjs_5.mjs", "mqttjs_cell.mjs"] {
        copy(&here, &there, script)?;
    }
    let npm = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"];
    succeeds(Command::new("npm").current_dir(&there).args(npm))?;
    let rumqttc = there.join("rumqttc");
    let mut build = cargo("build");
    build.current_dir(here.join("rumqttc")).arg("--locked").arg("--target-dir").arg(&rumqttc);
    succeeds(build.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    let script = |program: &Path, file: PathBuf| {
        let mut command = Command::new(program);
        command.arg(file);
        command
    };
    Ok(vec![
        script(&python, here.join("mosquitto.py")),
        script(&python, here.join("paho_mqtt.py")),
        // Beside node_modules, which it imports from.
        script(Path::new("node"), there.join("mqttjs.mjs")),
        Command::new(rumqttc.join("debug/gatemq-interop-rumqttc")),
    ])
}

pub(crate) fn copy(from: &Path, to: &Path, name: &str) -> Result<(), String> {
    fs::copy(from.join(name), to.join(name)).map(drop).map_err(|e| format!("{name}: {e}"))
}

fn start(pki: &Pki) -> Broker {
    let setup = Setup::new().argument("--set").argument("node.sys_interval_s=1").tape().faults(FAULTS);
    let users = users_file(setup.directory());
    // All cells verify theirs at once.
    let people = format!("timeout_ms = 30000\nconfig.users_file = {users:?}\nconfig.tenant = \"test\"");
    let setup = setup.plugin("people", &Artifacts::get().plugin("auth-file"), &people);
    let setup = setup.toml("[auth]\nchain = [\"people\", \"faults\"]");
    let server = pki.server().write(setup.directory(), "server");
    let root = pki.write_root(setup.directory());
    let listeners: String = TRANSPORTS
        .map(|(name, kind, client_auth)| {
            let mut text = format!(
                "[listeners.{name}]\nkind = {kind:?}\nbind = \"127.0.0.1:0\"\nconnect_ms_max = 30000\n\
                 connections_per_s_max = 0\naddress_connections_per_s_max = 0\n"
            );
            if let Some(client_auth) = client_auth {
                text += &format!(
                    "tls.certificate_file = {:?}\ntls.private_key_file = {:?}\ntls.client_auth = {client_auth:?}\n",
                    server.certificate, server.key
                );
                if client_auth == "required" {
                    text += &format!("tls.client_ca_file = {root:?}\n");
                }
            }
            text
        })
        .concat();
    setup.toml(&listeners).start()
}

/// Users of `auth-file`, made as its users are.
fn users_file(directory: &Path) -> PathBuf {
    let file = directory.join("users.toml");
    let mut passwd = Command::new(Artifacts::get().broker());
    passwd.arg("passwd").arg("--users-file").arg(&file).arg(USER.0).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut passwd = passwd.spawn().expect("the broker's command runs");
    let mut input = passwd.stdin.take().expect("piped");
    input.write_all(format!("{}\n", USER.1).as_bytes()).expect("it reads the password");
    drop(input);
    assert!(passwd.wait().expect("the process is ours").success(), "gatemq passwd fails");
    let mut users = fs::OpenOptions::new().append(true).open(&file).expect("the users file");
    users.write_all(b"grants = [{ allow = [\"all\"], filter = \"#\" }]\n").expect("it is written");
    file
}

/// Writes what the scripts need to know; the file's name.
fn describe(broker: &Broker, pki: &Pki) -> PathBuf {
    let directory = broker.directory();
    let client = pki.client("interop").write(directory, "client");
    let port = |name: &str| broker.address(name).port();
    let ports: BTreeMap<&str, u16> = TRANSPORTS.iter().map(|(name, ..)| (*name, port(name))).collect();
    let text = json!({
        "host": "localhost",
        "path": PATH,
        "ports": ports,
        "ca": pki.write_root(directory),
        "certificate": client.certificate,
        "key": client.key,
        "user": USER.0,
        "password": USER.1,
    });
    let file = directory.join("interop.json");
    fs::write(&file, text.to_string()).expect("a file");
    file
}

/// Every cell that must be there.
fn cells() -> impl Iterator<Item = Cell> {
    CLIENTS.iter().flat_map(|(client, versions, transports)| {
        let names = TRANSPORTS.iter().take(*transports).map(|(name, ..)| *name);
        names.flat_map(move |name| versions.iter().map(move |v| ((*client).into(), (*v).into(), name.into())))
    })
}

/// The client id of a cell's scenario "clean exit".
fn client_id((client, version, transport): &Cell) -> String {
    format!("{}{version}{transport}", &client[..4])
}

/// What the plugin was shown of a client; `None`: it never came.
fn seen(broker: &Broker, client_id: &str) -> Option<Value> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broker.seen(client_id))).ok()
}
