//! A store that another broker has, and a store that is damaged.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use gatemq_tests::Kind;
use gatemq_tests::broker::{Ended, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};

use super::setup;

/// A broker whose data directory is another's.
fn at(data: &Path) -> Setup {
    setup().argument("--set").argument(&format!("node.data_dir={}", data.display()))
}

/// Does not start, as what it needs is not there, and says these in one line.
fn refused(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    let is_told = ended.log.lines().any(|line| says.iter().all(|word| line.contains(word)));
    assert!(is_told, "no line says {says:?}:\n{}", ended.log);
}

/// Two brokers would each overwrite what the other has acknowledged: the second one is refused, and the first goes on.
#[test]
fn promise_5_a_second_broker_on_the_same_data_is_refused() {
    let first = setup().start();
    let data = first.directory().join("data");
    let ended = at(&data).try_start().err().expect("two brokers on the same data");
    let store = data.join("store");
    refused(&ended, &[&store.to_string_lossy(), "is held by another process", &first.pid().to_string()]);
    let mut client = Client::tcp(first.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect("still-served").unwrap(), 0);
    // With another directory, and with this one when it is free.
    at(&tempfile::tempdir().unwrap().path().join("data")).start();
    let kept = first.kill();
    at(&kept.data_directory()).start();
}

/// What a session and its queue are, for [`is_whole`].
fn fill(setup: Setup) -> Setup {
    let (broker, tls) = (setup.start(), Tls::new(&Pki::new("Acme"), None));
    let (mut away, _) = broker.joined(Kind::Mqtt, &tls, &Connect::stays(Level::V311, "away"));
    assert_eq!(away.subscribe("t", 1), 1);
    away.break_off();
    let (mut other, _) = broker.joined(Kind::Mqtt, &tls, &Connect::new(Level::V5, "other"));
    for n in 0..100 {
        assert_eq!(other.published("t", 1, false, n.to_string().as_bytes()), 0);
    }
    broker.stop_to_start_again().1
}

fn is_whole(setup: Setup) {
    let (broker, tls) = (setup.start(), Tls::new(&Pki::new("Acme"), None));
    let (mut away, present) = broker.joined(Kind::Mqtt, &tls, &Connect::stays(Level::V311, "away"));
    assert!(present);
    for n in 0..100 {
        assert_eq!(away.take_message().text(), n.to_string());
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A store of which something acknowledged is missing is not opened, and the file is named; an untouched copy is.
#[test]
fn promise_5_a_damaged_store_is_refused_by_name() {
    let (stopped, place) = (fill(setup()), tempfile::tempdir().unwrap());
    let whole = stopped.data_directory();
    let untouched = place.path().join("untouched");
    copy(&whole, &untouched);
    is_whole(at(&untouched));
    let mut count = 0;
    for (n, file) in files(&whole).into_iter().enumerate() {
        let name = file.strip_prefix(&whole).unwrap();
        let bytes = fs::read(&file).unwrap();
        let Some(used) = bytes.iter().rposition(|byte| *byte != 0) else { continue };
        let data = place.path().join(n.to_string());
        copy(&whole, &data);
        let cut = OpenOptions::new().write(true).open(data.join(name)).unwrap();
        cut.set_len(used as u64 / 2).unwrap();
        match at(&data).try_start() {
            Err(ended) => {
                refused(&ended, &[&name.to_string_lossy(), "damaged"]);
                count += 1;
            }
            // It held nothing that is needed.
            Ok(broker) => {
                broker.kill();
                is_whole(at(&data));
            }
        }
    }
    assert!(count > 0, "no harm was seen");
}
