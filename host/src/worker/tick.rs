//! Ten times a second: the coarse clock, whether the worker comes late, and on one worker whether events that were counted are to be told. Once a second: keep
//! alive, expiry, stalled clients, the topic cache, what was counted for tenants; and on one worker what time brings to sessions
//! whose clients are away.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use crate::clock;
use crate::connection;
use crate::overload::Source;
use crate::sys::Sys;

/// Resolution of the worker's clock.
const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_LOOK: u32 = 10;
/// Entries of the topic cache looked at each second.
const SWEEP_ENTRIES: usize = 1024;

pub(super) async fn run(worker: Rc<Worker>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    let mut sys = Sys::new(worker.node.sys_interval_s);
    let (mut late, mut memory) = (Source::default(), Source::default());
    loop {
        let due = every.tick().await;
        let now_ms = clock::now_ms();
        worker.now_ms.set(now_ms);
        let lag_ms = u64::try_from(due.elapsed().as_millis()).unwrap_or(u64::MAX);
        worker.hot.borrow_mut().sampled = true;
        worker.node.overload.lag(&mut late, lag_ms, &worker.node.events, now_ms);
        if worker.id == 0 {
            worker.node.events.look(now_ms);
        }
        ticks += 1;
        if ticks % TICKS_PER_LOOK != 0 {
            continue;
        }
        for slot in worker.slots.borrow().iter().flatten() {
            if slot.connection.borrow_mut().look(&worker.node, now_ms) {
                slot.waker.wake_by_ref();
            }
        }
        worker.shares.add_up();
        worker.hot.borrow_mut().out.cache.sweep(SWEEP_ENTRIES);
        if worker.id == 0 {
            worker.node.overload.memory(&mut memory, &worker.node.events, now_ms);
            sys.look(&worker);
            while connection::sweep(&worker) {
                tokio::task::yield_now().await;
            }
        }
    }
}
