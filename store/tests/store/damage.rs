//! Every file of a store, missing, cut or overwritten: either all that was acknowledged is there, or the start is refused and
//! the file named. Never less than was acknowledged, and never a panic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gatemq_store::{Embedded, Op, Options, Retained, SessionId, Store, Subscription, check, wait};

use crate::support::{EVERYTHING, append, done, message, message_of, put_session, scratch};

const SESSIONS: u64 = 5;
const ENTRIES: u64 = 120;

/// A store with tables, a journal with entries that are in no table, and everything of each kind.
fn fill(options: &Options) -> Embedded {
    let store = Embedded::open(options).unwrap();
    for session in 1..=SESSIONS {
        let filter = format!("f/{session}").into();
        let subscription = Subscription { filter, options: 1, identifier: 0 };
        let epoch = gatemq_store::Epoch(1);
        done(&store, [put_session(session), Op::PutSubscription { session: SessionId(session), epoch, subscription }]);
    }
    for seq in 1..=ENTRIES {
        let shared = message("shared", &[seq as u8; 150]);
        done(&store, (1..=SESSIONS).map(|session| append(session, seq, &shared)));
        let message = gatemq_store::Message::new(&format!("r/{seq}"), &[], &[7; 50], u64::MAX).unwrap();
        let (user, client_id, tags) = ("u".into(), "c".into(), Box::default());
        let retained = Retained { message, qos: 1, withheld: false, user, client_id, tags, leaf_sha256: None };
        done(&store, [Op::PutRetained { tenant: "t".into(), retained }]);
    }
    store
}

/// Whether all of [`fill`] is there.
fn holds_everything(store: &dyn Store) -> Result<(), String> {
    let mut retained = 0;
    let scanned = store.scan_retained(&mut |_, _| {
        retained += 1;
        true
    });
    scanned.map_err(|error| error.to_string())?;
    let mut subscriptions = 0;
    let scanned = store.scan_sessions(&mut |session| {
        subscriptions += session.subscriptions.len() as u64;
        true
    });
    scanned.map_err(|error| error.to_string())?;
    if (retained, subscriptions) != (ENTRIES, SESSIONS) {
        return Err(format!("{retained} retained messages, {subscriptions} subscriptions"));
    }
    for session in 1..=SESSIONS {
        let page = wait(|answer| store.page(SessionId(session), gatemq_store::Seq(0), EVERYTHING, answer));
        let entries = page.map_err(|error| error.to_string())?.entries;
        let whole = entries.iter().zip(1..).all(|(entry, seq)| {
            entry.seq.0 == seq
                && message_of(entry).topic() == "shared"
                && message_of(entry).payload() == [seq as u8; 150]
        });
        if !whole || entries.len() as u64 != ENTRIES {
            return Err(format!("session {session} has {} entries", entries.len()));
        }
    }
    Ok(())
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

/// Bytes up to the last that is not zero, and of the file.
fn used(path: &Path) -> (u64, u64) {
    let mut file = File::open(path).unwrap();
    let (mut block, zeros, mut at, mut used) = (vec![0; 1 << 16], vec![0; 1 << 16], 0, 0);
    loop {
        match file.read(&mut block).unwrap() {
            0 => return (used, at),
            // Most of a journal is set aside in advance, and compares fast.
            read if block[..read] == zeros[..read] => at += read as u64,
            read => {
                used = at + block[..read].iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
                at += read as u64;
            }
        }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let (used, length) = used(&file);
        let mut copy = File::create(&target).unwrap();
        io::copy(&mut File::open(&file).unwrap().take(used), &mut copy).unwrap();
        copy.set_len(length).unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    Missing,
    Cut(u64),
    /// So many bytes from here on.
    Overwritten(u64, u64),
}

fn harms(file: &Path) -> Vec<Harm> {
    let (used, length) = used(file);
    let mut harms = vec![Harm::Missing, Harm::Cut(0)];
    let cuts = [1, 13, 40, used / 3, used / 2];
    harms.extend(cuts.iter().filter(|cut| **cut < used).map(|cut| Harm::Cut(used - cut)));
    let places = [(0, 1), (4, 1), (9, 16), (24, 16), (used / 3, 1), (used / 2, 16), (used / 5 * 4, 1)];
    let ends = [(used.saturating_sub(9), 1), (used.saturating_sub(1), 1)];
    let places = places.into_iter().chain(ends).filter(|(at, _)| *at < used);
    harms.extend(places.map(|(at, bytes): (u64, u64)| Harm::Overwritten(at, bytes.min(length - at))));
    harms
}

pub(crate) fn harm(file: &Path, harm: Harm) {
    match harm {
        Harm::Missing => fs::remove_file(file).unwrap(),
        Harm::Cut(length) => OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap(),
        Harm::Overwritten(at, bytes) => {
            let mut file = OpenOptions::new().read(true).write(true).open(file).unwrap();
            let mut changed = vec![0; bytes as usize];
            file.seek(SeekFrom::Start(at)).unwrap();
            file.read_exact(&mut changed).unwrap();
            changed.iter_mut().for_each(|byte| *byte ^= 0xA5);
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&changed).unwrap();
        }
    }
}

/// Harms every file of a store in every way; counts what was refused and what did no harm.
fn harm_all(whole: &Path, options: &Options) -> (usize, usize) {
    let (mut refused, mut harmless, mut tables) = (0, 0, 0);
    for file in files(whole) {
        let name = file.strip_prefix(whole).unwrap();
        // Tables are alike: two in every way, the others in some.
        let is_table = file.parent().is_some_and(|parent| parent.ends_with("1/tables"));
        tables += usize::from(is_table);
        let is_other_table = is_table && tables > 2;
        for what in harms(&file).into_iter().step_by(if is_other_table { 5 } else { 1 }) {
            let directory = scratch();
            copy(whole, directory.path());
            harm(&directory.path().join(name), what);
            let options = Options { directory: directory.path().to_owned(), ..options.clone() };
            let opened = catch_unwind(AssertUnwindSafe(|| Embedded::open(&options)));
            let opened = opened.unwrap_or_else(|_| panic!("{} {what:?}: a panic", name.display()));
            match opened {
                Ok(store) => {
                    let holds = holds_everything(&store);
                    holds.unwrap_or_else(|less| panic!("{} {what:?}: opened, and {less}", name.display()));
                    harmless += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    let named = text.contains(&*name.to_string_lossy());
                    assert!(named, "{} {what:?}: the file is not named: {text}", name.display());
                    refused += 1;
                }
            }
        }
    }
    (refused, harmless)
}

/// Guards section 11 and issue 4 for a store whose process was killed: in every file of it, every harm is refused by name or
/// does none. (The copy of an open store is what a kill leaves.)
#[test]
fn of_a_killed_process() {
    let directory = scratch();
    let options = Options { memtable_bytes: 32 << 10, ..Options::new(directory.path()) };
    let store = fill(&options);
    let whole = scratch();
    // The engine's threads may be writing a table: the copy is taken when a start finds it whole.
    for attempt in 0.. {
        let _ = fs::remove_dir_all(whole.path());
        std::thread::sleep(std::time::Duration::from_millis(100));
        let copied = catch_unwind(AssertUnwindSafe(|| copy(directory.path(), whole.path())));
        if copied.is_ok() && check(whole.path()).is_ok_and(|checked| checked.is_some()) {
            break;
        }
        assert!(attempt < 50, "{:?}", check(whole.path()).err());
    }
    let _ = fs::remove_dir_all(whole.path());
    copy(directory.path(), whole.path());
    drop(store);
    let (refused, harmless) = harm_all(whole.path(), &options);
    println!("{refused} refused, {harmless} without harm");
    assert!(refused > 50 && harmless > 0);
}

/// The same of one that was closed.
#[test]
fn of_a_closed_store() {
    let directory = scratch();
    let options = Options { memtable_bytes: 32 << 10, ..Options::new(directory.path()) };
    fill(&options).close().unwrap();
    let (refused, harmless) = harm_all(directory.path(), &options);
    println!("{refused} refused, {harmless} without harm");
    assert!(refused > 50 && harmless > 0);
}
