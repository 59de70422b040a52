//! Promise 3, libraries: what is no plugin for this broker is refused with one line that names the file, what was wanted and
//! what was found; before any of its code runs, where that is possible.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::outside;
use gatemq_tests::pki::Pki;

/// A library, and what the line must say besides the file.
struct Refused {
    file: PathBuf,
    says: [&'static str; 2],
}

/// The broker does not start when it requires the library; otherwise it starts without it, says so, and serves.
fn check(refused: &Refused) {
    let pki = Pki::new("Acme");
    let name = refused.file.file_name().unwrap().to_string_lossy().into_owned();
    let with = |required: bool| {
        let setup = Setup::new().mqtts("secure", &pki, "required", "").fleet(&pki).tape();
        setup.plugin("wrong", &refused.file, &format!("required = {required}"))
    };
    let is_the_line = |line: &str| {
        line.contains(&name)
            && line.contains("wanted")
            && line.contains("found")
            && refused.says.iter().all(|s| line.contains(s))
    };
    let ended =
        with(true).try_start().err().unwrap_or_else(|| panic!("{name} is required, refused, and the broker runs"));
    assert_eq!(ended.code, Some(69), "{name}: {}", ended.log);
    assert!(ended.log.lines().any(is_the_line), "{name}: no line says {:?}:\n{}", refused.says, ended.log);

    let mut broker = with(false).start();
    broker.wait_for_log(&name, is_the_line);
    let event = broker.tape().wait_for("PluginRefused", |e| e["event"] == "PluginRefused");
    assert_eq!(event["fields"]["plugin"], "wrong");
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    Client::admitted(broker.address("secure"), &tls, Version::V5, "sensor-1");
}

fn good() -> PathBuf {
    Artifacts::get().plugin("auth-certificate")
}

fn changed(directory: &Path, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, change(fs::read(good()).unwrap())).unwrap();
    file
}

fn half(bytes: Vec<u8>) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

/// Zeroes e_shoff, e_shentsize, e_shnum and e_shstrndx of a 64-bit ELF header.
fn without_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[0x28..0x30].fill(0);
    bytes[0x3A..0x40].fill(0);
    bytes
}

/// Files that are no library, half a library, or one for another machine.
#[test]
fn promise_3_damaged_and_foreign_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    // Never the same, and never an ELF file.
    let mut number = u64::from(std::process::id()) | 1 << 40;
    let mut random = || {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number.to_be_bytes()
    };
    let bytes: Vec<u8> = (0..1000).flat_map(|_| random()).collect();
    for refused in [
        Refused { file: changed(directory.path(), "librandom.so", |_| bytes), says: ["dynamic library", "none"] },
        Refused { file: changed(directory.path(), "libempty.so", |_| Vec::new()), says: ["dynamic library", "none"] },
        Refused { file: changed(directory.path(), "libhalf.so", half), says: ["dynamic library", "none"] },
        // Without its section table, as some tools leave it, only the segments tell that something is missing.
        Refused {
            file: changed(directory.path(), "libcut.so", |b| {
                // Within the segments, before the debug information.
                let cut = b.len() / 8;
                without_sections(b)[..cut].to_vec()
            }),
            says: ["bytes", "cut off"],
        },
        Refused {
            // e_machine: 0xF3 is RISC-V.
            file: changed(directory.path(), "libforeign.so", |mut b| {
                b[18..20].copy_from_slice(&[0xF3, 0]);
                b
            }),
            says: ["for", "Riscv64"],
        },
        Refused { file: directory.path().join("libmissing.so"), says: ["", "No such file"] },
    ] {
        check(&refused);
    }
}

/// C libraries. What is refused before it is loaded cannot have run its constructor.
#[test]
fn promise_3_c_libraries_are_refused_and_their_constructors_do_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("the-constructor-ran");
    let constructor = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void ran(void) {{ open({marker:?}, O_CREAT | O_WRONLY, 0600); }}\n"
    );
    let plain = outside::c_library(directory.path(), "constructor", &constructor);
    let small = outside::c_library(directory.path(), "small", &format!("{constructor}int gatemq_plugin = 1;\n"));
    let large = format!("{constructor}char gatemq_plugin[65536] = {{1}};\n");
    let large = outside::c_library(directory.path(), "large", &large);
    // That the constructor works where it is let: the twin.
    assert!(Command::new("true").env("LD_PRELOAD", &plain).status().unwrap().success());
    assert!(marker.exists(), "this test's constructor does nothing");
    fs::remove_file(&marker).unwrap();
    check(&Refused { file: plain, says: ["gatemq_plugin", "none"] });
    check(&Refused { file: small, says: ["gatemq_plugin", "4 bytes"] });
    check(&Refused { file: large, says: ["abi_stable", "another"] });
    assert!(!marker.exists(), "the constructor of a refused library ran");
}

/// Real plugins that do not fit: panics that abort, another major version, another layout under the same version.
#[test]
fn promise_3_plugins_that_do_not_fit_are_refused() {
    for refused in [
        Refused { file: outside::panic_abort(), says: ["unwind", "abort"] },
        Refused { file: outside::other_major(), says: ["1.0.0", "2.0.0"] },
        Refused { file: outside::other_layout(), says: ["layout", "1.0.0"] },
    ] {
        check(&refused);
    }
}

/// The twin of all these: the same plugin, built outside the workspace from `plugin-api` alone, is loaded and admits.
#[test]
fn promise_3_a_plugin_built_outside_the_workspace_is_loaded() {
    let pki = Pki::new("Acme");
    let config = "config.tenant = \"outside\"\nconfig.rules = [{ allow = [\"all\"], filter = \"#\" }]";
    let setup = Setup::new().mqtts("secure", &pki, "required", "").plugin("admit", &outside::plugin(), config);
    let mut broker = setup.tape().start();
    let tls = Tls::new(&pki, Some(&pki.client("anybody")));
    let mut client = Client::admitted(broker.address("secure"), &tls, Version::V5, "anybody");
    assert_eq!(client.subscribe("a/#", 0), 0);
    client.publish("a/b", 0, b"x").unwrap();
    assert_eq!(client.message(), ("a/b".to_owned(), b"x".to_vec()));
    let connected = broker.tape().wait_for_client("ClientConnected", "anybody");
    assert_eq!((&connected["tenant"], &connected["user"]), (&"outside".into(), &"anybody".into()));
    assert!(fixture_lines() <= 25, "the fixture is to show how short a plugin is");
}

fn fixture_lines() -> usize {
    let source = gatemq_tests::workspace().join("tests/fixtures/outside-plugin/src/lib.rs");
    fs::read_to_string(source).unwrap().lines().count()
}
