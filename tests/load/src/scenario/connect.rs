//! CPU per connection: TCP (and TLS) handshake, CONNECT to CONNACK, DISCONNECT, close.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::cli::{Common, Connect};
use crate::net::{Conn, Target};
use crate::procfs::Process;
use crate::report::{cpu_fields, fields, line, round};

pub(super) async fn run(c: &Common, t: Rc<Target>, o: &Connect) -> io::Result<Value> {
    let (done, errors) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0u64)));
    let first_error = Rc::new(Cell::new(None));
    for k in 0..o.concurrency {
        let (t, bare) = (t.clone(), o.bare);
        let (done, errors, first_error) = (done.clone(), errors.clone(), first_error.clone());
        spawn_local(async move {
            let id = format!("c{k}");
            loop {
                match once(&t, &id, bare).await {
                    Ok(()) => done.set(done.get() + 1),
                    Err(e) => {
                        if errors.replace(errors.get() + 1) == 0 {
                            first_error.set(Some(e));
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs_f64(c.warmup)).await;
    let (t0, n0, b0, g0) = (Instant::now(), done.get(), c.broker().cpu(), Process::myself().cpu());
    tokio::time::sleep(Duration::from_secs_f64(c.secs)).await;
    let (secs, n) = (t0.elapsed().as_secs_f64(), done.get() - n0);
    let (b, g) = (c.broker().cpu().since(b0), Process::myself().cpu().since(g0));
    if let (0, Some(e)) = (n, first_error.take()) {
        return Err(e);
    }
    let mut f = fields(json!({
        "concurrency": o.concurrency, "secs": round(secs), "connects": n, "errors": errors.get(),
        "connects_per_s": (n as f64 / secs).round(),
        "broker_load": round(b.total() / secs), "generator_load": round(g.total() / secs),
    }));
    cpu_fields(b, n, &mut f);
    Ok(line(c, if o.bare { "connect-bare" } else { "connect" }, f))
}

async fn once(t: &Target, id: &str, bare: bool) -> io::Result<()> {
    match bare {
        true => Conn::open(t).await.map(drop),
        false => Conn::mqtt(t, id, true).await?.close().await,
    }
}
