//! Sessions that move between nodes: what the core wants done with them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gatemq_broker::session::Way;
use gatemq_broker::{Publication, Session, SessionKey, router};
use gatemq_cluster::core::{Action, Epoch, HybridTime, Input, NodeName, Owned as OwnedSession, SessionKey as Key};
use gatemq_store::{Batch, KeptValue, Op, Owner, SessionId, Store, StoreError};
use gatemq_types::event::Fact;
use tokio::sync::oneshot;

use super::driver::Driver;
use super::follow::{GIVEN, Handing, given_key, put_given};
use super::state::State;
use super::told::Told;
use super::{Cluster, MARKS, way_of};
use crate::clock;
use crate::connection;
use crate::durable;
use crate::node::Node;

/// What came here for a session while it was elsewhere. Other nodes have numbers with the upper bit.
const HERE: Way = 1;
/// How often it is looked whether other nodes have answered for what the client of a session has sent.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Operations of a batch of the store.
const OPS_MAX: usize = 1024;

impl Driver {
    pub(super) fn act_on_sessions(&mut self, action: Action) {
        match action {
            Action::Granted { request, epoch, .. } => self.granted(request, &epoch),
            Action::ClaimRefused { request, why } => {
                if let Some((_, answer)) = self.claims.remove(&request) {
                    // Who asked may have gone.
                    let _ = answer.send(Err(why));
                }
            }
            Action::HandOver { key, .. } => self.hand_over(key),
            Action::HandOverCancelled { key } => _ = self.no_more_handed(&key),
            Action::Moved { key, to, .. } => self.moved(&key, to),
            Action::MoveOver { key, to, epoch } => self.move_over(key, to, epoch),
            Action::Install { key, epoch, from, state } => self.install(key, epoch, from, state),
            Action::Superseded { key, by, .. } => {
                if let Some(session) = self.session(&key) {
                    self.forget_session(session, Some(by));
                }
            }
            Action::WillTaken { key } => self.will_taken(&key),
            Action::WillsOurs => self.wills_ours(),
            Action::PublishWill { key, will } => self.publish_will(key, &will),
            other => tracing::debug!(?other, "nothing is done for this"),
        }
    }

    /// A session of this node.
    pub(super) fn session(&self, key: &Key) -> Option<Arc<Session>> {
        let tenant = self.node.tenants.get(&key.tenant)?;
        let key = SessionKey::new(tenant, &key.user, &key.client_id).ok()?;
        self.node.sessions.get(&key)
    }

    fn granted(&mut self, request: u64, epoch: &Epoch) {
        let Some((key, answer)) = self.claims.remove(&request) else { return };
        self.ops.extend(put_epoch(&key, epoch));
        // It moved and ended there: what is left of it here is not what its client is to find.
        if let Some(handing) = self.no_more_handed(&key).filter(Handing::has_moved) {
            self.node.sessions.take_out(&handing.session);
            self.forget_session(handing.session, None);
        }
        // Who asked may have gone, and says so.
        let _ = answer.send(Ok(()));
    }

    /// A session ended, or was not opened after all: is there none of its key any more?
    pub(super) fn settle(&mut self, key: &SessionKey) -> Option<Input> {
        // In this order: who opens one lets go of its claim when it is there.
        let opening = self.cluster.opening.lock().contains_key(key);
        if opening || self.node.sessions.get(key).is_some() {
            return None;
        }
        let key = super::claim::key_of(key);
        self.no_more_handed(&key);
        self.ops.push(Op::DeleteValue { owner: MARKS.into(), key: epoch_key(&key) });
        Some(Input::SessionGone { key })
    }

    fn hand_over(&mut self, key: Key) {
        let (node, cluster) = (self.node.clone(), self.cluster.clone());
        let session = self.session(&key);
        tokio::spawn(async move {
            let state = match session {
                Some(session) => match gathered(&node, &key, &session).await {
                    Ok(state) => state.map(|state| (session, state)),
                    // It is still there: who asks for it hears nothing, and asks again.
                    Err(why) => return tracing::error!(?key, "a session is not handed over: {why}"),
                },
                None => None,
            };
            let bytes = state.as_ref().and_then(|(_, state)| postcard::to_allocvec(state).ok());
            let given = key.clone();
            if let Some((session, state)) = state {
                let handing = Handing::new(session, state.last_seq);
                let keep = move |driver: &mut Driver| _ = driver.handing.insert(key, handing);
                cluster.inbox.tell(Told::Ask(Box::new(keep)));
            }
            cluster.inbox.tell(Told::Core(Input::HandedOver { key: given, state: bytes }));
        });
    }

    /// A session lives elsewhere; `by`: another one of its key does, so what it had is lost.
    pub(super) fn forget_session(&self, session: Arc<Session>, by: Option<NodeName>) {
        let node = self.node.clone();
        tokio::spawn(async move {
            node.on_worker(0, move |worker| {
                if let Some(by) = by {
                    connection::take_away(worker, &session);
                    let lost = session.waiting();
                    let reason = format!("superseded by the one on {by}; {lost} messages that waited are lost").into();
                    worker.node.events.emit(Some(&connection::away(&session)), Fact::SessionEnded { reason });
                }
                let hot = &mut *worker.hot.borrow_mut();
                worker.node.sessions.forget(&session, &mut hot.out.spare);
                worker.deliver_armed(hot);
            })
            .await;
        });
    }

    fn install(&mut self, key: Key, epoch: Epoch, from: NodeName, state: Vec<u8>) {
        // It comes back before everybody knew that it had gone: what came here meanwhile is in none of its states.
        let before = self.handing.get(&key).map(|handing| (handing.session.clone(), handing.last_seq));
        let (node, cluster) = (self.node.clone(), self.cluster.clone());
        tokio::spawn(async move {
            let taken = installed(&node, (&key, &epoch), &state, before.clone()).await;
            match &taken {
                Ok(session) => {
                    if let Some((before, _)) = before {
                        let key = key.clone();
                        cluster.inbox.tell(Told::Ask(Box::new(move |driver| driver.has_come_back(&key, &before))));
                    }
                    let came = session.clone();
                    let moved_in = move |driver: &mut Driver| driver.moved_in.push(came, clock::now_ms());
                    cluster.inbox.tell(Told::Ask(Box::new(moved_in)));
                    let from = from.as_str().to_owned().into();
                    node.events.emit(Some(&connection::away(session)), Fact::SessionMoved { from });
                }
                Err(why) => {
                    tracing::error!(?key, from = from.as_str(), "a session cannot be taken from another node: {why}");
                }
            }
            let input = Input::Installed { key: key.clone(), epoch, taken: taken.is_ok() };
            // Its subscriptions were told before, so the core hears of them first.
            cluster.inbox.tell(Told::Core(input));
        });
    }
}

/// What a start finds of sessions.
pub(super) struct Restored {
    /// What the core is told before the node joins.
    pub(super) inputs: Vec<Input>,
    /// Those whose states were given away.
    pub(super) handing: HashMap<Key, Handing>,
    /// Those for which something may come by several ways: first those whose states were given away.
    pub(super) several: VecDeque<Arc<Session>>,
}

/// Tells apart which sessions have moved, here or away.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restored(node: &Node, cluster: &Cluster, store: &dyn Store) -> Result<Restored, StoreError> {
    let (mut epochs, mut given) = (HashMap::new(), HashMap::new());
    store.scan_values(&mut |owner, key, value| {
        if owner == MARKS && key.starts_with(GIVEN) {
            given.extend(postcard::from_bytes::<u64>(&value.bytes).ok().map(|last_seq| (key.to_owned(), last_seq)));
        } else if owner == MARKS && key.starts_with(EPOCHS) {
            epochs.extend(postcard::from_bytes(&value.bytes).ok().map(|epoch| (key.to_owned(), epoch)));
        }
        true
    })?;
    let (mut inputs, mut wills, mut handing, mut several) = (Vec::new(), Vec::new(), HashMap::new(), VecDeque::new());
    for session in node.sessions.keys().into_iter().filter_map(|key| node.sessions.get(&key)) {
        let key = super::claim::key_of(session.key());
        // One of a time before the cluster has none: everybody's is later.
        let first = || Epoch { time: HybridTime(0), node: cluster.own.clone() };
        let epoch = epochs.remove(&*epoch_key(&key)).unwrap_or_else(first);
        wills.extend(super::wills::restored(&session));
        let given = given.remove(&*given_key(&key));
        match given {
            Some(_) => several.push_front(session.clone()),
            None if session.has_moved() => several.push_back(session.clone()),
            None => {}
        }
        let owned = OwnedSession { key: key.clone(), epoch };
        inputs.push(Input::SessionRestored { owned, given: given.is_some() });
        handing.extend(given.map(|last_seq| (key, Handing::new(session, last_seq))));
    }
    inputs.extend(wills);
    Ok(Restored { inputs, handing, several })
}

/// Keys of values that are sessions' epochs.
const EPOCHS: char = 's';

/// Where a session's epoch is kept.
fn epoch_key(key: &Key) -> Box<str> {
    let Key { tenant, user, client_id } = key;
    format!("{EPOCHS}{tenant}\0{user}\0{client_id}").into()
}

/// Under which epoch it is ours.
fn put_epoch(key: &Key, epoch: &Epoch) -> Option<Op> {
    let value = KeptValue { until_ms: 0, bytes: postcard::to_allocvec(epoch).ok()?.into() };
    Some(Op::PutValue { owner: MARKS.into(), key: epoch_key(key), value })
}

/// Closes the client of a session and reads its state; `None`: it ended with its client.
async fn gathered(node: &Arc<Node>, key: &Key, session: &Arc<Session>) -> Result<Option<State>, String> {
    const STOPS: &str = "the broker stops";
    let of = session.clone();
    let stays = node.on_worker(0, move |worker| connection::take_away(worker, &of)).await.ok_or(STOPS)?;
    if !stays || session.number() == 0 {
        return Ok(None);
    }
    // What it gets from now on is not in its state. Workers bring their changes to the store in any order, so first all that came
    // before has to be there.
    let mut cut = session.moves_out();
    barriers(node).await.ok_or(STOPS)?;
    // Of QoS 2 messages that go to other nodes the packet identifiers come to the store when these have answered, or it keeps them for
    // these: within `ack_wait_ms`. Without them the client would have the messages published once more where it is now.
    while session.is_forwarded() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    barriers(node).await.ok_or(STOPS)?;
    // After the cut, so that all that is in its state was heard; what came meanwhile follows it.
    cut.past.leaves(way_of(node.events.node()), clock::now_ms(), heard(node).await.ok_or(STOPS)?);
    let (node, number, given) = (node.clone(), SessionId(session.number()), put_given(key, cut.last_seq));
    let read = move || match &node.store {
        Some(store) => {
            // Before it is given: whoever is back without knowing that it was taken knows what is to follow it.
            gatemq_store::wait(|answer| store.commit(Batch { ops: vec![given] }, answer))?;
            State::read(&**store, number, cut)
        }
        None => Ok(None),
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
    read.map_err(|e| format!("its state cannot be read: {e}"))
}

/// Waits until everything is stored that workers have changed up to now.
async fn barriers(node: &Node) -> Option<()> {
    for worker in 0..node.workers() {
        let (tell, told) = oneshot::channel();
        node.send(worker, |mail| mail.barriers.push(tell));
        told.await.ok()?;
    }
    Some(())
}

/// What has been routed here by now.
async fn heard(node: &Node) -> Option<Vec<Publication>> {
    let mut all = Vec::new();
    for worker in 0..node.workers() as u32 {
        all.extend(node.on_worker(worker, |worker| worker.hot.borrow().out.heard()).await?.last());
    }
    Some(all)
}

/// Puts a session into the store and among the others, as one whose client is away.
async fn installed(
    node: &Arc<Node>,
    (key, epoch): (&Key, &Epoch),
    state: &[u8],
    before: Option<(Arc<Session>, u64)>,
) -> Result<Arc<Session>, String> {
    let state: State = postcard::from_bytes(state).map_err(|_| "its state cannot be read")?;
    let tenant = node.tenants.get_or_create(&key.tenant).map_err(|e| e.to_string())?;
    let of = Arc::new(SessionKey::new(tenant, &key.user, &key.client_id).map_err(|e| e.to_string())?);
    let number = SessionId(node.sessions.numbers().next());
    let Key { tenant, user, client_id } = key.clone();
    // Its epoch before it: after a crash one without it would give way to where it came from.
    let mut ops: Vec<_> = put_epoch(key, epoch).into_iter().collect();
    ops.extend(state.ops(number, Owner { tenant, user, client_id }, way_of(node.events.node())));
    let from = node.clone();
    let stored = tokio::task::spawn_blocking(move || store(&from, number, &ops)).await.map_err(|e| e.to_string())?;
    let (restored, limits) = (stored?, of.clone());
    let restore = move |worker: &crate::worker::Worker| {
        let hot = &mut *worker.hot.borrow_mut();
        let sessions = &worker.node.sessions;
        let here = sessions.get(&limits);
        let session = sessions.move_in(restored, &state.came, here.as_ref(), &mut hot.out.spare);
        if let (Ok(session), Some(here)) = (&session, &here) {
            let last_seq = before.filter(|(before, _)| Arc::ptr_eq(before, here)).map(|(_, last_seq)| last_seq);
            for late in sessions.end_moved(here, last_seq.unwrap_or(u64::MAX), &mut hot.out.spare) {
                router::deliver_late(session, HERE, late, &mut hot.out.spare);
            }
        }
        worker.deliver_armed(hot);
        session
    };
    match node.on_worker(0, restore).await {
        Some(Ok(session)) => Ok(session),
        Some(Err(_)) => Err("there is another one of its key".into()),
        None => Err("the broker stops".into()),
    }
}

/// Puts a state into the store and reads it back as a start does. Blocks.
fn store(node: &Node, number: SessionId, ops: &[Op]) -> Result<gatemq_broker::sessions::Restored, String> {
    let store = node.store.as_deref().ok_or("there is no store")?;
    for ops in ops.chunks(OPS_MAX) {
        let committed: Result<_, StoreError> =
            gatemq_store::wait(|answer| store.commit(Batch { ops: ops.to_vec() }, answer));
        committed.map_err(|e| e.to_string())?;
    }
    durable::restored_session(node, store, number)
}
