//! What a core wants done.

use super::clock::Epoch;
use super::control::Control;
use super::member::Boot;
use super::name::{Name, NodeName};
use super::words::{ClaimRefusal, Entry, FilterKey, Forward, Interest, SessionKey, Set, Will};

/// What a core wants done, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Send a message over the control channel. If that cannot be, the channel is broken.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        control: Control,
    },
    /// A filter of another node for the tenant's tree.
    Route {
        /// Whose.
        node: NodeName,
        /// Which.
        key: FilterKey,
        /// What it wants; `None`: nothing any more.
        interest: Option<Interest>,
    },

    /// Say [`Input::BarrierPassed`](super::Input::BarrierPassed) when everything that was routed before now has been told with
    /// [`Input::Forward`](super::Input::Forward), and been given to sessions of this node.
    Barrier {
        /// Who asked; this node too.
        node: NodeName,
        /// Its number for the answer.
        request: u64,
    },

    // ---- forwards
    /// Send a forward now, in this order among those of the same node.
    Forward {
        /// Whether our routes may be behind, as they are when a hint is sent: goes with it, and lets the receiver also look at
        /// the filters that it keeps of sessions that moved (see [`Action::MoveOver`]).
        behind: bool,
        /// To whom.
        to: NodeName,
        /// The host's number.
        id: u64,
        /// Its number on the wire.
        forward: Forward,
        /// The lowest number of the same boot that may still come: goes with it.
        low: u64,
    },
    /// Let go of all forwards and hints that are under way to a node: what it has not answered comes again, in order, and nothing of what
    /// was is to come between.
    Abandon {
        /// To whom.
        to: NodeName,
    },
    /// Commit a forward to the store as a hint for its node; say [`Input::HintsCommitted`](super::Input::HintsCommitted).
    CommitHint {
        /// For whom.
        to: NodeName,
        /// The host's number.
        id: u64,
        /// Its number on the wire.
        forward: Forward,
    },
    /// Read a hint from the store and send it now, as a forward that is `behind`.
    SendHint {
        /// To whom.
        to: NodeName,
        /// Which.
        forward: Forward,
        /// As in [`Action::Forward`].
        low: u64,
    },
    /// Remove a hint from the store.
    DropHint {
        /// Whose.
        to: NodeName,
        /// Which.
        forward: Forward,
    },
    /// A forward was accepted by its node or is a hint on stable storage: nothing of it is waited for.
    Accepted {
        /// The host's number.
        id: u64,
    },
    /// A forward is refused: its publication must not be acknowledged (0x97; MQTT 3: stop reading).
    NotAccepted {
        /// The host's number.
        id: u64,
        /// Why.
        why: NotAccepted,
    },
    /// Deliver what arrived, commit it with its record, and say [`Input::Settled`](super::Input::Settled).
    Deliver {
        /// From whom.
        from: NodeName,
        /// Which.
        forward: Forward,
    },
    /// Answer a forward: it is committed here (perhaps since long). The answer goes to its origin.
    Answer {
        /// From whom it came.
        from: NodeName,
        /// Which.
        forward: Forward,
    },
    /// A forward makes no sense, and is not kept: whoever waits for its answer is told that it was not taken.
    NotTaken {
        /// From whom it came.
        from: NodeName,
        /// Which.
        forward: Forward,
    },
    /// Forget the record of a process of a node, in the store too: nothing of it can come any more.
    ForgetRecord {
        /// Whose.
        from: NodeName,
        /// Which of its processes.
        boot: Boot,
    },

    // ---- sessions
    /// The session is ours.
    Granted {
        /// Which claim.
        request: u64,
        /// Its epoch from now on.
        epoch: Epoch,
        /// Where it comes from.
        previous: Previous,
    },
    /// The session is not ours.
    ClaimRefused {
        /// Which claim.
        request: u64,
        /// Why.
        why: ClaimRefusal,
    },
    /// Close the client of a session (0x8E), gather its state, and say [`Input::HandedOver`](super::Input::HandedOver). The
    /// session stays subscribed and keeps what comes after its state, but serves nobody.
    HandOver {
        /// Whose.
        key: SessionKey,
        /// To whom.
        to: NodeName,
        /// Its epoch there.
        epoch: Epoch,
    },
    /// Nobody took the session: it is an ordinary one again, whose client is away.
    HandOverCancelled {
        /// Whose.
        key: SessionKey,
    },
    /// The session lives elsewhere, for good. Forward what came for it after its state, and what still comes, to that node,
    /// addressed to this session by its key, the life that it is in (a new session begins another one, a takeover carries it on)
    /// and this epoch. The receiver drops what its session got already, and what is for another life; if it has given the
    /// session on under a higher epoch, it sends it on there. The session's will is not published. Nobody is to send here any more what
    /// is for it alone: take its interest back with [`Input::Interest`](super::Input::Interest), and say
    /// [`Input::Withdrawn`](super::Input::Withdrawn).
    Moved {
        /// Whose.
        key: SessionKey,
        /// Where it lives.
        to: NodeName,
        /// Its epoch there.
        epoch: Epoch,
    },
    /// Every member routes to the new place, and all that was routed here before has come: forget the session and its subscriptions when
    /// what follows it (as for [`Action::Moved`]) is accepted, and say [`Input::Followed`](super::Input::Followed). Only what was routed long ago can still come for it: keep its filters (bounded, as long as hints are kept) and, as for [`Action::Moved`], forward on what matches
    /// them of the forwards that are `behind`.
    MoveOver {
        /// Whose.
        key: SessionKey,
        /// Where it lives.
        to: NodeName,
        /// Its epoch there.
        epoch: Epoch,
    },
    /// Take a session from its state, on stable storage, tell its subscriptions, and say
    /// [`Input::Installed`](super::Input::Installed). [`Action::Granted`] follows. A copy of it may still be here that was
    /// handed over before: what came for that since its state was given belongs to the session, as far as it is new to it.
    Install {
        /// Whose.
        key: SessionKey,
        /// Its epoch from now on.
        epoch: Epoch,
        /// From whom.
        from: NodeName,
        /// What [`Input::HandedOver`](super::Input::HandedOver) gave there.
        state: Vec<u8>,
    },
    /// A session has a later one elsewhere, after a partition: close its client (0x8E) and end it, with its loss told.
    Superseded {
        /// Whose.
        key: SessionKey,
        /// Who has the later one.
        by: NodeName,
        /// The epoch of the later one.
        epoch: Epoch,
    },
    /// A will that the store had at the start is another node's to publish, or was: drop it.
    WillTaken {
        /// Whose.
        key: SessionKey,
    },
    /// Once: wills that the store had at the start, and that are not taken by now, are ours to publish. Before, none is.
    WillsOurs,
    /// The node of a client died and its will is due.
    PublishWill {
        /// Whose.
        key: SessionKey,
        /// The will.
        will: Will,
    },

    // ---- sets
    /// Store an entry with its mark, and put it into force or out of it. A tombstone is stored too.
    Store {
        /// Which set.
        set: Set,
        /// The entry.
        entry: Entry,
        /// Whether another node wrote it. (What we wrote is in force already.)
        foreign: bool,
    },
    /// Forget an entry and its mark, and put it out of force: a tombstone or its time is over, or it was removed elsewhere while
    /// we were away for longer than tombstones are kept.
    Forget {
        /// Which set.
        set: Set,
        /// Key.
        key: Box<[u8]>,
    },
    /// Read entries and say [`Input::Loaded`](super::Input::Loaded).
    Load {
        /// For whom.
        to: NodeName,
        /// Which set.
        set: Set,
        /// Keys.
        keys: Vec<Box<[u8]>>,
    },
    /// Keep these times in the store, for [`Input::ContactRestored`](super::Input::ContactRestored).
    Contact {
        /// When we were last in contact with a member, in milliseconds since 1970.
        contact_ms: u64,
        /// When we ran: now.
        ran_ms: u64,
    },

    // ---- quotas
    /// Our share of a tenant's quotas from now on.
    Share {
        /// Tenant.
        tenant: Box<str>,
        /// The share.
        share: super::quota::Share,
    },

    /// A member's host says something to ours.
    Host {
        /// Whose.
        from: NodeName,
        /// What.
        bytes: Vec<u8>,
    },
    /// Whether this node has what it needs to serve clients.
    Ready(Result<(), NotReady>),
    /// Something that an operator wants to know.
    Event(Event),
}

/// Where a granted session comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Previous {
    /// Nobody had one, or the one that had it is away: a new session, unless our store has it.
    Nobody,
    /// From another node; it was installed.
    Taken {
        /// Which.
        from: NodeName,
    },
}

/// Why a forward was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotAccepted {
    /// The hints of its node are full.
    HintsFull,
    /// The store did not take the hint.
    StoreFailed,
    /// No such node, or it left.
    NoSuchNode,
}

/// Why a node is not ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotReady {
    /// It has not tried to join yet.
    Joining,
    /// It lacks the routes of a member.
    Routes {
        /// Whose.
        of: NodeName,
    },
    /// It lacks a set, denials first.
    Sets {
        /// Which.
        set: Set,
    },
}

/// Something that an operator wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The routes of a member are here whole.
    RoutesSynced {
        /// Whose.
        node: NodeName,
        /// How many.
        filters: u64,
    },
    /// Somebody who was not admitted here was offered as a member, and nothing of it was kept.
    MemberRefused {
        /// Who.
        node: NodeName,
        /// Its environment.
        environment: Name,
        /// Its cluster.
        cluster: Name,
    },
    /// Hints were kept as long as they may be and are lost.
    HintsExpired {
        /// Whose.
        node: NodeName,
        /// How many.
        count: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A peer sent what makes no sense, and it was not taken.
    PeerMisbehaved {
        /// Who.
        node: NodeName,
        /// What.
        what: &'static str,
    },
    /// A peer's time is too far ahead of ours, and what carried it was not taken.
    ClockAhead {
        /// Who.
        node: NodeName,
        /// By how much, in milliseconds.
        ahead_ms: u64,
    },
}
