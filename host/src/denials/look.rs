//! Where denials are looked at. Each refusal is an event `DenialEnforced`, and what the walk that it ends says of it.

use std::net::IpAddr;
use std::sync::Arc;

use gatemq_broker::denials::{Held, Proven};
use gatemq_types::event::{Fact, Peer};

use super::ends_connections;
use crate::clock;
use crate::listen::Listener;
use crate::node::Node;

/// What `ConnectionRefused` says.
const DENIED: &str = "denied";

/// The event that an enforced denial is.
fn enforced(held: &Held, stage: &'static str) -> Fact {
    Fact::DenialEnforced {
        subject: held.denial.subject.to_string().into(),
        stage: stage.into(),
        reason: held.denial.reason.clone().into(),
        raised_by: held.denial.raised_by.clone().into(),
    }
}

/// Whether an address is kept out: at accept, or of a client that a proxy carries. A proxy's own never is. `peer` is made only
/// if it is; the caller closes the connection and emits what is returned.
pub(crate) fn refuses_address(
    node: &Node,
    listener: &Listener,
    ip: IpAddr,
    stage: &'static str,
    peer: impl FnOnce() -> Peer,
) -> Option<Fact> {
    if node.denials.set.is_empty() || listener.is_proxy(ip) {
        return None;
    }
    let now_ms = clock::now_ms();
    let held = node.denials.set.of_address(ip, now_ms, |_| true).filter(|held| held.refuses(now_ms))?;
    node.events.emit(Some(&Arc::new(peer())), enforced(&held, stage));
    Some(Fact::ConnectionRefused { reason: DENIED.into() })
}

/// Whether a certificate is kept out, right after the handshake. Notes that its key was proven. The caller as above.
pub(crate) fn refuses_certificate(node: &Node, peer: &Peer, proven: Option<&Proven>, now_ms: u64) -> Option<Fact> {
    let proven = proven?;
    node.denials.note_proven(proven, now_ms);
    let held = node.denials.set.of_certificate(proven, now_ms)?;
    node.events.emit(Some(&Arc::new(peer.clone())), enforced(&held, "tls"));
    Some(Fact::ConnectionRefused { reason: DENIED.into() })
}

/// Whether a client that authenticated is kept out by its names. The reason is for the event of its refusal.
pub(crate) fn refuses_name(node: &Node, peer: &Arc<Peer>, now_ms: u64) -> Option<String> {
    let held = node.denials.set.of_name(&peer.tenant, &peer.user, &peer.client_id, now_ms)?;
    node.events.emit(Some(peer), enforced(&held, "authenticate"));
    Some(format!("denied by {}: {}", held.denial.raised_by, held.denial.reason))
}

/// What is to end a connection that is there. Says so, too.
pub(crate) fn refuses_connected(node: &Node, peer: &Arc<Peer>, proven: Option<&Proven>, now_ms: u64) -> bool {
    let set = &node.denials.set;
    if set.is_empty() {
        return false;
    }
    let by_name = || set.of_name(&peer.tenant, &peer.user, &peer.client_id, now_ms);
    let by_certificate = || proven.and_then(|proven| set.of_certificate(proven, now_ms));
    let ip = peer.remote.ip();
    let by_address = || set.of_address(ip, now_ms, ends_connections).filter(|_| !node.denials.is_proxy(ip));
    let Some(held) = by_name().or_else(by_certificate).or_else(by_address) else { return false };
    node.events.emit(Some(peer), enforced(&held, "session"));
    true
}

/// Whether a will that is due is kept back because its client is denied.
pub(crate) fn withholds_will(node: &Node, peer: &Arc<Peer>, now_ms: u64) -> bool {
    let Some(held) = node.denials.set.of_name(&peer.tenant, &peer.user, &peer.client_id, now_ms) else { return false };
    node.events.emit(Some(peer), enforced(&held, "will"));
    true
}
