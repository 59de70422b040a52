//! `$SYS`: what the node says of a tenant to those of it whose grants name `$SYS/`.
//!
//! Every value is of the one tenant or of the software, nothing of other tenants. They are published, not retained, each
//! `node.sys_interval_s`, so who subscribes has them within that time; where nobody did nothing is made.

use std::time::Instant;

use gatemq_broker::{Tenant, TenantLimit, router};

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

/// Topics below `$SYS/broker/` and their values, named as mosquitto does. What is counted is of this tenant on this node since it
/// came into use, up to a second old; a message counts as sent when it is given to a session, and `messages/received` counts the
/// packets of admitted clients, whatever their type.
fn values(tenant: &Tenant, uptime_s: u64) -> Vec<(String, String)> {
    let (usage, traffic) = (tenant.usage(), tenant.traffic());
    let values = [
        ("version", concat!("gatemq ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("uptime", format!("{uptime_s} seconds")),
        ("clients/connected", usage.connections.to_string()),
        ("clients/total", usage.sessions.to_string()),
        ("clients/disconnected", usage.sessions.saturating_sub(usage.connections).to_string()),
        ("subscriptions/count", usage.subscriptions.to_string()),
        ("retained messages/count", usage.retained_messages.to_string()),
        ("retained messages/bytes", usage.retained_bytes.to_string()),
        ("store/messages/bytes", (usage.queue_bytes + usage.retained_bytes).to_string()),
        ("messages/received", traffic.packets_received.to_string()),
        ("publish/messages/received", traffic.messages_received.to_string()),
        ("publish/messages/sent", traffic.messages_sent.to_string()),
        ("publish/messages/dropped", traffic.messages_dropped.to_string()),
        ("bytes/received", traffic.bytes_received.to_string()),
        ("bytes/sent", traffic.bytes_sent.to_string()),
    ];
    let limits = TenantLimit::ALL.iter().map(|limit| {
        let times = tenant.times_reached(*limit);
        (format!("limits/{}/reached", limit.name()), times.to_string())
    });
    values.map(|(topic, value)| (topic.to_owned(), value)).into_iter().chain(limits).collect()
}
