//! Shared subscriptions (4.8.2), in every version: each message goes to one member.
//!
//! **Which one.** A member takes a message when it is connected, nothing waits for it, its window is open and its output
//! has room. Among those the members take turns: each search begins behind the last one that took something, so that it
//! mostly ends at once. No member is *given* anything that it cannot send now: what nobody can have waits here, and
//! whoever has room first takes it. So a member that never reads holds back what it was sent, and nothing more, and what
//! was not sent is picked again by itself when a member goes. Members that are away take what waits when they come back;
//! while others are connected, those are faster. Where members are in the store, QoS 1 and 2 must be too before they are
//! acknowledged: what nobody can have now then waits in the queue of one of those members.
//!
//! **What was sent stays with its member** while its session lasts. When that ends, QoS 1 goes to another, QoS 2 does
//! not (MQTT-4.8.2-4, -5), and what a client refused goes to nobody (MQTT-4.8.2-6).
//!
//! Locks: the tree's, then a group's, then a session's. A session that had no room keeps the group on its list (under its
//! own lock, so none is forgotten) and comes back when it has.

use std::collections::VecDeque;
use std::sync::Arc;

use gatemq_mqtt::kind;
use gatemq_types::QoS;
use parking_lot::Mutex;

use crate::addressed::{Addressed, ByAddress};
use crate::router::Layouts;
use crate::session::{Delivered, Home, Message, Offered, Session, Source, Spare, qos_of};
use crate::tenant::QueueBytes;
use crate::tree::{Place, Subscription, address_of};

/// Members that are asked whether they are connected before a QoS 0 message waits for them.
const ASKED_MAX: usize = 16;

/// The members of a shared subscription, and what waits for them. Known by tenant, share name and filter.
pub struct Group {
    share_name: Box<str>,
    /// Of its filter.
    place: Place,
    inner: Mutex<Inner>,
}

struct Inner {
    members: ByAddress<Member>,
    /// Where the next search begins.
    next: usize,
    /// The first byte of a PUBLISH as it was published, and the message. While something waits, every member is on the
    /// way ([`Member::comes`]).
    waiting: VecDeque<(u8, Arc<Message>)>,
    bytes: QueueBytes,
    /// How many members are in the store. While there are some, QoS 1 and 2 that nobody can have now wait with one of them.
    stored: usize,
    /// Bounds of what waits: the largest that a member has had for itself.
    messages_max: usize,
    bytes_max: usize,
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
}

impl Group {
    /// Without members; `session` is of its tenant.
    pub(crate) fn new(share_name: &str, place: Place, session: &Session) -> Self {
        let bytes = QueueBytes::new(&session.key().tenant().usage);
        let (members, waiting) = (ByAddress::default(), VecDeque::new());
        let inner = Inner { members, next: 0, waiting, bytes, stored: 0, messages_max: 0, bytes_max: 0 };
        Group { share_name: share_name.into(), place, inner: Mutex::new(inner) }
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

    /// Takes a member away, and says whether none is left; `None` if it was none.
    pub(crate) fn leave(self: &Arc<Self>, session: &Arc<Session>) -> Option<bool> {
        let mut inner = self.inner.lock();
        let member = inner.members.remove(address_of(session))?;
        inner.stored -= usize::from(session.number() != 0);
        if member.comes {
            session.forget_group(self);
        }
        let empty = inner.members.all().is_empty();
        if empty {
            inner.clear();
        }
        Some(empty)
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

    /// A message that is published now, to one member.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        layouts: &mut Layouts<'_>,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
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
        if inner.stored > 0
            && qos_of(published) != QoS::AtMostOnce
            && inner.keep(self, published, &source.message(), spare)
        {
            return Delivered::Quiet;
        }
        inner.wait(published, source)
    }

    /// A member that has this group on its list comes for what waits, on the connection with that epoch. False: it has no
    /// room any more, and comes again; else the group is not on its list any more.
    pub(crate) fn feed(self: &Arc<Self>, session: &Arc<Session>, epoch: u32, now_ms: u64, spare: &mut Spare) -> bool {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if let Some(at) = inner.members.position(address_of(session)) {
            let member = &mut inner.members.all_mut()[at];
            while let Some((published, message)) = inner.waiting.front() {
                let (first, identifier) = (member.first(*published), member.subscription.identifier);
                let offered = match now_ms >= message.expires_ms() {
                    true => Offered::TooLarge, // To nobody either.
                    false => session.offer_message(first, message, identifier, self, Some(epoch), now_ms, spare),
                };
                match offered {
                    Offered::Taken(_) => {}
                    Offered::TooLarge => session.count_dropped(),
                    Offered::NotNow => return false,
                    Offered::Closed | Offered::Changed => break,
                }
                inner.bytes.give(message.len());
                inner.waiting.pop_front();
            }
            member.comes = false;
        }
        session.forget_group(self);
        true
    }

    /// Takes what a member had been sent and did not acknowledge before its session ended, and shares it out before all
    /// that waits. Connections that now have something to write are appended to `armed`.
    pub(crate) fn take_back(
        self: &Arc<Self>,
        messages: Vec<(u8, Arc<Message>)>,
        now_ms: u64,
        spare: &mut Spare,
        armed: &mut Vec<Home>,
    ) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.members.all().is_empty() {
            return;
        }
        for (first, message) in messages.into_iter().rev() {
            // It was in a window, so how many there are is bounded.
            inner.bytes.take_anyway(message.len());
            inner.waiting.push_front((first & !0b1000, message));
        }
        while let Some((published, message)) = inner.waiting.front().cloned() {
            let found = match now_ms >= message.expires_ms() {
                true => Found::TooLarge,
                false => inner.search(|member| {
                    let Subscription { session, identifier, .. } = &member.subscription;
                    session.offer_message(member.first(published), &message, *identifier, self, None, now_ms, spare)
                }),
            };
            match found {
                Found::Taken(home) => armed.extend(home),
                Found::TooLarge => {}
                Found::Nobody if inner.stored > 0 && inner.keep(self, published, &message, spare) => {}
                Found::Nobody => return,
            }
            inner.bytes.give(message.len());
            inner.waiting.pop_front();
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

    /// It waits with a member that is in the store, in turn. False: with none of them.
    #[cold]
    fn keep(&mut self, group: &Arc<Group>, published: u8, message: &Arc<Message>, spare: &mut Spare) -> bool {
        let count = self.members.all().len();
        let from = if self.next < count { self.next } else { 0 };
        for at in (from..count).chain(0..from) {
            let Some(member) = self.members.all().get(at).filter(|m| m.subscription.session.number() != 0) else {
                continue;
            };
            let Subscription { session, identifier, .. } = &member.subscription;
            if session.keep_shared(member.first(published), *identifier, message, group, spare) {
                self.next = at + 1;
                return true;
            }
        }
        false
    }

    /// It waits until a member has room.
    #[cold]
    fn wait(&mut self, published: u8, source: &mut Source<'_>) -> Delivered {
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
        self.waiting.push_back((published, message));
        Delivered::Quiet
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
