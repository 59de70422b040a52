//! Messages that other nodes send, delivered on a worker.

use std::rc::Rc;

use gatemq_broker::router;
use tokio::sync::oneshot;

use crate::worker::Worker;

/// A message that another node has sent.
pub(crate) struct Sent {
    /// Tenant.
    pub(crate) tenant: Box<str>,
    /// Deliver it to all who share their subscription with nobody.
    pub(crate) plain: bool,
    /// And to one member of each of these.
    pub(crate) shares: Vec<Box<str>>,
    /// Its PUBLISH of MQTT 5.
    pub(crate) packet: bytes::Bytes,
}

/// Some of one node, for one worker, which always has those of that node and lane.
pub(crate) struct FromNode {
    /// In order.
    pub(super) messages: Vec<Sent>,
    /// For each, whether it was taken; dropped: none was.
    pub(super) answer: oneshot::Sender<Vec<bool>>,
}

impl FromNode {
    /// Delivers them, and answers when the store has what it is to have of them.
    pub(crate) async fn deliver(self, worker: &Rc<Worker>) {
        let FromNode { messages, answer } = self;
        let (taken, ticket) = {
            let hot = &mut *worker.hot.borrow_mut();
            let taken: Vec<bool> = messages.iter().map(|sent| sent.deliver(worker, &mut hot.out)).collect();
            (taken, worker.submitted(hot))
        };
        worker.stored(ticket).await;
        // Who asked may have gone.
        let _ = answer.send(taken);
    }
}

impl Sent {
    /// False: nobody here can have it; sending it again does not help.
    fn deliver(&self, worker: &Worker, out: &mut gatemq_broker::Out) -> bool {
        let Ok(tenant) = worker.node.tenants.get_or_create(&self.tenant) else { return false };
        let sent = router::FromNode { packet: &self.packet, plain: self.plain, shares: &self.shares };
        router::publish_from_node(&tenant, sent, &worker.node.hasher, worker.now_ms.get(), out).is_ok()
    }
}
