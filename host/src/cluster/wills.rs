//! Wills of clients whose node dies: given into keeping of another node, which publishes them (MQTT-3.1.2-8, 3.1.3.2.2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatemq_broker::changes::StoredWill;
use gatemq_broker::{LeftWill, Session, SessionKey};
use gatemq_cluster::core::{Input, SessionKey as Key, Will};
use gatemq_mqtt::packet::connect;
use gatemq_types::QoS;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::claim::key_of;
use super::driver::Driver;
use super::told::Told;
use crate::connection;

/// A will as it is kept elsewhere. Written by postcard.
#[derive(Serialize, Deserialize)]
struct Kept {
    topic: String,
    qos: u8,
    retain: bool,
    properties: Vec<u8>,
    payload: Vec<u8>,
    asked: bool,
}

/// A session's will as the core is to know it now.
fn will_of(session: &Session) -> Option<Will> {
    let StoredWill { message, asked } = session.left_will()?;
    let connect::Will { topic, qos, retain, delay_s, properties, payload } = (*message).clone();
    // The end of the session publishes it, should that come first (MQTT-3.1.3-9).
    let delay_ms = u64::from(delay_s.min(session.expiry_s())) * 1000;
    let bytes = postcard::to_allocvec(&Kept { topic, qos: qos.bits(), retain, properties, payload, asked });
    bytes.ok().map(|bytes| Will { delay_ms, bytes })
}

fn read(bytes: &[u8]) -> Option<StoredWill> {
    let Kept { topic, qos, retain, properties, payload, asked } = postcard::from_bytes(bytes).ok()?;
    let message = connect::Will { topic, qos: QoS::from_bits(qos)?, retain, delay_s: 0, properties, payload };
    Some(StoredWill { message: Arc::new(message), asked })
}

/// What the core is told of the will of a session that the store had.
pub(super) fn restored(session: &Session) -> Option<Input> {
    will_of(session).map(|will| Input::Will { key: key_of(session.key()), will: Some(will) })
}

impl Cluster {
    /// A session's client left a will, or took it back, or it was published. Never waits; any worker.
    pub(crate) fn will_changed(&self, key: &Arc<SessionKey>) {
        self.inbox.tell(Told::Will(key.clone()));
    }

    /// Whether wills that the store had at the start, and that are still there, are this node's to publish. Before, none is.
    pub(crate) fn has_its_wills(&self) -> bool {
        self.has_its_wills.load(Ordering::Acquire)
    }
}

impl Driver {
    /// The will of a session as it is now: who told may have been overtaken.
    pub(super) fn will(&self, key: &SessionKey) -> Input {
        let will = self.node.sessions.get(key).and_then(|session| will_of(&session));
        Input::Will { key: key_of(key), will }
    }

    /// Another node publishes it, or has.
    pub(super) fn will_taken(&self, key: &Key) {
        let Some(session) = self.session(key) else { return };
        session.drop_will();
        let node = self.node.clone();
        tokio::spawn(async move {
            // A worker that has ended has nothing to note.
            node.on_worker(0, move |worker| {
                worker.node.sessions.note(&session, &mut worker.hot.borrow_mut().out.spare);
            })
            .await;
        });
    }

    pub(super) fn wills_ours(&self) {
        self.cluster.has_its_wills.store(true, Ordering::Release);
    }

    /// The node of its client is dead.
    pub(super) fn publish_will(&self, key: Key, will: &Will) {
        let Some(stored) = read(&will.bytes) else {
            return tracing::error!(?key, "a will of another node cannot be read");
        };
        let node = self.node.clone();
        tokio::spawn(async move {
            let of = node.tenants.get_or_create(&key.tenant).ok();
            let of = of.and_then(|tenant| SessionKey::new(tenant, &key.user, &key.client_id).ok());
            let Some(of) = of else { return tracing::error!(?key, "a will of another node has no tenant here") };
            let left = LeftWill::of_elsewhere(Arc::new(of), stored, &node.hasher);
            let published = node.on_worker(0, move |worker| connection::publish_left(worker, &left)).await;
            if published.is_none() {
                tracing::warn!(?key, "a will of another node was not published: this one stops");
            }
        });
    }
}
