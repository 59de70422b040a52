//! Publishers and subscribers whose messages flow through the broker, closed or open loop.

mod publisher;
mod subscriber;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::net::Conn;
use crate::procfs::{Cpu, Process};
use crate::wire::PublishTemplate;

/// A connected publisher and the messages it goes through in turn.
pub type Publisher = (Conn, Rc<Vec<PublishTemplate>>);

/// How messages are sent.
pub struct Plan {
    /// QoS of the messages.
    pub qos: u8,
    /// Deliveries the broker owes for one message.
    pub fan: u64,
    /// Closed loop: messages a publisher may have undelivered.
    pub window: u64,
    /// Open loop: messages per second over all publishers.
    pub rate: Option<f64>,
    /// Seconds before measuring starts.
    pub warmup: f64,
    /// Seconds measured.
    pub secs: f64,
    /// Whose CPU time is measured.
    pub broker: Process,
}

/// What came of it.
pub struct Outcome {
    /// Seconds measured.
    pub secs: f64,
    /// Messages sent in that time.
    pub published: u64,
    /// Messages received in that time.
    pub delivered: u64,
    /// Deliveries written off since the start.
    pub lost: u64,
    /// The broker's CPU time.
    pub broker: Cpu,
    /// Ours.
    pub generator: Cpu,
    /// Microseconds from (intended) send to receipt.
    pub latency: Histogram<u64>,
}

/// The messages of one publisher.
struct Flow {
    sent: Cell<u64>,
    received: Cell<u64>,
    /// Intended send times, open loop only; as long as the broker is behind.
    due: RefCell<VecDeque<u64>>,
    wake: Notify,
}

impl Flow {
    fn new() -> Flow {
        Flow { sent: Cell::new(0), received: Cell::new(0), due: RefCell::default(), wake: Notify::new() }
    }
}

/// State that all tasks of a run share (one thread, so no locks).
struct Run {
    start: Instant,
    flows: Vec<Flow>,
    fan: u64,
    /// 0 is open loop.
    window: u64,
    qos: u8,
    latency: RefCell<Histogram<u64>>,
    recording: Cell<bool>,
    failed: RefCell<Option<String>>,
    lost: Cell<u64>,
}

/// The upper bits of a time stamp name the publisher, the lower ones are nanoseconds since the start.
const STAMP_BITS: u32 = 48;

impl Run {
    fn new(plan: &Plan, publishers: usize) -> io::Result<Run> {
        Ok(Run {
            start: Instant::now(),
            flows: (0..publishers).map(|_| Flow::new()).collect(),
            fan: plan.fan,
            window: if plan.rate.is_some() { 0 } else { plan.window },
            qos: plan.qos,
            latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?),
            recording: Cell::new(false),
            failed: RefCell::new(None),
            lost: Cell::new(0),
        })
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn fail(&self, who: &str, e: io::Error) {
        self.failed.borrow_mut().get_or_insert(format!("{who}: {e}"));
    }

    fn sum(&self, f: impl Fn(&Flow) -> u64) -> u64 {
        self.flows.iter().map(f).sum()
    }
}

/// Runs publishers against subscribers (already connected and subscribed). Call it within a `LocalSet`.
pub async fn run(plan: Plan, pubs: Vec<Publisher>, subs: Vec<Conn>) -> io::Result<Outcome> {
    let run = Rc::new(Run::new(&plan, pubs.len())?);
    for c in subs {
        let run = run.clone();
        spawn_local(async move {
            if let Err(e) = subscriber::subscriber(run.clone(), c).await {
                run.fail("subscriber", e);
            }
        });
    }
    for (me, (c, topics)) in pubs.into_iter().enumerate() {
        let run = run.clone();
        spawn_local(async move {
            if let Err(e) = publisher::publisher(run.clone(), me, c, topics).await {
                run.fail("publisher", e);
            }
        });
    }
    if let Some(rate) = plan.rate {
        spawn_local(publisher::clock(run.clone(), rate));
    }
    wait(&run, plan.warmup).await?;
    run.recording.set(true);
    let (t0, b0, g0) = (Instant::now(), plan.broker.cpu(), Process::myself().cpu());
    let (s0, r0) = (run.sum(|f| f.sent.get()), run.sum(|f| f.received.get()));
    wait(&run, plan.secs).await?;
    let (secs, b1, g1) = (t0.elapsed().as_secs_f64(), plan.broker.cpu(), Process::myself().cpu());
    let latency = run.latency.borrow().clone();
    Ok(Outcome {
        secs,
        published: run.sum(|f| f.sent.get()) - s0,
        delivered: (run.sum(|f| f.received.get()) - r0).saturating_sub(run.lost.get()),
        lost: run.lost.get(),
        broker: b1.since(b0),
        generator: g1.since(g0),
        latency,
    })
}

/// Waits, fails if a connection failed, and writes messages off as lost that have been
/// undelivered for two seconds without progress (closed loop), so that the flow goes on.
async fn wait(run: &Run, secs: f64) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(secs);
    let mut last: Vec<u64> = vec![u64::MAX; run.flows.len()];
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(Duration::from_secs(2))).await;
        if let Some(e) = run.failed.borrow_mut().take() {
            return Err(io::Error::other(e));
        }
        if run.window == 0 || left < Duration::from_secs(2) {
            continue;
        }
        for (flow, last) in run.flows.iter().zip(&mut last) {
            let (got, owed) = (flow.received.get(), flow.sent.get() * run.fan);
            if got == *last && owed > got {
                run.lost.set(run.lost.get() + owed - got);
                flow.received.set(owed);
                flow.wake.notify_one();
            }
            *last = got;
        }
    }
    Ok(())
}
