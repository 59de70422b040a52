//! Messages that plugins publish: routed on a worker, as the node's own.

use std::sync::Arc;

use gatemq_broker::router::{self, NodeMessage};
use gatemq_broker::{Retention, Tenant, TenantError};
use gatemq_plugin_loader::Answer;
use gatemq_types::service::{Message, ServiceError};

use super::asker::Waits;
use super::run::counted;
use super::{Asker, By, Desk};
use crate::clock;
use crate::node::Node;
use crate::worker::Worker;

/// One on its way to a worker.
pub(crate) struct Publication {
    desk: Arc<Desk>,
    tenant: Arc<Tenant>,
    message: Message,
    answer: Answer,
    waits: Waits,
}

/// Sends a message to a worker, always the same for one asker: its messages stay in order.
pub(super) fn send(desk: &Arc<Desk>, node: &Node, asker: &Asker, message: &Message, waits: Waits, answer: Answer) {
    let bytes = message.topic.len() + message.payload.len();
    let tenant = match node.tenants.get_or_create(&message.tenant) {
        _ if bytes as u64 > u64::from(node.limits.packet_bytes_max) => Err(ServiceError::Invalid),
        _ if !asker.may_publish(bytes, clock::now_ms()) => Err(ServiceError::Busy),
        Ok(tenant) => Ok(tenant),
        Err(TenantError::TooMany) => Err(ServiceError::Busy),
        Err(_) => Err(ServiceError::Invalid),
    };
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(e) => return answer(Err(e)),
    };
    let message = message.clone();
    let publication = Publication { desk: desk.clone(), tenant, message, answer, waits };
    node.send(worker_of(asker.by(), node.workers()), |mail| mail.publications.push(publication));
}

fn worker_of(by: &By, workers: usize) -> usize {
    by.to_string().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % workers.max(1)
}

impl Publication {
    /// Routes it. The reply counts the subscriptions that it went to.
    pub(crate) fn route(self, worker: &Worker) {
        let Publication { desk, tenant, message, answer, waits } = self;
        let hot = &mut *worker.hot.borrow_mut();
        let Message { topic, payload, qos, retain, .. } = &message;
        let own = NodeMessage { topic, payload, qos: *qos, retain: *retain };
        let routed = router::publish_for_plugin(&tenant, own, &worker.node.hasher, worker.now_ms.get(), &mut hot.out);
        worker.deliver_armed(hot);
        let outcome = match routed {
            Ok(routed) if routed.retention == Retention::Refused => Err(ServiceError::Busy),
            Ok(routed) => Ok(counted(routed.delivered.into())),
            Err(_) => Err(ServiceError::Invalid),
        };
        desk.finish(answer, outcome, waits);
    }
}
