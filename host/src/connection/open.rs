//! An admitted client gets its session: a new one, or the one that waited for it, checked before it sends anything.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use gatemq_broker::router::{self, AskedAgain};
use gatemq_broker::sessions::{Leave, Opening};
use gatemq_broker::{Attached, Decision, SubscribeAction, Will};
use gatemq_mqtt::topic::Filter;
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{ActionKind, Connect, ReasonCode};

use super::admit::Stranger;
use super::authenticate::{NotAdmitted, Refusal, answer};
use super::bind::Greeting;
use super::client::Client;
use super::leave::leave;
use super::subscribe::{denied, filter_action};
use super::will::{ask, publish_will};
use crate::node::Node;
use crate::worker::Worker;

/// A session that its client has, but does not know of yet. Dropped, it waits for its client again.
pub(super) struct Opened<'a> {
    worker: &'a Worker,
    peer: Arc<Peer>,
    session: Option<Attached>,
    resumed: bool,
}

impl Opened<'_> {
    /// Session Present.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The client is admitted: what waits for it may go out, behind the CONNACK.
    pub(super) fn begin(mut self, worker: &Worker, client: &Client) {
        self.session = None;
        let events = &worker.node.events;
        if self.resumed {
            let spare = &mut worker.hot.borrow_mut().out.spare;
            let begun = router::begin(&client.session, worker.now_ms.get(), spare);
            let (again, waiting, dropped) = (begun.again as u64, begun.waiting as u64, begun.dropped as u64);
            events.emit(Some(&client.peer), Fact::SessionResumed { again, waiting, dropped });
        } else if client.session.is_persistent() {
            let expiry_s = client.session.expiry_s().into();
            events.emit(Some(&client.peer), Fact::SessionCreated { expiry_s });
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A client that never was there has left no will.
            leave(self.worker, &mut self.worker.hot.borrow_mut(), &self.peer, &session, Leave::default(), "disconnect");
        }
    }
}

/// Opens the session of a client's key; whoever had it is told to look.
///
/// # Errors
/// The client has gone, or a provider did not say whether it may keep a subscription: the session waits for its next try.
pub(super) async fn open<'a>(
    worker: &'a Rc<Worker>,
    stranger: &mut Stranger,
    client: &mut Client,
    greeting: &Greeting,
    connect: &Connect,
    will: Option<Will>,
) -> Result<Opened<'a>, NotAdmitted> {
    let claimed = match worker.node.cluster() {
        Some(cluster) => {
            let claimed = answer(worker, stranger, pin!(cluster.claim(client.identity.key()))).await?;
            Some(claimed.map_err(|(code, why)| Refusal::new("cluster", code, why))?)
        }
        None => None,
    };
    let leaves_will = will.is_some();
    let opening = Opening {
        key: client.identity.key(),
        protocol: connect.protocol,
        limits: greeting.session_limits,
        home: stranger.home,
        clean_start: connect.clean_start,
        expiry_s: greeting.expiry_s,
        will,
    };
    let opened = {
        let hot = &mut *worker.hot.borrow_mut();
        let opened = worker.node.sessions.try_open(opening, worker.now_ms.get(), &mut hot.out.spare);
        let opened = opened.map_err(|limit| {
            client.tell_exceeded(&worker.node, limit, worker.now_ms.get());
            Refusal::new("session", ReasonCode::QUOTA_EXCEEDED, limit.to_string())
        })?;
        hot.out.armed.extend(&opened.armed);
        opened
    };
    client.session = opened.session;
    // It is there: from now on its end counts.
    drop(claimed);
    if let Some(cluster) = worker.node.cluster().filter(|_| leaves_will) {
        cluster.will_changed(client.identity.key());
    }
    if let Some(before) = opened.taken_over {
        worker.node.session_ended(before);
        worker.node.events.emit(Some(&client.peer), Fact::ClientTakenOver { resumed: opened.resumed });
    }
    if opened.ended {
        worker.node.events.emit(Some(&client.peer), Fact::SessionEnded { reason: "clean start".into() });
    }
    if let Some(will) = opened.will {
        let hot = &mut *worker.hot.borrow_mut();
        publish_will(worker, hot, &client.peer, &will);
        worker.deliver_armed(hot);
    }
    let session = Some(client.session.clone());
    let opened = Opened { worker, peer: client.peer.clone(), session, resumed: opened.resumed };
    if let Some(before) = client.session.worker_before() {
        // What was said on the connection before comes to the store before what is said on this one.
        answer(worker, stranger, pin!(worker.stored_by(before))).await?;
    }
    client.session.arrived();
    if opened.resumed {
        Box::pin(recheck(worker, stranger, client)).await?;
    }
    let ticket = worker.submit(&mut worker.hot.borrow_mut());
    if client.session.number() != 0 {
        // The CONNACK promises what is to be there after a restart too.
        answer(worker, stranger, pin!(worker.stored(ticket))).await?;
    }
    Ok(opened)
}

/// Checks each subscription with the identity that the client has now.
async fn recheck(worker: &Worker, stranger: &mut Stranger, client: &Client) -> Result<(), NotAdmitted> {
    let found = router::recheck(&client.identity, &client.session, &mut worker.hot.borrow_mut().out.spare.changes);
    for (filter, code) in found.revoked {
        tell_revoked(&worker.node, &client.peer, &filter, code, "grants, when its session was resumed");
    }
    for AskedAgain { filter, qos, question } in found.ask {
        let parsed = Filter::trusted(&filter);
        let action = filter_action(ActionKind::Subscribe, parsed, qos, qos.bits(), Vec::new());
        let verdict = ask(worker, stranger, client, action).await?;
        let action = SubscribeAction { filter: parsed, qos };
        let code = match client.identity.answer_subscribe(action, question, &verdict) {
            Decision::Permit(_) => continue,
            Decision::Denied(code) => code,
            Decision::Ask(_) => ReasonCode::NOT_AUTHORIZED,
        };
        router::revoke(&client.session, &filter, &mut worker.hot.borrow_mut().out.spare.changes);
        tell_revoked(&worker.node, &client.peer, &filter, code, "its provider, when its session was resumed");
    }
    Ok(())
}

/// A subscription was taken away.
pub(super) fn tell_revoked(node: &Node, peer: &Arc<Peer>, filter: &str, code: ReasonCode, reason: &str) {
    node.events.emit(Some(peer), denied(Filter::trusted(filter), code, reason.to_owned()));
    node.events.emit(Some(peer), Fact::SubscriptionRemoved { filter: filter.to_owned().into() });
}
