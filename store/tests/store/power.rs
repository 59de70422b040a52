//! Power cuts: what was not synced is gone, what was acknowledged is not. And disks that fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gatemq_store::Store;

use crate::crash::{Acknowledged, child, seed};
use crate::support::open;

/// The library that goes before the C library; built once for each test.
fn shim(directory: &Path) -> PathBuf {
    let (source, library) = (directory.join("power.c"), directory.join("power.so"));
    fs::write(&source, include_str!("power.c")).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(status.expect("a C compiler").success());
    library
}

/// As in the shim.
fn identity(path: &Path) -> String {
    let metadata = fs::metadata(path).unwrap();
    let born = metadata.created().unwrap().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    format!("{}-{}-{}", metadata.ino(), born.as_secs(), born.subsec_nanos())
}

/// What the disk holds of a directory: names as of its last sync, files as of theirs. Returns how many files there are.
fn restore(shadow: &Path, id: &str, to: &Path) -> usize {
    fs::create_dir_all(to).unwrap();
    let Ok(names) = fs::read_to_string(shadow.join(id)) else { return 0 };
    let mut count = 0;
    for line in names.lines() {
        let mut words = line.splitn(3, ' ');
        let (kind, id, name) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let target = to.join(name);
        if kind == "d" {
            count += restore(shadow, id, &target);
        } else if shadow.join(id).exists() {
            // Holes stay holes.
            let copied = Command::new("cp").arg("--sparse=always").args([shadow.join(id), target]).status().unwrap();
            assert!(copied.success());
            count += 1;
        } else {
            fs::write(&target, b"").unwrap();
        }
    }
    count
}

/// Guards promise 5 where a kill is not enough, since that keeps what the system had not written yet.
#[test]
fn a_power_cut_takes_nothing_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let library = shim(place.path());
    let mut random = seed();
    let mut lines = 0;
    for round in 0..6 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [store, shadow, restored] =
            ["store", "shadow", "restored"].map(|name| place.path().join(format!("{name}{round}")));
        fs::create_dir_all(&store).unwrap();
        fs::create_dir_all(&shadow).unwrap();
        let environment: [(&str, &Path); 3] =
            [("LD_PRELOAD", &library), ("GATEMQ_SHADOW", &shadow), ("GATEMQ_SHADOW_OF", &store)];
        let mut child = child(&store, &environment);
        let (seen, id, wanted) = (Arc::new(AtomicU64::new(0)), child.id(), (random >> 33) % 500 + 1);
        let watched = seen.clone();
        let killer = std::thread::spawn(move || {
            while watched.load(Ordering::Acquire) < wanted {
                std::thread::sleep(Duration::from_micros(200));
            }
            Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        });
        let mut acknowledged = Acknowledged::default();
        acknowledged.read(child.stdout.take().unwrap(), &seen);
        seen.store(u64::MAX, Ordering::Release);
        child.wait().unwrap();
        killer.join().unwrap();
        assert!(acknowledged.lines > 0, "round {round}: it has done nothing");
        lines += acknowledged.lines;
        assert!(restore(&shadow, &identity(&store), &restored) > 5, "the shim has recorded nothing");
        let store = open(&restored);
        acknowledged.check(&store);
        store.close().unwrap();
    }
    println!("{lines} appends acknowledged");
}

/// Guards that a disk that fails ends the store: from the first error on nothing is acknowledged, and what was is there.
#[test]
fn after_an_error_nothing_is_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let library = shim(place.path());
    let store = place.path().join("store");
    let mut child = child(&store, &[("LD_PRELOAD", &library), ("GATEMQ_SYNC_FAILS_AFTER", Path::new("120"))]);
    let (mut good, mut failed) = (Vec::new(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.starts_with('+') {
            true => {
                assert_eq!(failed, 0, "acknowledged after the error: {line}");
                good.push(line);
            }
            false => failed += usize::from(line == "failed"),
        }
        if failed == 100 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(good.len() > 10 && failed == 100, "{} good, {failed} failed", good.len());
    let last: u64 = good.last().unwrap().split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    let acknowledged = Acknowledged { appended: [last; 3], ..Acknowledged::default() };
    acknowledged.check(&open(&store));
}
