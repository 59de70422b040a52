//! Queueing for an absent persistent session, then its return.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{publish_all, receive};
use crate::cli::{Common, Offline};
use crate::net::{Conn, Target};
use crate::procfs::Cpu;
use crate::report::{fields, line, round};
use crate::wire::PublishTemplate;

/// Time for the broker to notice that the subscriber is gone.
const SETTLE: Duration = Duration::from_millis(200);
/// How long the returned subscriber waits for the next message.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(c: &Common, t: Rc<Target>, o: &Offline) -> io::Result<Value> {
    let (broker, n) = (c.broker(), o.messages);
    let id = format!("off{}", std::process::id());
    let topic = format!("off/{id}");
    let mut s = Conn::mqtt(&t, &id, false).await?;
    s.subscribe(&[&topic], 1).await?;
    s.close().await?;
    tokio::time::sleep(SETTLE).await;
    let mut p = Conn::mqtt(&t, "p0", true).await?;
    let (r0, b0, t0) = (broker.rss(), broker.cpu(), Instant::now());
    let template = PublishTemplate::new(t.v5, &topic, 1, false, o.size);
    publish_all(&mut p, n, |_| template.clone()).await?;
    let (queued, b1, r1) = (t0.elapsed().as_secs_f64(), broker.cpu(), broker.rss());
    let t1 = Instant::now();
    let mut s = Conn::mqtt(&t, &id, false).await?;
    let got = receive(&mut s, n, PATIENCE).await?;
    let (drained, b2) = (t1.elapsed().as_secs_f64(), broker.cpu());
    s.close().await.ok();
    let per = |cpu: Cpu| round(cpu.total() / n as f64 * 1e6);
    let f = fields(json!({
        "messages": n, "size": o.size, "delivered": got, "lost": n.saturating_sub(got),
        "queued_per_s": (n as f64 / queued).round(),
        "queue_cpu_s_per_1m": per(b1.since(b0)),
        "rss_bytes_per_queued": ((r1 as f64 - r0 as f64) / n as f64).round(),
        "drained_per_s": (got as f64 / drained).round(),
        "drain_cpu_s_per_1m": per(b2.since(b1)),
    }));
    Ok(line(c, "offline", f))
}
