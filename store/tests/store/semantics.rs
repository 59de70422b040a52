//! What is not a matter of one operation: who may open, what is shared, what is bounded, what is said.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use gatemq_store::{
    Append, Batch, Delivery, Embedded, Epoch, Health, KeptValue, Limit, Memory, Message, Op, OpenError, Options,
    Outcome, PageLimit, Seq, SessionId, Store, StoreError, SyncMode, check, wait,
};
use gatemq_types::{Denial, Subject};

use crate::support::{append, commit, done, entries, message, message_of, open, options, put_session, seqs, sessions};

const S1: SessionId = SessionId(1);
const E1: Epoch = Epoch(1);

/// Guards the lock: a second opening is refused with a word on who has it, and the twin succeeds when the first is closed.
#[test]
fn two_processes_do_not_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let refused = Embedded::open(&options(directory.path())).err().unwrap();
    assert!(matches!(&refused, OpenError::Locked { holder, .. } if holder.contains(&std::process::id().to_string())));
    assert!(matches!(check(directory.path()), Err(OpenError::Locked { .. })));
    assert!(refused.to_string().contains("held by another process"), "{refused}");
    store.close().unwrap();
    assert_eq!(store.health(), Health::Closed);
    assert!(matches!(commit(&store, [put_session(1)]), Err(StoreError::Unavailable(_))));
    assert!(matches!(wait(|answer| store.session(S1, answer)), Err(StoreError::Unavailable(_))));
    open(directory.path()).close().unwrap();
}

/// Guards the format: a later one is refused as such, and nothing is changed.
#[test]
fn a_later_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).close().unwrap();
    let format = directory.path().join("format");
    let before = fs::read(&format).unwrap();
    fs::write(&format, "gatemq-store 2\n").unwrap();
    let refused = Embedded::open(&options(directory.path())).err().unwrap();
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused}");
    fs::write(&format, before).unwrap();
    open(directory.path());
}

/// Guards that a store whose making was interrupted is made again instead of refused: nothing was acknowledged.
#[test]
fn an_unfinished_store_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("database/keyspaces/0")).unwrap();
    fs::write(directory.path().join("creating"), b"").unwrap();
    let store = open(directory.path());
    assert!(store.recovery().created);
    done(&store, [put_session(1)]);
    drop(store);
    let store = open(directory.path());
    assert!(!store.recovery().created && store.recovery().sessions == 1);
}

/// Guards that a fan-out is stored once, on disk too, and goes when the last queue is done with it.
#[test]
fn a_fan_out_is_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    done(&store, (1..=100).map(put_session));
    let large = message("t", &[7; 100_000]);
    done(&store, (1..=100).map(|session| append(session, 1, &large)));
    assert_eq!((store.stats().shared_messages, store.stats().messages), (1, 100));
    drop(store);
    let checked = check(directory.path()).unwrap().unwrap();
    let journal = checked.files.iter().find(|file| file.path.ends_with("0.jnl")).unwrap();
    assert!((100_000..200_000).contains(&journal.bytes), "{} bytes", journal.bytes);
    assert_eq!(checked.stats.messages, 100);
    let store = open(directory.path());
    assert_eq!(store.stats().shared_messages, 1);
    let ack = |session| Op::AckOne { session: SessionId(session), epoch: E1, seq: Seq(1) };
    done(&store, (1..100).map(ack));
    assert_eq!(*message_of(&entries(&store, 100)[0]), large);
    assert_eq!(store.stats().shared_messages, 1);
    done(&store, [ack(100)]);
    assert_eq!((store.stats().shared_messages, store.stats().messages, store.stats().bytes), (0, 0, 0));
}

/// Guards pages: bounded by entries and bytes, at least one entry, from where one says or the acknowledged position.
#[test]
fn queues_come_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Box::new(open(directory.path())) as Box<dyn Store>, Box::new(Memory::new())] {
        done(&*store, [put_session(1)]);
        done(&*store, (1..=10).map(|seq| append(1, seq, &message("t", &[0; 99]))));
        let page = |from: u64, entries_max: usize, bytes_max: u64| {
            let limit = PageLimit { entries_max, bytes_max };
            let page = wait(|answer| store.page(S1, Seq(from), limit, answer)).unwrap();
            (page.entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), page.more)
        };
        assert_eq!(page(0, 3, 1_000), (vec![1, 2, 3], true));
        assert_eq!(page(4, 100, 350), (vec![4, 5, 6], true));
        assert_eq!(page(4, 0, 0), (vec![4], true), "one at least");
        assert_eq!(page(9, 100, 1_000), (vec![9, 10], false));
        assert_eq!(page(11, 100, 1_000), (vec![], false));
        done(&*store, [Op::AckUpTo { session: S1, epoch: E1, seq: Seq(7) }]);
        assert_eq!(page(0, 100, 1_000), (vec![8, 9, 10], false));
        let (session, epoch) = (SessionId(9), E1);
        assert_eq!(
            commit(&*store, [Op::AckOne { session, epoch, seq: Seq(1) }]).unwrap(),
            [Err(StoreError::NoSession)]
        );
    }
}

/// Guards that what waits for the limit is told apart from what is stored, and its number is spent.
#[test]
fn a_full_queue_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    done(&store, [put_session(1)]);
    let limit = Some(Limit { messages_max: 2, bytes_max: 1_000 });
    let append = |seq: u64, bytes: usize| {
        let message = message("t", &vec![1; bytes]);
        let delivery = Delivery::default();
        Op::Append(Append { session: S1, epoch: E1, seq: Seq(seq), message, delivery, limit })
    };
    let results = commit(&store, [append(1, 998), append(2, 1), append(2, 1), append(3, 0), append(4, 0)]).unwrap();
    let (stored, full) = (Ok(Outcome::Done), Err(StoreError::Full));
    assert_eq!(results, [stored.clone(), full.clone(), Ok(Outcome::Repeated), Ok(Outcome::Done), full]);
    drop(store);
    assert_eq!(seqs(&open(directory.path()), 1), [1, 3]);
}

/// Guards that a session with a long queue ends at once, in every respect, and that its parts go also when the process ends
/// in between.
#[test]
fn an_ended_session_is_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { sync: SyncMode::Never, ..Options::new(directory.path()) };
    let store = Embedded::open(&options).unwrap();
    done(&store, [put_session(1), put_session(2)]);
    let shared = message("t", &[1; 100]);
    for chunk in 0..30u64 {
        done(&store, (1..=200).flat_map(|n| [1, 2].map(|session| append(session, chunk * 200 + n, &shared))));
    }
    done(&store, [Op::DeleteSession { session: S1, epoch: E1 }]);
    assert_eq!(sessions(&store).keys().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(commit(&store, [append(1, 7_000, &shared)]).unwrap(), [Err(StoreError::NoSession)]);
    drop(store);
    let store = Embedded::open(&options).unwrap();
    assert_eq!(sessions(&store).keys().copied().collect::<Vec<_>>(), [2]);
    let until = Instant::now() + Duration::from_secs(20);
    while store.stats().ending_sessions > 0 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!((seqs(&store, 1).len(), seqs(&store, 2).len()), (0, 6_000));
    assert_eq!(store.stats().shared_messages, 30);
    drop(store);
    assert_eq!(Embedded::open(&options).unwrap().stats().sessions, 1);
}

/// Guards denials: all kinds come back, one a subject.
#[test]
fn denials_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let subjects = [
        Subject::Address { address: [10, 0, 0, 1].into(), bits: 8 },
        Subject::Address { address: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), bits: 64 },
        Subject::Certificate([1; 32]),
        Subject::Key([1; 32]),
        Subject::Issuer([1; 32]),
        Subject::User { tenant: "t".into(), user: "u".repeat(70_000) },
        Subject::Client { tenant: "t".into(), user: "u".into(), client_id: "c".into() },
    ];
    let denial = |subject: &Subject, until_ms| Denial {
        subject: subject.clone(),
        until_ms,
        reason: "r".into(),
        raised_by: "operator".into(),
    };
    done(&store, subjects.iter().flat_map(|subject| [1, 2].map(|ms| Op::PutDenial(denial(subject, ms)))));
    done(&store, [Op::DeleteDenial { subject: subjects[0].clone(), raised_by: "operator".into() }]);
    // Another's of the same subject is another one.
    done(&store, [Op::DeleteDenial { subject: subjects[1].clone(), raised_by: "plugin guard".into() }]);
    drop(store);
    let store = open(directory.path());
    let mut found = Vec::new();
    let scanned = store.scan_denials(&mut |denial| {
        found.push(denial);
        true
    });
    scanned.unwrap();
    assert_eq!(found.len(), 6);
    assert!(subjects.iter().skip(1).all(|subject| found.contains(&denial(subject, 2))));
}

/// Guards what plugins keep: the last value of each key of each owner comes back, and what was taken away does not.
#[test]
fn values_of_plugins_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let put = |owner: &str, key: &str, byte| Op::PutValue {
        owner: owner.into(),
        key: key.into(),
        value: KeptValue { until_ms: 5, bytes: [byte; 3].into() },
    };
    let long = "k".repeat(70_000);
    done(&store, [put("a", "k", 1), put("a", "k", 2), put("b", "k", 3), put("a", &long, 4)]);
    done(&store, [Op::DeleteValue { owner: "a".into(), key: long.as_str().into() }]);
    drop(store);
    let mut found = Vec::new();
    let scanned = open(directory.path()).scan_values(&mut |owner, key, value| {
        found.push((owner.to_owned(), key.to_owned(), value.until_ms, value.bytes[2]));
        true
    });
    scanned.unwrap();
    found.sort();
    assert_eq!(found, [("a".to_owned(), "k".to_owned(), 5, 2), ("b".into(), "k".into(), 5, 3)]);
}

/// Guards order and group commits: batches are answered in the order in which they were submitted, many in one commit.
#[test]
fn batches_are_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    done(&store, [put_session(1)]);
    let (before, count) = (store.stats().commit, 500);
    let (sender, receiver) = sync_channel(count as usize);
    for seq in 1..=count {
        let sender = sender.clone();
        let answer = move |result: Result<Vec<_>, _>| {
            assert_eq!(result.unwrap(), [Ok(Outcome::Done)]);
            sender.send(seq).unwrap();
        };
        store.commit(Batch::of([append(1, seq, &message("t", b"x"))]), Box::new(answer));
    }
    drop(sender);
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
    let commits = store.stats().commit - before;
    assert!(commits < count / 2, "{commits} commits for {count} batches");
}

/// Guards the torn end after a crash: it is cut off, kept, and told; what was acknowledged is there. Twin: the same with a
/// whole commit behind it is damage.
#[test]
fn a_torn_end_is_cut_off_and_kept() {
    for behind in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        done(&store, [put_session(1)]);
        done(&store, [append(1, 1, &message("t", b"first"))]);
        drop(store);
        let journal = directory.path().join("database/0.jnl");
        let checked = check(directory.path()).unwrap().unwrap();
        let end = checked.files.iter().find(|file| file.path == journal).unwrap().bytes;
        let high = fs::read(directory.path().join("commit.high")).unwrap();
        let store = open(directory.path());
        done(&store, [append(1, 2, &message("t", b"second"))]);
        done(&store, [append(1, 3, &message("t", b"third"))]);
        drop(store);
        let checked = check(directory.path()).unwrap().unwrap();
        let whole = checked.files.iter().find(|file| file.path == journal).unwrap().bytes;
        // As after a power cut: commit.high is a second old, and the first of the two commits is torn.
        fs::write(directory.path().join("commit.high"), high).unwrap();
        let mut file = OpenOptions::new().write(true).open(&journal).unwrap();
        file.seek(SeekFrom::Start(end + 40)).unwrap();
        file.write_all(&[0xFF; 9]).unwrap();
        if !behind {
            file.set_len(end + (whole - end) / 2 - 5).unwrap();
        }
        match Embedded::open(&options(directory.path())) {
            Ok(store) => {
                assert!(!behind && seqs(&store, 1) == [1]);
                let kept = fs::read(directory.path().join("tail.cut")).unwrap();
                assert_eq!(kept.len() as u64, store.recovery().cut_bytes);
                assert!(kept.len() > 60);
            }
            Err(OpenError::Damaged(damage)) => {
                assert!(behind && damage.file == journal && damage.what.contains("stands behind"), "{damage}");
                assert!(!directory.path().join("tail.cut").exists(), "nothing is changed");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Guards that damage found while the store runs ends it: reads say so and name the file, nothing more is acknowledged.
#[test]
fn damage_that_is_read_ends_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let small =
        Options { memtable_bytes: 16 << 10, check_tables: false, cache_bytes: 0, ..Options::new(directory.path()) };
    let store = Embedded::open(&small).unwrap();
    done(&store, [put_session(1)]);
    for seq in 1..=400 {
        done(&store, [append(1, seq, &message("t", &[seq as u8; 200]))]);
    }
    store.close().unwrap();
    drop(store);
    let store = Embedded::open(&small).unwrap();
    assert!(store.stats().tables > 0);
    let tables = fs::read_dir(directory.path().join("database/keyspaces/1/tables")).unwrap();
    for table in tables {
        let path = table.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[..half].iter_mut().step_by(50).for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes).unwrap();
    }
    let limit = PageLimit { entries_max: 1_000, bytes_max: u64::MAX };
    match wait(|answer| store.page(S1, Seq(0), limit, answer)) {
        Err(StoreError::Corrupt(damage)) => assert!(damage.file.to_string_lossy().contains("tables/"), "{damage}"),
        other => panic!("{:?}", other.map(|page| page.entries.len())),
    }
    assert!(matches!(store.health(), Health::Poisoned(StoreError::Corrupt(_))));
    assert!(matches!(commit(&store, [append(1, 401, &message("t", b""))]), Err(StoreError::Unavailable(_))));
    assert!(store.close().is_err());
}

/// Guards the report: what is there is counted, and no store is told apart from an empty one.
#[test]
fn a_check_counts() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(check(directory.path()).unwrap(), None);
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "a check makes nothing");
    let store = open(directory.path());
    done(&store, [put_session(1)]);
    done(&store, [append(1, 1, &message("t", b"12345"))]);
    let retained = gatemq_store::Retained {
        message: Message::new("r", &[], b"", u64::MAX).unwrap(),
        qos: 0,
        withheld: false,
        user: "".into(),
        client_id: "".into(),
        tags: Box::default(),
        leaf_sha256: None,
    };
    done(&store, [Op::PutRetained { tenant: "t".into(), retained }]);
    drop(store);
    let checked = check(directory.path()).unwrap().unwrap();
    let stats = checked.stats;
    assert_eq!((stats.sessions, stats.messages, stats.bytes, stats.commit), (1, 1, 6, 4));
    assert_eq!((checked.retained, checked.subscriptions, checked.denials, checked.torn_bytes), (1, 0, 0, 0));
    assert_eq!((checked.commit_high, checked.files.len()), (4, 7));
}

/// Guards the other sync modes: what was acknowledged survives the end of the process, and an interval is kept.
#[test]
fn other_sync_modes() {
    for sync in [SyncMode::IntervalMs(5), SyncMode::Never] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { sync, ..Options::new(directory.path()) };
        let store = Embedded::open(&options).unwrap();
        assert!(!store.capabilities().synced);
        done(&store, [put_session(1)]);
        done(&store, [append(1, 1, &message("t", b"x"))]);
        let high = || fs::read(directory.path().join("commit.high")).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        // Commit 3 stands in the second place of the file.
        while sync != SyncMode::Never && high()[4096 + 8] != 3 {
            assert!(Instant::now() < until, "it is never synced");
            std::thread::yield_now();
        }
        drop(store);
        assert_eq!(seqs(&Embedded::open(&options).unwrap(), 1), [1]);
    }
}
