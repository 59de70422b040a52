//! Several journals: the engine seals one and begins the next while it writes a table. Each of them is damaged.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use gatemq_store::{Embedded, check};

use crate::crash::{Acknowledged, PAYLOAD, child};
use crate::damage::{Harm, copy, harm};
use crate::support::{options, scratch};

fn journals(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory.join("database")) else { return Vec::new() };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut journals: Vec<_> = paths.filter(|path| path.extension().is_some_and(|is| is == "jnl")).collect();
    journals.sort();
    journals
}

/// A store whose process was killed when it had two journals.
fn killed_with_two() -> (tempfile::TempDir, Acknowledged) {
    for _ in 0..20 {
        let directory = scratch();
        let mut child = child(directory.path(), &[(PAYLOAD, Path::new("60000"))]);
        let stdout = child.stdout.take();
        let until = Instant::now() + Duration::from_secs(60);
        let reader = std::thread::spawn(move || {
            let mut acknowledged = Acknowledged::default();
            acknowledged.read(stdout.unwrap(), &Arc::new(AtomicU64::new(0)));
            acknowledged
        });
        while journals(directory.path()).len() < 2 {
            assert!(Instant::now() < until, "there is never a second journal");
            std::thread::sleep(Duration::from_micros(300));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = reader.join().unwrap();
        if journals(directory.path()).len() == 2 {
            return (directory, acknowledged);
        }
    }
    panic!("never killed between two journals");
}

/// Guards that nothing between journals is lost without a word: a sealed one, or the one after it, missing, cut or overwritten.
#[test]
fn every_journal_counts() {
    let (whole, acknowledged) = killed_with_two();
    let names: Vec<_> =
        journals(whole.path()).iter().map(|path| path.strip_prefix(whole.path()).unwrap().to_owned()).collect();
    let checked = check_copy(whole.path());
    let mut refused = 0;
    for name in &names {
        let bytes = checked.iter().find(|(path, _)| path == name).unwrap().1;
        for what in [Harm::Missing, Harm::Cut(0), Harm::Cut(bytes / 2), Harm::Overwritten(bytes / 3, 16)] {
            if bytes == 0 && !matches!(what, Harm::Missing | Harm::Cut(0)) {
                continue;
            }
            let directory = scratch();
            copy(whole.path(), directory.path());
            harm(&directory.path().join(name), what);
            match catch_unwind(AssertUnwindSafe(|| Embedded::open(&options(directory.path())))) {
                Ok(Ok(store)) => acknowledged.check(&store),
                Ok(Err(error)) => {
                    let error = error.to_string();
                    // Of one that is missing nobody knows the name: the one behind the gap is named.
                    let is_gap = matches!(what, Harm::Missing) && error.contains("what is between is gone");
                    let is_named = is_gap || error.contains(&*name.to_string_lossy());
                    assert!(is_named, "{} {what:?}: {error}", name.display());
                    refused += 1;
                }
                Err(_) => panic!("{} {what:?}: a panic", name.display()),
            }
        }
    }
    assert!(refused >= 4, "{refused} of them are refused");
    gone_before_a_torn_one(whole.path(), &names);
    acknowledged.check(&Embedded::open(&options(whole.path())).unwrap_or_else(|error| panic!("{error}")));
}

/// The first one is missing, and of the other there is only the beginning of a commit, as a kill may leave it.
fn gone_before_a_torn_one(whole: &Path, names: &[PathBuf]) {
    let directory = scratch();
    copy(whole, directory.path());
    let [first, last] = [&names[0], &names[1]].map(|name| directory.path().join(name));
    let torn = fs::read(&first).unwrap()[..10].to_vec();
    fs::remove_file(&first).unwrap();
    fs::write(&last, torn).unwrap();
    let error = Embedded::open(&options(directory.path())).err().expect("it is refused").to_string();
    assert!([&names[0], &names[1]].iter().all(|name| error.contains(&*name.to_string_lossy())), "{error}");
}

/// Bytes that count, by name.
fn check_copy(whole: &Path) -> Vec<(PathBuf, u64)> {
    let directory = scratch();
    copy(whole, directory.path());
    let checked = check(directory.path()).unwrap().unwrap();
    let name = |path: &Path| path.strip_prefix(directory.path()).unwrap().to_owned();
    checked.files.iter().map(|file| (name(&file.path), file.bytes)).collect()
}
