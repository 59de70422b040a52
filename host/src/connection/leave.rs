//! A client lets go of its session, or does not come back to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gatemq_broker::sessions::{Leave, Opening};
use gatemq_broker::{Attached, LeftWill, Session};
use gatemq_types::Transport;
use gatemq_types::event::{Fact, Peer};

use super::will::publish_will;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Sessions that expire between two turns of the worker's connections.
const EXPIRED_PER_TURN: usize = 256;

/// Ends a connection's hold of its session; `reason` is for the event, should the session end before its time.
pub(super) fn leave(
    worker: &Worker,
    hot: &mut Hot,
    peer: &Arc<Peer>,
    session: &Attached,
    leave: Leave,
    reason: &'static str,
) {
    let (sessions, events) = (&worker.node.sessions, &worker.node.events);
    let was_persistent = session.is_persistent();
    let with_will = worker.node.cluster().filter(|_| session.session().left_will().is_some());
    let left = sessions.leave(session, leave, worker.now_ms.get(), &mut hot.out.spare);
    if let Some(cluster) = with_will {
        cluster.will_changed(session.session().key());
    }
    hot.out.armed.extend(&left.armed);
    for will in &left.wills {
        match Arc::ptr_eq(&will.session, session.session()) {
            true => publish_will(worker, hot, peer, will),
            false => publish_will(worker, hot, &away(&will.session), will),
        }
    }
    if let Some(evicted) = &left.evicted {
        let reason = "sessions_detached_max".into();
        events.emit(Some(&away(evicted)), Fact::SessionEnded { reason });
    } else if left.ended && was_persistent {
        events.emit(Some(peer), Fact::SessionEnded { reason: reason.into() });
    }
    worker.deliver_armed(hot);
}

/// What time brings: sessions expire, delayed wills are due. True: there is more, after the others had their turn.
pub(crate) fn sweep(worker: &Worker) -> bool {
    let cluster = worker.node.cluster();
    if worker.node.is_clustered && !cluster.is_some_and(|cluster| cluster.has_its_wills()) {
        return false;
    }
    let hot = &mut *worker.hot.borrow_mut();
    let swept = worker.node.sessions.sweep(worker.now_ms.get(), EXPIRED_PER_TURN, &mut hot.out.spare);
    hot.out.armed.extend(&swept.armed);
    for will in &swept.wills {
        publish_will(worker, hot, &away(&will.session), will);
        if let Some(cluster) = cluster {
            cluster.will_changed(will.session.key());
        }
    }
    for session in &swept.expired {
        worker.node.events.emit(Some(&away(session)), Fact::SessionExpired {});
    }
    worker.deliver_armed(hot);
    swept.more
}

/// Publishes a will of a client of a node that died.
pub(crate) fn publish_left(worker: &Worker, will: &LeftWill) {
    let hot = &mut *worker.hot.borrow_mut();
    publish_will(worker, hot, &away(&will.session), will);
    worker.deliver_armed(hot);
}

/// Takes a session away from its client, which is told that it was taken over, for another node is to have it. False: it ended
/// with its connection.
pub(crate) fn take_away(worker: &Worker, session: &Arc<Session>) -> bool {
    let hot = &mut *worker.hot.borrow_mut();
    let (sessions, now_ms, stays) = (&worker.node.sessions, worker.now_ms.get(), session.is_persistent());
    let opening = Opening {
        key: session.key(),
        protocol: session.protocol(),
        limits: session.limits(),
        // Nobody's.
        home: worker.home(u32::MAX),
        clean_start: !stays,
        expiry_s: session.expiry_s(),
        will: None,
    };
    let opened = sessions.open(opening, now_ms, &mut hot.out.spare);
    let left = sessions.leave(&opened.session, Leave { end: !stays, ..Leave::default() }, now_ms, &mut hot.out.spare);
    hot.out.armed.extend(opened.armed.iter().chain(&left.armed));
    for will in opened.will.iter().chain(&left.wills) {
        publish_will(worker, hot, &away(&will.session), will);
    }
    worker.deliver_armed(hot);
    if let Some(before) = opened.taken_over {
        worker.node.session_ended(before);
    }
    left.stays
}

/// For events about a session whose client is away: who it is, and no connection.
pub(crate) fn away(session: &Session) -> Arc<Peer> {
    let key = session.key();
    Arc::new(Peer {
        connection: 0,
        listener: "".into(),
        transport: Transport::Tcp,
        remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        leaf_sha256: None,
        protocol: None,
        tenant: key.tenant().name().into(),
        user: key.user().into(),
        client_id: key.client_id().into(),
    })
}
