//! Issue 7, "Bad input gets": what an operator does wrong, or his machine, is told with file, line and what to do, and loses nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use gatemq_tests::PATIENCE;
use gatemq_tests::artifacts::run;
use gatemq_tests::broker::{Broker, Ended, Setup};
use gatemq_tests::client::{Client, Received, Version};
use gatemq_tests::pki::{Files, Pki};
use gatemq_tests::session::{Connect, Level, ack};

/// A listener with TLS and these files; `more` goes into its table.
fn secure(setup: Setup, files: &Files, more: &str) -> Setup {
    setup.faults("").toml(&format!(
        "[listeners.secure]\nkind = \"mqtts\"\nbind = \"127.0.0.1:0\"\n[listeners.secure.tls]\ncertificate_file = {:?}\n\
         private_key_file = {:?}\n{more}",
        files.certificate, files.key
    ))
}

/// The line that says all of it, and begins with file and line of the configuration.
fn told(ended: &Ended, code: u8, says: &[&str]) {
    assert_eq!(ended.code, Some(code.into()), "{}", ended.log);
    let is_it = |line: &str| {
        let at = line.split_once("gatemq.toml:").and_then(|(_, rest)| rest.split_once(": "));
        at.is_some_and(|(at, _)| at.parse::<usize>().is_ok()) && says.iter().all(|what| line.contains(what))
    };
    assert!(ended.log.lines().any(is_it), "{says:?}\n{}", ended.log);
}

/// TLS files that cannot be used stop the check, and a start; the twin has good ones.
#[test]
fn tls_files_that_do_not_fit_are_named() {
    let pki = Pki::new("Acme");
    let files = |setup: &Setup, name: &str| pki.server().write(setup.directory(), name);
    let case = |change: &dyn Fn(&Setup, &mut Files), more: &str| {
        let setup = Setup::new();
        let mut of = files(&setup, "server");
        change(&setup, &mut of);
        secure(setup, &of, more).check()
    };
    let good = case(&|_, _| {}, "");
    assert!(good.code == Some(0) && good.log.is_empty(), "{good:?}");
    let key = "listeners.secure.tls.private_key_file: ";
    let ended = case(&|setup, of| of.key = files(setup, "other").key, "");
    told(&ended, 78, &[key, "other.key: is not the key of the first certificate in"]);
    let ended = case(&|_, of| of.key = of.certificate.clone(), "");
    told(&ended, 78, &[key, "holds no unencrypted private key", "openssl pkey"]);
    let ended = case(&|_, of| of.certificate = PathBuf::from("/nothing/server.crt"), "");
    told(&ended, 78, &["listeners.secure.tls.certificate_file: /nothing/server.crt: cannot be read"]);
    let ended = case(&|_, _| {}, "client_auth = \"required\"\nclient_ca_file = \"/dev/null\"");
    told(&ended, 78, &["listeners.secure.tls.client_ca_file: /dev/null: ", "BEGIN CERTIFICATE"]);
}

/// What is no reason to refuse a configuration is told all the same, by the check and at a start: a certificate that is over or soon
/// is, a list that is out of date, a key that everybody may read. The twin, whose files are good, says nothing (above).
#[test]
fn what_is_out_of_date_or_open_to_all_is_told() {
    let pki = Pki::new("Acme");
    let setup = || {
        let setup = Setup::new();
        let expired = pki.server_with(&["localhost"], |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        });
        let files = expired.write(setup.directory(), "server");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        let (root, lists) = (pki.write_root(setup.directory()), setup.directory().join("lists.pem"));
        fs::write(&lists, pki.lists(&[], false)).unwrap();
        let more = format!("client_auth = \"required\"\nclient_ca_file = {root:?}\nclient_crl_file = {lists:?}");
        secure(setup, &files, &more)
    };
    let wanted: [&[&str]; 3] = [
        &["listeners.secure.tls.certificate_file: ", "expired", "gatemq reload"],
        &["listeners.secure.tls.private_key_file: ", "(mode 644)", "chmod 640"],
        &["listeners.secure.tls.client_crl_file: ", "is out of date", "fetch a new one"],
    ];
    let checked = setup().check();
    wanted.iter().for_each(|says| told(&checked, 0, says));
    assert!(checked.log.lines().all(|line| line.starts_with("warning: ")), "{}", checked.log);
    let started = setup().start().stop();
    wanted.iter().for_each(|says| told(&started, 0, says));
}

/// A port that another has is named, with how to find out who; so is a directory that cannot be.
#[test]
fn a_port_and_a_directory_that_cannot_be_had_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let setup = || Setup::new().faults("").toml(&format!("[listeners.mqtt]\nkind = \"mqtt\"\nbind = \"{at}\""));
    let ended = setup().try_start().err().expect("somebody else has the port");
    told(&ended, 69, &["listeners.mqtt.bind: ", "cannot be bound", &format!("ss -ltnp sport = :{}", at.port())]);
    for directory in ["/dev/null", "/proc/gatemq"] {
        let set = format!("node.data_dir={directory}");
        let ended = Setup::new().mqtt("mqtt").faults("").argument("--set").argument(&set).try_start();
        let ended = ended.err().expect("nothing can be kept there");
        assert_eq!(ended.code, Some(69), "{}", ended.log);
        let says = [&format!("node.data_dir: {directory}/store: "), "name another directory", "(set by --set)"];
        assert!(ended.log.lines().any(|line| says.iter().all(|what| line.contains(what))), "{says:?}\n{}", ended.log);
    }
    drop(taken);
    assert_eq!(setup().start().stop().code, Some(0));
}

/// What a later version wrote is left alone, by the broker and by `gatemq store`; as it was it is taken again.
#[test]
fn a_data_directory_of_a_later_version_is_left_alone() {
    let (ended, setup) = Setup::new().mqtt("mqtt").faults("").start().stop_to_start_again();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let format = setup.data_directory().join("store/format");
    let before = fs::read_to_string(&format).unwrap();
    let later = before.replace('1', "99");
    fs::write(&format, &later).unwrap();
    let copy = Setup::new().mqtt("mqtt").faults("").argument("--set");
    let ended = copy.argument(&format!("node.data_dir={}", setup.data_directory().display())).try_start();
    let ended = ended.err().expect("it is of a later version");
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    for says in ["has format 99", "knows up to 1", "start the version that wrote it"] {
        assert!(ended.log.contains(says), "{says}\n{}", ended.log);
    }
    assert_eq!(fs::read_to_string(&format).unwrap(), later, "nothing was changed");
    fs::write(&format, before).unwrap();
    assert_eq!(setup.start().stop().code, Some(0));
}

/// A small file system, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    /// `None`, and a line that says so, for whoever is not root.
    fn under(setup: &Setup) -> Option<Small> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("no file system can be mounted here: that takes root");
            return None;
        }
        let small = Small(setup.data_directory());
        fs::create_dir_all(&small.0).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "gatemq-test"]).arg(&small.0));
        Some(small)
    }

    fn grow(&self) {
        run(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn publisher(broker: &Broker) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
    assert_eq!(client.connect("publisher").unwrap(), 0);
    client
}

/// A disk that is full: nothing is acknowledged that is not kept, the node says so and ends, and when there is room again all is there
/// that was acknowledged, in order.
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let setup = Setup::new().mqtt("mqtt").faults(r##"config.grants = [{ allow = ["all"], filter = "#" }]"##);
    let Some(disk) = Small::under(&setup) else { return };
    let mut broker = setup.start();
    let mut client = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
    client.greet(&Connect::stays(Level::V311, "stays"));
    assert_eq!(client.subscribe("a", 1), 1);
    client.disconnect();
    let mut publisher = publisher(&broker);
    let mut acknowledged = 0_u32;
    for number in 0..1000_u32 {
        let payload = [&number.to_be_bytes()[..], &[7; 32_000]].concat();
        if publisher.publish("a", 1, &payload).is_err() {
            break;
        }
        match publisher.receive(PATIENCE).unwrap() {
            Received::Packet(packet) if packet.first == ack::PUBACK => acknowledged = number + 1,
            _ => break,
        }
    }
    assert!((10..500).contains(&acknowledged), "{acknowledged}");
    broker.wait_for_log("what failed, and why", |line| line.contains("StoreFailed") && line.contains("No space left"));
    broker.wait_for_log("what it does now", |line| line.contains("the store failed") && line.contains("next start"));
    gatemq_tests::wait_for("it ends", PATIENCE, || (!broker.is_running()).then_some(()));
    let (ended, setup) = broker.stop_to_start_again();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    disk.grow();
    let broker = setup.start();
    let mut client = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
    assert!(client.greet(&Connect::stays(Level::V311, "stays")).session_present);
    for number in 0..acknowledged {
        assert_eq!(client.take_message().payload[..4], number.to_be_bytes(), "of {acknowledged}");
    }
    drop(broker.stop());
}
