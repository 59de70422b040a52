//! Pages that a newcomer follows, `packaging/doc/walk.md` and `quick-start.md`: what stands there is run as it stands, with other
//! directories, ports and addresses. Needs `openssl`, as its reader does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::cluster::{self, an_address};
use gatemq_tests::pki::{Credentials, from_pem};
use gatemq_tests::{PATIENCE, wait_for, workspace};
use tempfile::TempDir;

/// What a shell on the newcomer's machine has: `gatemq` of this build, which finds its configuration, and the service manager. The
/// packages are installed by `cargo xtask installed`; a restart is the test's.
const MACHINE: &str = r#"set -eu
gatemq() {
    case "$1" in
        pki|passwd|version) "$PROGRAM" "$@" ;;
        *) "$PROGRAM" "$@" --config "$ETC/gatemq.toml" ;;
    esac
}
systemctl() { if [ "$1" = reload ]; then gatemq check && gatemq reload; fi; }
apt() { :; }
mosquitto_sub() { :; }
"#;

/// A page, and the directory that stands for `/etc/gatemq`.
struct Walk {
    page: String,
    etc: PathBuf,
    /// Where its reader is.
    here: TempDir,
    addresses: [String; 2],
}

/// The broker as it is installed, but for where its files are.
fn installed(name: &str) -> Setup {
    let setup = Setup::new().name(name);
    let etc = setup.directory().to_owned();
    for directory in ["conf.d", "tls"] {
        fs::create_dir(etc.join(directory)).unwrap();
    }
    let packaged = |file: &str| fs::read_to_string(workspace().join("packaging/etc").join(file)).unwrap();
    fs::write(etc.join("users.toml"), packaged("users.toml")).unwrap();
    let bundled = Artifacts::get().broker().parent().unwrap().to_owned();
    let socket = etc.join("admin.sock").display().to_string();
    let text = packaged("gatemq.toml").replace("/run/gatemq/admin.sock", &socket);
    setup.toml(&elsewhere(&text, &etc)).environment("GATEMQ_PLUGIN_HOST__BUNDLED_DIR", &bundled)
}

fn elsewhere(text: &str, etc: &Path) -> String {
    let text = text.replace("/etc/gatemq", &etc.display().to_string()).replace(" -g gatemq", "");
    text.replace("127.0.0.1:1883", "127.0.0.1:0").replace("0.0.0.0:8883", "127.0.0.1:0")
}

impl Walk {
    fn new(page: &str, setup: &Setup) -> Walk {
        let page = fs::read_to_string(workspace().join("packaging/doc").join(page)).unwrap();
        let addresses = [(); 2].map(|()| an_address().to_string());
        Walk { page, etc: setup.directory().to_owned(), here: tempfile::tempdir().unwrap(), addresses }
    }

    /// Blocks of a language below a heading or in a step that begins like this, in their order.
    fn blocks(&self, step: &str, language: &str) -> Vec<String> {
        let (_, rest) = self.page.split_once(&format!("\n{step}")).unwrap_or_else(|| panic!("no step {step}"));
        let ends = ["\n## ", "\n1. ", "\n2. ", "\n3. ", "\n4. ", "\n5. ", "\n6. ", "\n7. "];
        let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        let step = rest[..end].replace("\n   ", "\n");
        let blocks = step.split("```").skip(1).step_by(2);
        blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned)).collect()
    }

    /// Runs a block in the reader's shell, with this on its standard input: what it prints.
    fn run_with(&self, block: &str, input: &str) -> String {
        let file = self.here.path().join("input");
        fs::write(&file, input).unwrap();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{MACHINE}{}", elsewhere(block, &self.etc))).current_dir(self.here.path());
        shell.env("PROGRAM", Artifacts::get().broker()).env("ETC", &self.etc).stdin(fs::File::open(file).unwrap());
        shell.env("GATEMQ_PLUGIN_HOST__BUNDLED_DIR", Artifacts::get().broker().parent().unwrap());
        let output = shell.output().unwrap();
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{block}\n{said}");
        said
    }

    fn run(&self, block: &str) -> String {
        self.run_with(block, "")
    }

    /// Writes a file of the page into `conf.d`.
    fn configure(&self, etc: &Path, file: &str, text: &str) {
        let text = text.replace("10.0.0.1", &self.addresses[0]).replace("10.0.0.2", &self.addresses[1]);
        fs::write(etc.join("conf.d").join(file), elsewhere(&text, etc)).unwrap();
    }

    /// What a device of a fleet brings to the listener.
    fn tls(&self, fleet: Option<&str>) -> Tls {
        let file = |name: &str| self.here.path().join("pki").join(name);
        let root = from_pem(&fs::read_to_string(file("servers-ca.crt")).unwrap()).remove(0);
        let device = fleet.map(|fleet| {
            Credentials::read(&file(&format!("{fleet}-pump-1.crt")), &file(&format!("{fleet}-pump-1.key")))
        });
        Tls::trusting(root, device.as_ref()).server_name("mqtt.example.com")
    }

    /// `pump-1` of a fleet, connected.
    fn pump(&self, broker: &Broker, fleet: &str) -> Client {
        let at = broker.address("secure");
        let mut client = Client::tls(at, &self.tls(Some(fleet)), Version::V5).unwrap();
        assert_eq!(client.connect("pump-1").unwrap(), 0, "{fleet}");
        client
    }

    /// Follows events as the page says, and has `cause` happen until each of these is told.
    fn watch(&self, block: &str, kinds: &[&str], mut cause: impl FnMut()) {
        let words = block.trim().strip_prefix("gatemq ").expect("one command");
        let mut tail = Command::new(Artifacts::get().broker());
        tail.args(words.split(' ')).arg("--config").arg(self.etc.join("gatemq.toml")).stdout(Stdio::piped());
        let mut tail = tail.spawn().unwrap();
        let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::sync_channel(1000);
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.try_send(line))));
        let mut missing = kinds.to_vec();
        wait_for("they are told", PATIENCE, || {
            cause();
            let seen: Vec<String> = told.try_iter().collect();
            missing.retain(|kind| !seen.iter().any(|line| line.contains(kind)));
            missing.is_empty().then_some(())
        });
        tail.kill().unwrap();
        tail.wait().unwrap();
        reader.join().unwrap();
    }
}

/// Guards "a newcomer who only reads can": certificates, a fleet with a tenant for each anchor, events, a ban, a second node.
#[test]
fn a_newcomer_comes_from_nothing_to_two_nodes() {
    let setup = installed("node-1");
    let walk = Walk::new("walk.md", &setup);
    let mut broker = setup.start();
    assert!(walk.run(&walk.blocks("## 1. ", "sh")[0]).contains(env!("CARGO_PKG_VERSION")));
    let certificates = walk.blocks("## 2. ", "sh");
    walk.run(&certificates.concat());
    let [files, reload, subscribe, look] = &walk.blocks("## 3. ", "sh")[..] else { panic!("four blocks") };
    walk.run(&format!("cd pki\n{files}"));
    let fleet = &walk.blocks("## 3. ", "toml")[0];
    walk.configure(&walk.etc, "fleet.toml", fleet);
    let said = walk.run(reload);
    assert!(said.contains("the configuration is good") && said.contains("secure") && said.contains("fleet"), "{said}");
    broker.look_again();
    let filter = subscribe.trim().rsplit(' ').next().unwrap().trim_matches('"');
    let (mut acme, mut umbra) = (walk.pump(&broker, "acme"), walk.pump(&broker, "umbra"));
    assert_eq!((acme.subscribe(filter, 0), umbra.subscribe(filter, 0)), (0, 0));
    assert_eq!(acme.published("devices/pump-1/up", 1, false, b"of acme"), 0);
    assert_eq!(acme.message().1, b"of acme");
    umbra.ping();
    let said = walk.run(look);
    assert!(said.contains("acme") && said.contains("umbra") && said.contains("allow"), "{said}");

    walk.watch(&walk.blocks("## 4. ", "sh")[0], &["TlsHandshakeFailed", "PublishDenied"], || {
        let nobody = Client::tls(broker.address("secure"), &walk.tls(None), Version::V5);
        assert!(nobody.and_then(|mut client| client.connect("pump-1")).is_err(), "without a certificate");
        assert_eq!(umbra.published("devices/pump-2/up", 1, false, b"x"), 0x87);
    });

    let [ban, lift] = &walk.blocks("## 5. ", "sh")[..] else { panic!("two blocks") };
    assert!(walk.run(ban).contains("sends rubbish"));
    assert_eq!(acme.expect_goodbye(), Some(0x98), "administrative action");
    let mut again = Client::tls(broker.address("secure"), &walk.tls(Some("acme")), Version::V5).unwrap();
    assert_eq!(again.connect("pump-1").unwrap(), 0x8A, "banned");
    umbra.ping();
    walk.run(lift);
    drop(walk.pump(&broker, "acme"));

    let [nodes, status] = &walk.blocks("## 6. ", "sh")[..] else { panic!("two blocks") };
    walk.run(nodes);
    let cluster = &walk.blocks("## 6. ", "toml")[0];
    walk.configure(&walk.etc, "cluster.toml", cluster);
    let second = installed("node-2");
    let etc = second.directory().to_owned();
    for file in ["server.crt", "server.key", "acme-ca.crt", "umbra-ca.crt", "clients-ca.crt", "ca.pem", "cluster.key"] {
        fs::copy(walk.etc.join("tls").join(file), etc.join("tls").join(file)).unwrap();
    }
    for file in ["node-2.pem", "node-2.key"] {
        fs::copy(walk.here.path().join("node-2").join(file), etc.join("tls").join(file)).unwrap();
    }
    walk.configure(&etc, "fleet.toml", fleet);
    let of_second = cluster.replace("node-1", "node-2").replace("bind = \"10.0.0.1", "bind = \"10.0.0.2");
    walk.configure(&etc, "cluster.toml", &of_second);
    let (ended, setup) = broker.stop_to_start_again();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let brokers = [setup.start(), second.start()];
    cluster::wait_until_whole(&[&brokers[0], &brokers[1]]);
    let said = walk.run(status);
    assert!(said.lines().any(|line| line.contains("node-2") && line.contains("up")), "{said}");
    let mut at_second = walk.pump(&brokers[1], "acme");
    walk.run(ban);
    assert_eq!(at_second.expect_goodbye(), Some(0x98), "banned at the first node");
}

/// Guards the quick start: its user is in, may do what the page says and nothing else, and is kept out.
#[test]
fn the_quick_start_is_as_it_says() {
    let setup = installed("node-1");
    let walk = Walk::new("quick-start.md", &setup);
    // As the package does it.
    let installed = setup.start();
    walk.run_with(&walk.blocks("1. ", "sh")[0], "a right password\n");
    let users = walk.etc.join("users.toml");
    let shown = walk.blocks("1. ", "toml").concat();
    let grants = shown.lines().find(|line| line.starts_with("grants")).expect("what the user may do");
    fs::write(&users, format!("{}{grants}\n", fs::read_to_string(&users).unwrap())).unwrap();
    walk.configure(&walk.etc, "site.toml", &walk.blocks("2. ", "toml")[0]);
    let said = walk.run(&walk.blocks("3. ", "sh")[0]);
    assert!(said.contains("the configuration is good") && said.contains("site.toml"), "{said}");
    assert_eq!(walk.blocks("4. ", "sh")[0].trim(), "gatemq run");
    let (_, setup) = installed.stop_to_start_again();
    let broker = setup.start();
    let connect = |password| {
        let mut client = Client::tcp(broker.address("local"), Version::V5).unwrap();
        (client.connect_as("p1", Some(("pump", password))).unwrap(), client)
    };
    assert_eq!(connect("a wrong password").0, 0x86);
    let (code, mut client) = connect("a right password");
    assert_eq!((code, client.subscribe("devices/p1/#", 0)), (0, 0));
    assert_eq!(client.published("devices/p1/up", 1, false, b"x"), 0);
    assert_eq!(client.message().0, "devices/p1/up");
    assert_eq!(client.published("devices/p2/up", 1, false, b"x"), 0x87, "as the page says");
    let said = walk.run(&walk.blocks("6. ", "sh")[0]);
    assert!(said.contains("p1") && said.contains("allow"), "{said}");
    let said = walk.run(&walk.blocks("7. ", "sh")[0]);
    assert!(said.contains("sends rubbish"), "{said}");
    assert_eq!(client.expect_goodbye(), Some(0x98), "kept out");
    assert_eq!(connect("a right password").0, 0, "it was lifted");
}
