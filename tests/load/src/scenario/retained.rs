//! Retained messages: storing them, then the burst that a new subscriber gets.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{publish_all, receive};
use crate::cli::{Common, Retained};
use crate::net::{Conn, Target};
use crate::report::{cpu_fields, fields, line, round};
use crate::wire::{self, PublishTemplate};

/// How long a subscriber waits for the next retained message.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(c: &Common, t: Rc<Target>, o: &Retained) -> io::Result<Value> {
    let n = o.topics as u64;
    let mut p = Conn::mqtt(&t, "p0", true).await?;
    let (t0, b0) = (Instant::now(), c.broker().cpu());
    let topic = |i: u64| format!("ret/{}/{}", i % 100, i);
    publish_all(&mut p, n, |i| PublishTemplate::new(t.v5, &topic(i), 1, true, o.size)).await?;
    let (stored, b1) = (t0.elapsed().as_secs_f64(), c.broker().cpu());
    let (t1, mut rounds, mut total, mut best) = (Instant::now(), 0u64, 0u64, f64::MAX);
    while t1.elapsed().as_secs_f64() < c.secs {
        let mut s = Conn::mqtt(&t, &format!("s{rounds}"), true).await?;
        let one = Instant::now();
        // Not `subscribe`: the messages may come before the SUBACK.
        wire::subscribe(&mut s.out, t.v5, 1, &["ret/#"], 0);
        let got = receive(&mut s, n, PATIENCE).await?;
        best = best.min(one.elapsed().as_secs_f64());
        total += got;
        rounds += 1;
        s.close().await.ok();
        if got < n {
            break;
        }
    }
    let (secs, b) = (t1.elapsed().as_secs_f64(), c.broker().cpu().since(b1));
    let mut f = fields(json!({
        "topics": o.topics, "size": o.size, "rounds": rounds, "secs": round(secs),
        "store_per_s": (o.topics as f64 / stored).round(),
        "store_cpu_s_per_1m": round(b1.since(b0).total() / o.topics as f64 * 1e6),
        "delivered": total, "lost": (rounds * n).saturating_sub(total),
        "delivered_per_s": (total as f64 / secs).round(), "best_burst_s": round(best),
        "broker_load": round(b.total() / secs),
    }));
    cpu_fields(b, total, &mut f);
    Ok(line(c, "retained", f))
}
