//! Shared subscriptions (4.8.2), in every version: each message goes to one member.
//!
//! **Which one.** A member takes a message when it is connected, nothing waits for it, its window is open and its output
//! has room. Among those the members take turns: each search begins behind the last one that took something, so that it
//! mostly ends at once. No member is *given* anything that it cannot send now: what nobody can have waits here, and
//! whoever has room first takes it. So a member that never reads holds back what it was sent, and nothing more, and what
//! was not sent is picked again by itself when a member goes. Members that are away take what waits when they come back;
//! while others are connected, those are faster.
//!
//! **In the store**, while a member is: what waits at QoS 1 and 2 has a queue there under a number of its own, like a
//! session's, and is acknowledged when it is in it. Given to a member it leaves that queue, and enters the member's if that
//! one is in the store, in one batch: after a crash it is in exactly one of them. A member that is not in the store takes
//! it along: what that client had not acknowledged is gone with a crash, as everything of its session is. What was published
//! at QoS 2 it gets when the store has let go of it, so that no other gets it at QoS 2 after a crash. What a session leaves
//! that ends stands behind what waited, should there be a crash before it is sent.
//!
//! **Other nodes of a cluster.** When the last member here goes, what waits goes to members on other nodes, and what comes after it
//! too; there being none, it is dropped.
//!
//! **What was sent stays with its member** while its session lasts. When that ends, QoS 1 goes to another, QoS 2 does
//! not (MQTT-4.8.2-4, -5), and what a client refused goes to nobody (MQTT-4.8.2-6).
//!
//! Locks: the tree's, then a group's, then a session's. A session that had no room keeps the group on its list (under its
//! own lock, so none is forgotten) and comes back when it has.

mod nodes;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_mqtt::kind;
use gatemq_types::QoS;
use parking_lot::Mutex;

use crate::addressed::{Addressed, ByAddress};
use crate::changes::{Change, Changes, Places, SessionNumber};
use crate::remote::{Forward, Remote, destination};
use crate::router::Layouts;
use crate::session::{Delivered, Home, Message, Offer, Offered, Returned, Session, Source, Spare, qos_of};
use crate::tenant::{QueueBytes, Tenant, Usage};
use crate::tree::{Place, Subscription, address_of};
use nodes::Nodes;

/// Members that are asked whether they are connected before a QoS 0 message waits for them.
const ASKED_MAX: usize = 16;

/// The members of a shared subscription, and what waits for them. Known by tenant, share name and filter.
pub struct Group {
    share_name: Box<str>,
    /// Of its filter.
    place: Place,
    /// Of its queue in the store; 0: it has none. Written under the lock.
    number: AtomicU64,
    nodes: Nodes,
    inner: Mutex<Inner>,
}

struct Inner {
    members: ByAddress<Member>,
    /// Where the next search begins.
    next: usize,
    /// While something waits, every member is on the way ([`Member::comes`]).
    waiting: VecDeque<Waiting>,
    bytes: QueueBytes,
    /// How many members are in the store.
    stored: usize,
    /// Number of the last message in its queue in the store.
    last_seq: u64,
    /// Other queues in the store: a crash may leave one whose end was not stored beside the one that came after it.
    older: Vec<SessionNumber>,
    /// Bounds of what waits: the largest that a member has had for itself.
    messages_max: usize,
    bytes_max: usize,
}

struct Waiting {
    /// The first byte of a PUBLISH as it was published.
    published: u8,
    /// Where the store has it, or may have it; in the group's queue at last.
    places: Places,
    message: Arc<Message>,
}

struct Member {
    subscription: Subscription,
    /// It had no room and has this group on its list: it comes when it has.
    comes: bool,
}

impl Addressed for Member {
    fn address(&self) -> usize {
        address_of(&self.subscription.session)
    }
}

impl Member {
    /// The first byte of its PUBLISH.
    fn first(&self, published: u8) -> u8 {
        let Subscription { qos, retain_as_published, .. } = self.subscription;
        let qos = qos_of(published).min(qos);
        kind::PUBLISH << 4 | qos.bits() << 1 | (published & u8::from(retain_as_published))
    }

    fn offer<'a>(&self, group: &'a Arc<Group>, waiting: &'a Waiting) -> Offer<'a> {
        let (first, identifier) = (self.first(waiting.published), self.subscription.identifier);
        let exactly_once = qos_of(waiting.published) == QoS::ExactlyOnce;
        Offer { first, identifier, message: &waiting.message, group, places: &waiting.places, exactly_once }
    }
}

impl Group {
    /// Without members; `usage` is of its tenant.
    pub(crate) fn new(share_name: &str, place: Place, usage: &Arc<Usage>) -> Self {
        let bytes = QueueBytes::new(usage);
        let (members, waiting) = (ByAddress::default(), VecDeque::new());
        let (next, stored, last_seq, older, messages_max, bytes_max) = (0, 0, 0, Vec::new(), 0, 0);
        let inner = Inner { members, next, waiting, bytes, stored, last_seq, older, messages_max, bytes_max };
        let (number, nodes) = (AtomicU64::new(0), Nodes::default());
        Group { share_name: share_name.into(), place, number, nodes, inner: Mutex::new(inner) }
    }

    /// Share name.
    pub fn share_name(&self) -> &str {
        &self.share_name
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn is_at(&self, share_name: &str, place: Place) -> bool {
        self.place == place && *self.share_name == *share_name
    }

    /// Of its queue in the store; 0: it has none.
    pub(crate) fn number(&self) -> SessionNumber {
        self.number.load(Ordering::Relaxed)
    }

    /// Gives it a queue in the store, if it has none yet and a member is there. What waits already stays out of it: that
    /// SUBSCRIBE would have to write it all.
    pub(crate) fn store(&self, tenant: &str, filter: &str, changes: &mut Changes) {
        let mut inner = self.inner.lock();
        if self.number() == 0 && inner.stored > 0 {
            let group = changes.number();
            inner.last_seq = 0;
            self.number.store(group, Ordering::Relaxed);
            let (tenant, filter) = (tenant.to_owned(), filter.to_owned());
            changes.rely_on(|| Change::Group { group, tenant, filter });
        }
    }

    /// Ends its queue in the store, if it has one and no member is there any more.
    pub(crate) fn end_store(&self, changes: &mut Changes) {
        let mut inner = self.inner.lock();
        let number = self.number();
        if number != 0 && inner.stored == 0 {
            self.number.store(0, Ordering::Relaxed);
            for number in inner.older.drain(..).chain([number]) {
                changes.note(|| Change::SessionEnded(number));
            }
        }
    }

    /// What the store gives back, whatever the bounds: number of its queue and of the last message that was ever in it,
    /// what waits (number, first byte), and what sessions had been given and not acknowledged. Should there be several queues,
    /// the newest comes first.
    pub(crate) fn restore(
        self: &Arc<Self>,
        (number, last_seq): (SessionNumber, u64),
        messages: Vec<(u64, u8, Arc<Message>)>,
        given: &[(Arc<Session>, HashSet<u64>)],
    ) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if self.number() == 0 {
            self.number.store(number, Ordering::Relaxed);
            inner.last_seq = last_seq;
        } else {
            inner.older.push(number);
        }
        for (seq, published, message) in messages.into_iter().rev() {
            inner.bytes.take_anyway(message.len());
            inner.waiting.push_front(Waiting { published, places: vec![(number, seq)], message });
        }
        for (session, seqs) in given {
            session.restore_group(seqs, self);
        }
        for member in inner.members.all_mut().iter_mut().filter(|member| !member.comes) {
            member.comes = true;
            member.subscription.session.list_group(self);
        }
    }

    /// Adds or replaces a member; whether it is new. One that is new comes for what waits.
    pub(crate) fn join(self: &Arc<Self>, subscription: Subscription) -> bool {
        let (messages_max, bytes_max) = subscription.session.queue_limits();
        let mut inner = self.inner.lock();
        inner.messages_max = inner.messages_max.max(messages_max);
        inner.bytes_max = inner.bytes_max.max(bytes_max);
        let at = inner.members.position(address_of(&subscription.session));
        let waits = at.is_none() && !inner.waiting.is_empty();
        if waits {
            subscription.session.list_group(self);
        }
        let comes = waits || at.is_some_and(|at| inner.members.all()[at].comes);
        let stored = usize::from(subscription.session.number() != 0);
        let new = inner.members.put(Member { subscription, comes }).is_none();
        inner.stored += if new { stored } else { 0 };
        new
    }

    /// Takes a member away, and says whether none is left, here or on another node; `None` if it was none. What waits stays when one is
    /// on another node: [`Self::hand_over`].
    pub(crate) fn leave(self: &Arc<Self>, session: &Arc<Session>) -> Option<bool> {
        let mut inner = self.inner.lock();
        let member = inner.members.remove(address_of(session))?;
        inner.stored -= usize::from(session.number() != 0);
        if member.comes {
            session.forget_group(self);
        }
        let nobody = inner.members.all().is_empty() && self.nodes.are_none();
        if nobody {
            inner.clear();
        }
        Some(nobody)
    }

    /// What waits goes to members on other nodes, each message to one, when none is here any more.
    pub(crate) fn hand_over(&self, tenant: &Arc<Tenant>, changes: &mut Changes) {
        let mut inner = self.inner.lock();
        if !inner.members.all().is_empty() || inner.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut inner.waiting);
        inner.clear();
        for Waiting { published: first, message, .. } in waiting {
            let Some((node, filter)) = self.nodes.turn(|| 0) else { return };
            let mut to = Vec::new();
            destination(&mut to, &node).shares.push((*filter).into());
            changes.hand_over(Forward { tenant: tenant.clone(), message, first, from: None, to });
        }
    }

    /// What a session has subscribed.
    pub(crate) fn member(&self, session: &Arc<Session>) -> Option<Subscription> {
        let inner = self.inner.lock();
        let at = inner.members.position(address_of(session))?;
        Some(inner.members.all()[at].subscription.clone())
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.inner.lock().members.all().len()
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Clients of another node are members, that many; `filter` is the whole one.
    pub(crate) fn set_node(&self, node: &Arc<Remote>, members: u32, filter: &str) {
        self.nodes.set(node, members, filter);
    }

    /// None is any more; whether no member is left, here or anywhere.
    pub(crate) fn unset_node(&self, node: &Arc<Remote>) -> bool {
        self.nodes.unset(node);
        self.nodes.are_none() && self.inner.lock().members.all().is_empty()
    }

    /// Whether clients of other nodes are members.
    pub(crate) fn has_nodes(&self) -> bool {
        !self.nodes.are_none()
    }

    /// Where the next message goes, by how many members are where; `None`: to one of this node.
    pub(crate) fn turn(&self) -> Option<(Arc<Remote>, Arc<str>)> {
        self.nodes.turn(|| self.members() as u32)
    }

    /// A message that is published now, to one member. `Closed`: none is here.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        layouts: &mut Layouts<'_>,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.members.all().is_empty() {
            return Delivered::Closed;
        }
        let published = layouts.first(QoS::ExactlyOnce, true);
        // What came earlier and still waits goes out earlier.
        if inner.waiting.is_empty() {
            let offer = |member: &Member| offer(self, member, published, layouts, source, spare);
            match inner.search(offer) {
                Found::Taken(Some(home)) => return Delivered::Armed(home),
                Found::Taken(None) => return Delivered::Quiet,
                Found::TooLarge => return Delivered::Dropped,
                Found::Nobody => {}
            }
        }
        inner.wait(self.number(), published, source, &mut spare.changes)
    }

    /// A member that has this group on its list comes for what waits, on the connection with that epoch. False: it has no
    /// room any more, and comes again; else the group is not on its list any more.
    pub(crate) fn feed(self: &Arc<Self>, session: &Arc<Session>, epoch: u32, now_ms: u64, spare: &mut Spare) -> bool {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if let Some(at) = inner.members.position(address_of(session)) {
            while let Some(waiting) = inner.waiting.front() {
                let member = &inner.members.all()[at];
                let offered = match now_ms >= waiting.message.expires_ms() {
                    true => Offered::TooLarge, // To nobody either.
                    false => {
                        let offer = member.offer(self, waiting);
                        session.offer_waiting(&offer, Some(epoch), now_ms, spare)
                    }
                };
                match offered {
                    Offered::Taken(_) => {}
                    Offered::TooLarge => session.count_dropped(),
                    Offered::NotNow => return false,
                    Offered::Closed | Offered::Changed => break,
                }
                inner.pop(&mut spare.changes);
            }
            inner.members.all_mut()[at].comes = false;
        }
        session.forget_group(self);
        true
    }

    /// Takes what a member had been sent and did not acknowledge before its session ended, and shares it out before all
    /// that waits. Connections that now have something to write are appended to `armed`. With members on other nodes only it waits for
    /// [`Self::hand_over`].
    pub(crate) fn take_back(
        self: &Arc<Self>,
        messages: Vec<Returned>,
        now_ms: u64,
        spare: &mut Spare,
        armed: &mut Vec<Home>,
    ) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.members.all().is_empty() && self.nodes.are_none() {
            return;
        }
        let mut new = messages.len();
        for Returned { first, message, places, .. } in messages.into_iter().rev() {
            // It was in a window, so how many there are is bounded.
            inner.bytes.take_anyway(message.len());
            inner.waiting.push_front(Waiting { published: first & !0b1000, places, message });
        }
        while let Some(waiting) = inner.waiting.pop_front() {
            let found = match now_ms >= waiting.message.expires_ms() {
                true => Found::TooLarge,
                false => inner.search(|member| {
                    let offer = member.offer(self, &waiting);
                    member.subscription.session.offer_waiting(&offer, None, now_ms, spare)
                }),
            };
            let nobody = matches!(found, Found::Nobody);
            inner.waiting.push_front(waiting);
            if nobody {
                break;
            }
            if let Found::Taken(home) = found {
                armed.extend(home);
            }
            inner.pop(&mut spare.changes);
            new = new.saturating_sub(1);
        }
        for at in 0..new.min(inner.waiting.len()) {
            inner.put(self.number(), at, &mut spare.changes);
        }
    }
}

/// A message that is published now, to a member, if it can have it now.
fn offer(
    group: &Arc<Group>,
    member: &Member,
    published: u8,
    layouts: &mut Layouts<'_>,
    source: &mut Source<'_>,
    spare: &mut Spare,
) -> Offered {
    let first = member.first(published);
    let Subscription { session, identifier, .. } = &member.subscription;
    loop {
        let Some(encoded) = layouts.encoded(session.is_five(), first) else { return Offered::TooLarge };
        match session.offer(encoded, first, *identifier, source, spare, group) {
            Offered::Changed => {}
            offered => return offered,
        }
    }
}

/// What a search for a member found.
enum Found {
    /// One that took it, and perhaps has to be told.
    Taken(Option<Home>),
    /// Only such as do not take packets of this size: it goes to nobody (3.1.2.11.4).
    TooLarge,
    /// All come when they have room.
    Nobody,
}

impl Inner {
    /// Offers something to those members who may have room, each once, until one takes it.
    fn search(&mut self, mut offer: impl FnMut(&Member) -> Offered) -> Found {
        let mut found = Found::Nobody;
        let count = self.members.all().len();
        let from = if self.next < count { self.next } else { 0 };
        for at in (from..count).chain(0..from) {
            let member = &mut self.members.all_mut()[at];
            if member.comes {
                continue;
            }
            match offer(member) {
                Offered::Taken(home) => {
                    self.next = at + 1;
                    return Found::Taken(home);
                }
                Offered::TooLarge => found = Found::TooLarge,
                Offered::NotNow => member.comes = true,
                Offered::Closed | Offered::Changed => {}
            }
        }
        found
    }

    /// It waits until a member has room. Beyond the bounds it is dropped, and whoever published it is told nothing.
    #[cold]
    fn wait(
        &mut self,
        number: SessionNumber,
        published: u8,
        source: &mut Source<'_>,
        changes: &mut Changes,
    ) -> Delivered {
        if qos_of(published) == QoS::AtMostOnce && !self.some_connected() {
            return Delivered::Dropped;
        }
        let bytes = source.len();
        if self.waiting.len() >= self.messages_max || self.bytes.get() + bytes > self.bytes_max {
            return Delivered::Dropped;
        }
        let message = source.message();
        if !self.bytes.take(message.len()) {
            return Delivered::QuotaExceeded;
        }
        self.waiting.push_back(Waiting { published, places: Places::new(), message });
        self.put(number, self.waiting.len() - 1, changes);
        Delivered::Quiet
    }

    /// What waits at this place is put into the group's queue in the store, where it has one.
    fn put(&mut self, number: SessionNumber, at: usize, changes: &mut Changes) {
        let Some(waiting) = self.waiting.get_mut(at).filter(|_| number != 0) else { return };
        if qos_of(waiting.published) == QoS::AtMostOnce {
            return;
        }
        self.last_seq += 1;
        changes.note_moved(&waiting.places);
        waiting.places.push((number, self.last_seq));
        let (group, seq, first, message) = (number, self.last_seq, waiting.published, &waiting.message);
        changes.rely_on(|| Change::Waits { group, seq, first, message: message.clone() });
    }

    /// What waits first is a member's now, or nobody's.
    fn pop(&mut self, changes: &mut Changes) {
        let Some(Waiting { places, message, .. }) = self.waiting.pop_front() else { return };
        self.bytes.give(message.len());
        changes.note_moved(&places);
    }

    fn some_connected(&self) -> bool {
        let (before, from) = self.members.all().split_at(self.next.min(self.members.all().len()));
        from.iter().chain(before).take(ASKED_MAX).any(|member| member.subscription.session.is_connected())
    }

    fn clear(&mut self) {
        self.bytes.give(self.bytes.get());
        self.waiting = VecDeque::new();
    }
}
