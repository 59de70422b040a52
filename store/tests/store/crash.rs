//! `kill -9` at random moments: nothing that was acknowledged is lost, nothing is twice, nothing changes places.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use gatemq_store::{Batch, Embedded, Epoch, Op, Options, Seq, SessionId, Store};

use crate::support::{append, entries, message, message_of, open, options, put_session, sessions};

/// Where the child finds its directory.
const DIRECTORY: &str = "GATEMQ_STORE_TEST_DIRECTORY";
/// How many bytes its messages have; 80 if it is not set.
pub(crate) const PAYLOAD: &str = "GATEMQ_STORE_TEST_PAYLOAD";
/// Queues of the child.
pub(crate) const SESSIONS: u64 = 3;

/// Starts this test program again, as the process that is killed.
pub(crate) fn child(directory: &Path, preload: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::the_child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).envs(preload.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Not a test: appends to queues and acknowledges, and says what the store has acknowledged, until it is killed.
#[test]
#[ignore = "started by other tests"]
fn the_child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let payload = std::env::var(PAYLOAD).map_or(80, |bytes| bytes.parse().unwrap());
    let small = Options { memtable_bytes: 800 * payload as u64, ..options(directory.as_ref()) };
    let store = Embedded::open(&small).unwrap_or_else(|error| panic!("{error}"));
    let known = sessions(&store);
    let under_way = Arc::new(AtomicU64::new(0));
    let say = |line: String| {
        let under_way = under_way.clone();
        move |result: Result<Vec<gatemq_store::OpResult>, _>| {
            let good = result.is_ok_and(|results| results.iter().all(Result::is_ok));
            let mut out = std::io::stdout().lock();
            let line = if good { line } else { "failed\n".into() };
            // In one call: a kill may not tear it.
            if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                // Whoever was to kill it is gone.
                std::process::exit(1);
            }
            under_way.fetch_sub(1, Ordering::Release);
        }
    };
    if known.is_empty() {
        under_way.fetch_add(1, Ordering::Relaxed);
        store.commit(Batch::of((1..=SESSIONS).map(put_session)), Box::new(say("made\n".into())));
    }
    let mut next: Vec<u64> = (1..=SESSIONS).map(|n| known.get(&n).map_or(0, |known| known.last.0) + 1).collect();
    for round in 0u64.. {
        let mut ops = Vec::new();
        let mut line = String::new();
        let shared = message("t", format!("{}/{}/{}{}", next[0], next[1], next[2], "-".repeat(payload)).as_bytes());
        for (n, next) in next.iter_mut().enumerate() {
            ops.push(append(n as u64 + 1, *next, &shared));
            line += &format!("+{} {next} ", n + 1);
            *next += 1;
        }
        // The third queue is consumed, two at a time.
        if round % 2 == 1 && next[2] > 6 {
            let (session, epoch, seq) = (SessionId(3), Epoch(1), Seq(next[2] - 5));
            ops.push(Op::AckUpTo { session, epoch, seq });
            line += &format!("-3 {}", seq.0);
        }
        while under_way.load(Ordering::Acquire) >= 64 {
            std::thread::yield_now();
        }
        under_way.fetch_add(1, Ordering::Relaxed);
        store.commit(Batch::of(ops), Box::new(say(line + "\n")));
    }
}

/// What was acknowledged: of each queue the last append and the last acknowledgement.
#[derive(Default, Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) appended: [u64; SESSIONS as usize],
    pub(crate) acked: u64,
    pub(crate) lines: u64,
}

impl Acknowledged {
    /// Reads lines of the child until there are no more, and counts those that acknowledge an append in `seen`.
    pub(crate) fn read(&mut self, said: impl Read, seen: &Arc<AtomicU64>) {
        for line in BufReader::new(said).lines() {
            let Ok(line) = line else { break };
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let before = self.lines;
            for pair in words.chunks_exact(2) {
                let seq: u64 = match pair[1].parse() {
                    Ok(seq) => seq,
                    Err(_) => continue,
                };
                match pair[0] {
                    "-3" => self.acked = self.acked.max(seq),
                    "+1" | "+2" | "+3" => {
                        let n = pair[0].as_bytes()[1] - b'1';
                        self.appended[usize::from(n)] = seq;
                        self.lines += 1;
                    }
                    _ => {}
                }
            }
            assert_ne!(line, "failed");
            seen.fetch_add(u64::from(self.lines > before), Ordering::Release);
        }
    }

    /// Everything is there, in order, once.
    pub(crate) fn check(&self, store: &dyn Store) {
        for (n, appended) in self.appended.iter().enumerate() {
            let entries = entries(store, n as u64 + 1);
            let first = if n == 2 { entries.first().map_or(self.acked + 1, |entry| entry.seq.0) } else { 1 };
            let in_order = entries.iter().zip(first..).all(|(entry, seq)| entry.seq.0 == seq);
            assert!(in_order, "queue {}: {:?}", n + 1, entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>());
            let last = entries.last().map_or(first - 1, |entry| entry.seq.0);
            assert!(last >= *appended, "queue {} ends with {last}, {appended} was acknowledged", n + 1);
            for entry in &entries {
                let text = std::str::from_utf8(message_of(entry).payload()).unwrap();
                let mine = text.split('-').next().and_then(|text| text.split('/').nth(n)).unwrap();
                assert_eq!(mine.parse::<u64>().unwrap(), entry.seq.0, "its own message");
            }
            if n == 2 && *appended > 0 {
                assert!(first > self.acked, "{} is there again, {} was acknowledged", first, self.acked);
                assert!(last + 1 - first <= 6 + 130, "acknowledged ones do not come back");
            }
        }
    }
}

/// A number that differs from run to run; printed with what failed.
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.subsec_nanos().into()
}

/// Guards promise 5 on one node: killed at random moments, over and over in the same directory.
#[test]
fn nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut random) = (Acknowledged::default(), seed());
    for round in 0..8 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = child(directory.path(), &[]);
        let seen = Arc::new(AtomicU64::new(0));
        let (id, wanted) = (child.id(), (random >> 33) % 400 + 1);
        let watched = seen.clone();
        let killer = std::thread::spawn(move || {
            // After so many lines, in the middle of whatever it does then.
            while watched.load(Ordering::Acquire) < wanted {
                std::thread::sleep(Duration::from_micros(200));
            }
            Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        });
        let before = acknowledged.clone();
        acknowledged.read(child.stdout.take().unwrap(), &seen);
        // Lets the thread end also if the child did before.
        seen.store(u64::MAX, Ordering::Release);
        child.wait().unwrap();
        killer.join().unwrap();
        assert!(acknowledged.lines > before.lines, "round {round}: it has done nothing");
        let store = open(directory.path());
        acknowledged.check(&store);
        store.close().unwrap();
    }
}
