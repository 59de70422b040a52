//! Memory of idle connections, the broker's and the kernel's, and what the broker burns while nothing happens.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{Common, Idle};
use crate::net::{Conn, Target};
use crate::procfs::tcp_memory;
use crate::report::{fields, line, round};

/// Time for the broker to finish what opening caused.
const SETTLE: Duration = Duration::from_secs(2);
/// Time over which the idle load is measured.
const REST: Duration = Duration::from_secs(3);

pub(super) async fn run(c: &Common, t: Rc<Target>, o: &Idle) -> io::Result<Value> {
    let broker = c.broker();
    // One connection first, so that what the first costs is not counted.
    let _first = Conn::open(&t).await?;
    let (r0, k0, t0, b0) = (broker.rss(), tcp_memory(), Instant::now(), broker.cpu());
    let mut all = Vec::with_capacity(o.count);
    for i in 0..o.count {
        let mut conn = match o.bare {
            true => Conn::open(&t).await?,
            false => Conn::mqtt(&t, &format!("idle{i}"), true).await?,
        };
        if o.subscribe {
            conn.subscribe(&[format!("idle/{i}/t")], 0).await?;
        }
        all.push(conn);
    }
    let (secs, b1) = (t0.elapsed().as_secs_f64(), broker.cpu());
    tokio::time::sleep(SETTLE).await;
    let (r1, k1, b2) = (broker.rss(), tcp_memory(), broker.cpu());
    tokio::time::sleep(REST).await;
    let b3 = broker.cpu();
    let per = |a: u64, b: u64| ((b as f64 - a as f64) / o.count as f64).round();
    let f = fields(json!({
        "count": o.count, "subscribe": o.subscribe, "opened_in_s": round(secs),
        "rss_before_mb": r0 >> 20, "rss_after_mb": r1 >> 20,
        "rss_bytes_per_conn": per(r0, r1), "kernel_tcp_bytes_per_conn": per(k0, k1),
        "broker_cpu_us_per_open": round(b1.since(b0).total() / o.count as f64 * 1e6),
        "idle_load": round(b3.since(b2).total() / REST.as_secs_f64()),
    }));
    drop(all);
    Ok(line(c, if o.bare { "idle-bare" } else { "idle" }, f))
}
