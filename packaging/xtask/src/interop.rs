//! `cargo xtask test --interop`: other people's clients, installed here, against the real broker.
//!
//! Each client has a script in `tests/interop/` that prints a line a scenario. A client that cannot be installed, a cell of
//! the table that nobody spoke of, and a broker that saw another certificate chain than the client has are failures.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use gatemq_tests::artifacts::{cargo, target_directory};
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, workspace};
use serde_json::{Value, json};

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
/// Everything is allowed but this.
const GRANTS: &str = r##"config.grants = [
    { deny = ["all"], filter = "secret/#" },
    { allow = ["all"], filter = "#", share_groups = ["*"] },
]"##;
/// What must run, and the package of Debian and its kin that brings it.
const PROGRAMS: [(&[&str], &str); 4] = [
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
    let mut table = Table::default();
    let began = Instant::now();
    let scripts = install().unwrap_or_else(|why| {
        println!("FAILED  install: {why}");
        Vec::new()
    });
    if scripts.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("installed in {} s", began.elapsed().as_secs());
    let pki = Pki::new("Acme");
    let mut broker = start(&pki);
    let environment = describe(&broker, &pki);
    for script in scripts {
        table.listen(script, &environment);
    }
    table.compare_chains(&broker);
    table.look_for_breaches(&mut broker);
    let ended = broker.stop();
    if ended.code != Some(0) {
        table.problem(format!("the broker ended with {:?}:\n{}", ended.code, ended.log));
    }
    table.sum_up()
}

/// Installs the clients; the commands that run their scripts.
fn install() -> Result<Vec<Command>, String> {
    let (here, there) = (workspace().join("tests/interop"), target_directory().join("interop"));
    fs::create_dir_all(&there).map_err(|e| format!("{}: {e}", there.display()))?;
    programs()?;
    let venv = there.join("venv");
    let python = venv.join("bin/python");
    // Whatever was left half done, or made by a Python that is gone, is made again.
    if succeeds(Command::new(&python).args(["-m", "pip", "--version"])).is_err() {
        succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let requirements = here.join("requirements.txt");
    succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    copy(&here, &there, "package.json")?;
    copy(&here, &there, "mqttjs.mjs")?;
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

/// Sees to it that every one of [`PROGRAMS`] runs: root installs the packages of those that do not, anybody else is told to.
fn programs() -> Result<(), String> {
    let runs = |program: &[&str]| succeeds(Command::new(program[0]).args(&program[1..]));
    let missing = || PROGRAMS.iter().filter(|(program, _)| runs(program).is_err()).map(|(_, package)| *package);
    if !is_root() {
        let packages = missing().collect::<Vec<_>>().join(" ");
        let ask = format!("missing: {packages}; as root: apt-get install {packages}");
        return if packages.is_empty() { Ok(()) } else { Err(ask) };
    }
    // One after another: some packages bring the program of the next.
    for (program, package) in PROGRAMS {
        if runs(program).is_ok() {
            continue;
        }
        println!("installing {package}");
        let install = ["install", "--yes", "--no-install-recommends", package];
        // The lists of packages may be old, or absent.
        let installed = apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)));
        installed.map_err(|why| format!("{program:?} does not run, and {package} cannot be installed: {why}"))?;
        runs(program).map_err(|why| format!("{package} is installed, and still: {why}"))?;
    }
    Ok(())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() == 0)
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    succeeds(apt.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"]).args(arguments))
}

fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn copy(from: &Path, to: &Path, name: &str) -> Result<(), String> {
    fs::copy(from.join(name), to.join(name)).map(drop).map_err(|e| format!("{name}: {e}"))
}

fn start(pki: &Pki) -> Broker {
    let setup = Setup::new().tape().faults(GRANTS);
    let server = pki.server().write(setup.directory(), "server");
    let root = pki.write_root(setup.directory());
    let listeners: String = TRANSPORTS
        .map(|(name, kind, client_auth)| {
            let mut text = format!("[listeners.{name}]\nkind = {kind:?}\nbind = \"127.0.0.1:0\"\n");
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
    });
    let file = directory.join("interop.json");
    fs::write(&file, text.to_string()).expect("a file");
    file
}

/// What the scripts said.
#[derive(Default)]
struct Table {
    /// How many scenarios went well, how many did not.
    cells: BTreeMap<Cell, (usize, usize)>,
    problems: Vec<String>,
}

impl Table {
    fn problem(&mut self, what: String) {
        println!("FAILED  {what}");
        self.problems.push(what);
    }

    /// Runs a script and takes down what it says.
    fn listen(&mut self, mut script: Command, environment: &Path) {
        let name = format!("{script:?}");
        println!("── {name}");
        let spawned = script.env("GATEMQ_INTEROP", environment).stdout(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(e) => return self.problem(format!("{name}: {e}")),
        };
        let failed_before = self.failed();
        for line in BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok) {
            println!("{line}");
            let mut words = line.splitn(5, ' ').map(str::to_owned);
            let (how, cell) = (words.next(), (words.next(), words.next(), words.next()));
            let (Some(how @ ("ok" | "FAILED")), (Some(client), Some(version), Some(transport))) =
                (how.as_deref(), cell)
            else {
                continue;
            };
            self.count((client, version, transport), how == "ok");
        }
        let status = child.wait().expect("the process is ours");
        if !status.success() && self.failed() == failed_before {
            self.problem(format!("{name}: {status}, though no scenario failed"));
        }
    }

    fn count(&mut self, cell: Cell, well: bool) {
        let (ok, failed) = self.cells.entry(cell).or_default();
        *if well { ok } else { failed } += 1;
    }

    fn failed(&self) -> usize {
        self.cells.values().map(|(_, failed)| failed).sum()
    }

    /// Promise 2 with other people's clients: the plugin saw the three certificates that the client has.
    fn compare_chains(&mut self, broker: &Broker) {
        let pem = fs::read_to_string(broker.directory().join("client.crt")).expect("the client's certificate");
        let hex = |der: &[u8]| der.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let own: Vec<String> = gatemq_tests::pki::from_pem(&pem).iter().map(|der| hex(der)).collect();
        for cell in expected() {
            let (client, version, transport) = &cell;
            if !transport.ends_with("-cert") {
                continue;
            }
            let seen = seen(broker, &client_id(&cell));
            let chain = seen.map(|seen| seen["tls"]["chain"].clone());
            let well = chain == Some(json!(own)) && own.len() == 3;
            println!("{} {client} {version} {transport} chain of three", if well { "ok" } else { "FAILED" });
            self.count(cell, well);
        }
    }

    /// In the broker's eyes no client broke a rule, and each left with a DISCONNECT when it wanted to.
    fn look_for_breaches(&mut self, broker: &mut Broker) {
        for cell in expected() {
            let name = client_id(&cell);
            let left = |e: &Value| e["event"] == "ClientDisconnected" && e["client_id"] == name.as_str();
            match broker.tape().find(PATIENCE, left) {
                Some(event) if event["fields"]["reason"] == "ClientDisconnected" => {}
                Some(event) => self.problem(format!("{name} did not leave with a DISCONNECT: {event}")),
                None => self.problem(format!("{name} was not seen to leave")),
            }
        }
        for event in broker.tape().events() {
            if event["fields"]["reason"].as_str().is_some_and(|reason| BREACHES.contains(&reason)) {
                self.problem(format!("what a sound client does not do: {event}"));
            }
        }
    }

    fn sum_up(self) -> ExitCode {
        let head: Vec<&str> = TRANSPORTS.iter().map(|(name, ..)| *name).collect();
        println!("\n{:<17}{}", "", head.iter().map(|name| format!("{name:>13}")).collect::<String>());
        let (mut bad, mut all) = (self.problems.len(), 0);
        for (client, versions, transports) in CLIENTS {
            for version in versions {
                print!("{:<17}", format!("{client} {version}"));
                for (at, transport) in head.iter().enumerate() {
                    let cell = (client.to_owned(), (*version).to_owned(), (*transport).to_owned());
                    let text = match self.cells.get(&cell) {
                        None if at >= transports => "-".to_owned(),
                        None => "MISSING".to_owned(),
                        Some((ok, 0)) => format!("{ok} ok"),
                        Some((ok, failed)) => format!("{failed}/{} FAILED", ok + failed),
                    };
                    bad += usize::from(text.contains("MISSING") || text.contains("FAILED"));
                    all += usize::from(text != "-");
                    print!("{text:>13}");
                }
                println!();
            }
        }
        println!("interop: {all} cells, {bad} problems");
        if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Every cell that must be there.
fn expected() -> impl Iterator<Item = Cell> {
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
