//! `$SYS`: what the node says of a tenant to those of it whose grants name `$SYS/`.
//!
//! Every value is of the one tenant or of the software, nothing of other tenants. They are published, not retained, each
//! `node.sys_interval_s`, so who subscribes has them within that time; where nobody did nothing is made.

use std::time::Instant;

use gatemq_broker::{Tenant, router};

use crate::worker::Worker;

/// When it is time.
pub(crate) struct Sys {
    interval_s: u32,
    started: Instant,
    looks: u32,
}

impl Sys {
    /// From now on, each so many seconds; 0: never.
    pub(crate) fn new(interval_s: u32) -> Self {
        Sys { interval_s, started: Instant::now(), looks: 0 }
    }

    /// Called once a second on one worker.
    pub(crate) fn look(&mut self, worker: &Worker) {
        self.looks += 1;
        if self.interval_s == 0 || self.looks < self.interval_s {
            return;
        }
        self.looks = 0;
        let uptime_s = self.started.elapsed().as_secs();
        let hot = &mut *worker.hot.borrow_mut();
        for tenant in worker.node.tenants.filter(Tenant::wants_sys) {
            for (topic, value) in values(&tenant, uptime_s) {
                let topic = format!("$SYS/broker/{topic}");
                let message = (&*topic, value.as_bytes());
                router::publish_own(&tenant, message, &worker.node.hasher, worker.now_ms.get(), &mut hot.out);
            }
        }
        worker.deliver_armed(hot);
    }
}

/// Topics below `$SYS/broker/` and their values, named as mosquitto does.
fn values(tenant: &Tenant, uptime_s: u64) -> [(&'static str, String); 9] {
    let usage = tenant.usage();
    [
        ("version", concat!("gatemq ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("uptime", format!("{uptime_s} seconds")),
        ("clients/connected", usage.connections.to_string()),
        ("clients/total", usage.sessions.to_string()),
        ("clients/disconnected", usage.sessions.saturating_sub(usage.connections).to_string()),
        ("subscriptions/count", usage.subscriptions.to_string()),
        ("retained messages/count", usage.retained_messages.to_string()),
        ("retained messages/bytes", usage.retained_bytes.to_string()),
        ("store/messages/bytes", (usage.queue_bytes + usage.retained_bytes).to_string()),
    ]
}
