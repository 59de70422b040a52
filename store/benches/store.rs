//! How much a store does: durable appends, opening, reading, scanning. Prints a table; nothing is asserted.
//!
//! `cargo bench -p gatemq-store` takes a minute; `-- DIRECTORY` puts the stores there, so that a disk of one's choice is
//! measured.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use gatemq_store::{
    Append, Batch, Delivery, Embedded, Epoch, Message, Op, Options, Owner, PageLimit, Record, Seq, SessionId, Store,
    Subscription, SyncMode, wait,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BATCH: u64 = 64;
const EPOCH: Epoch = Epoch(1);

fn put_session(n: u64) -> Op {
    let owner = Owner { tenant: "tenant".into(), user: "user".into(), client_id: format!("client-{n:08}").into() };
    let (will, state) = (None, [].into());
    let record =
        Record { owner, epoch: EPOCH, node: 1, version: 0, level: 5, expiry_s: 3600, away_since_ms: 0, will, state };
    Op::PutSession { session: SessionId(n), record }
}

fn message() -> Result<Arc<Message>> {
    Ok(Arc::new(Message::new("plant/7/line/3/sensor/11", &[], &[7; 256], u64::MAX).ok_or("topic")?))
}

fn append(session: u64, seq: u64, message: &Arc<Message>) -> Op {
    let delivery = Delivery { first: 0x32, identifiers: [].into(), group: 0 };
    let (session, seq) = (SessionId(session), Seq(seq));
    Op::Append(Append { session, epoch: EPOCH, seq, message: message.clone(), delivery, limit: None })
}

/// User and system time of the process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
    // Behind the name: utime and stime come after state, ten numbers.
    Duration::from_millis(10 * (fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0)))
}

fn line(what: &str, count: u64, began: Instant, cpu_began: Duration) {
    let (took, used) = (began.elapsed(), cpu().saturating_sub(cpu_began));
    let (per_s, us) = (count as f64 / took.as_secs_f64(), used.as_secs_f64() * 1e6 / count as f64);
    println!("{what:<66} {:>9.3} s {per_s:>12.0} /s {us:>8.2} µs CPU each", took.as_secs_f64());
}

/// Submits batches, at most `under_way` at a time, as a worker does.
fn submit(store: &Embedded, batches: impl Iterator<Item = Batch>, under_way: usize) -> Result<()> {
    let (sender, receiver) = sync_channel(under_way);
    let mut waiting = 0;
    let await_one = |waiting: &mut usize| -> Result<()> {
        *waiting -= 1;
        let good: bool = receiver.recv()?;
        if good { Ok(()) } else { Err("not stored".into()) }
    };
    for batch in batches {
        let sender = sender.clone();
        let answer = move |result: std::result::Result<Vec<gatemq_store::OpResult>, _>| {
            let _ = sender.send(result.is_ok_and(|results| results.iter().all(|result| result.is_ok())));
        };
        store.commit(batch, Box::new(answer));
        waiting += 1;
        if waiting == under_way {
            await_one(&mut waiting)?;
        }
    }
    while waiting > 0 {
        await_one(&mut waiting)?;
    }
    Ok(())
}

fn appends(store: &Embedded, first: u64, count: u64, sessions: u64, under_way: usize) -> Result<()> {
    let message = message()?;
    let batches = (0..count / BATCH).map(|batch| {
        Batch::of((0..BATCH).map(|n| {
            let at = batch * BATCH + n;
            append(at % sessions + 1, first + at / sessions, &Arc::new((*message).clone()))
        }))
    });
    submit(store, batches, under_way)
}

fn durable_appends(directory: &Path) -> Result<()> {
    let store = Embedded::open(&Options::new(directory))?;
    submit(&store, (1..=1_000).map(|n| Batch::of([put_session(n)])), 512)?;
    let mut first = 1;
    for (under_way, count) in [(1, 64_000), (4, 256_000), (16, 512_000)] {
        let (began, used) = (Instant::now(), cpu());
        appends(&store, first, count, 1_000, under_way)?;
        line(&format!("durable appends of 280 bytes, batches of 64, {under_way} under way"), count, began, used);
        first += count;
    }
    let (began, used) = (Instant::now(), cpu());
    let shared = message()?;
    submit(&store, (0..500).map(|n| Batch::of((1..=1_000).map(|session| append(session, first + n, &shared)))), 4)?;
    line("durable appends, one message to 1,000 queues", 500_000, began, used);
    Ok(())
}

fn acks(directory: &Path) -> Result<()> {
    let store = Embedded::open(&Options::new(directory))?;
    submit(&store, (1..=100).map(|n| Batch::of([put_session(n)])), 100)?;
    let message = message()?;
    let (began, used) = (Instant::now(), cpu());
    let batches = (0..4_000u64).map(|batch| {
        Batch::of((0..BATCH).flat_map(|n| {
            let at = batch * BATCH + n;
            let (session, seq) = (at % 100 + 1, at / 100 + 1);
            let ack = (seq > 4).then(|| Op::AckOne { session: SessionId(session), epoch: EPOCH, seq: Seq(seq - 4) });
            std::iter::once(append(session, seq, &Arc::new((*message).clone()))).chain(ack).collect::<Vec<_>>()
        }))
    });
    submit(&store, batches, 4)?;
    line("durable appends, each acknowledged soon after", 4_000 * BATCH, began, used);
    Ok(())
}

fn opening(directory: &Path) -> Result<()> {
    let options = Options::new(directory);
    let fill = Embedded::open(&Options { sync: SyncMode::Never, ..options.clone() })?;
    submit(&fill, (1..=10).map(|n| Batch::of([put_session(n)])), 10)?;
    appends(&fill, 1, 1_000_000, 10, 64)?;
    fill.close()?;
    drop(fill);
    for (what, check_tables) in [("every table checked", true), ("tables not checked", false)] {
        let (began, used) = (Instant::now(), cpu());
        let store = Embedded::open(&Options { check_tables, ..options.clone() })?;
        line(&format!("opening 1,000,000 entries, {what}"), store.recovery().messages, began, used);
    }
    let store = Embedded::open(&options)?;
    read_queue(&store, "reading a queue of 100,000")?;
    submit(&store, (1..=900).map(|n| Batch::of((1..=100).map(|k| ack(n * 100 - 100 + k)))), 16)?;
    read_queue(&store, "the same after 90,000 are acknowledged")
}

fn ack(seq: u64) -> Op {
    Op::AckOne { session: SessionId(1), epoch: EPOCH, seq: Seq(seq) }
}

fn read_queue(store: &Embedded, what: &str) -> Result<()> {
    let limit = PageLimit { entries_max: 1_000, bytes_max: 1 << 20 };
    let (began, used) = (Instant::now(), cpu());
    let page = |from| wait(|answer| store.page(SessionId(1), Seq(from), limit, answer));
    let mut read = page(0)?;
    println!("{:<66} {:>9.3} ms", format!("{what}: the first page"), began.elapsed().as_secs_f64() * 1e3);
    let mut count = read.entries.len() as u64;
    while read.more {
        read = page(read.entries.last().map_or(0, |entry| entry.seq.0) + 1)?;
        count += read.entries.len() as u64;
    }
    line(&format!("{what}: all"), count, began, used);
    Ok(())
}

fn sessions(directory: &Path) -> Result<()> {
    let options = Options::new(directory);
    let fill = Embedded::open(&options)?;
    let (began, used) = (Instant::now(), cpu());
    let subscribe = |n: u64, k: u64| {
        let filter = format!("tenant/site-{}/device-{n}/{k}/+", n % 100).into();
        let subscription = Subscription { filter, options: 1, identifier: k as u32 };
        Op::PutSubscription { session: SessionId(n), epoch: EPOCH, subscription }
    };
    let batches =
        (1..=100_000).map(|n| Batch::of(std::iter::once(put_session(n)).chain((0..10).map(|k| subscribe(n, k)))));
    submit(&fill, batches, 256)?;
    line("storing 100,000 sessions with 10 subscriptions each", 100_000, began, used);
    fill.close()?;
    drop(fill);
    let (began, used) = (Instant::now(), cpu());
    let store = Embedded::open(&options)?;
    line("opening them", 100_000, began, used);
    let (began, used) = (Instant::now(), cpu());
    let mut count = 0;
    store.scan_sessions(&mut |session| {
        count += session.subscriptions.len() as u64;
        true
    })?;
    line("scanning them (each subscription)", count, began, used);
    Ok(())
}

fn main() -> Result<()> {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let place =
        place.unwrap_or_else(|| std::env::temp_dir().join(format!("gatemq-store-bench-{}", std::process::id())));
    for (n, bench) in [durable_appends, acks, opening, sessions].into_iter().enumerate() {
        let directory = place.join(n.to_string());
        bench(&directory)?;
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}
