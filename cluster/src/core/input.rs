//! What a core is told.

use super::clock::Epoch;
use super::control::Control;
use super::member::{Boot, Member};
use super::name::NodeName;
use super::words::{Entry, FilterKey, Forward, InterestChange, Mark, Owned, SessionKey, Set, Will};

/// How a member was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It answers no more. What its persistent sessions wait for is kept for it.
    Dead,
    /// It said goodbye. Of the persistent sessions that it did not hand over before it is as of a dead one.
    Left,
}

/// A forward that the host wants to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForwardWanted {
    /// The host's number for it: it comes back in [`Action::Forward`](super::Action::Forward) and what follows. A publication
    /// to three nodes is three forwards.
    pub id: u64,
    /// Bytes that a hint of it takes.
    pub bytes: u32,
    /// Whether a persistent session is among those who want it there. What nobody persistent wants is never a hint for a node
    /// that is away.
    pub durable: bool,
}

/// What a core is told, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Input {
    // ---- from the network
    /// A member was admitted and answers, or a suspected one answers again.
    PeerUp(Member),
    /// It may be dead: gossip says so, or its RPC does not answer. It is not waited for, and its sessions stay its own.
    PeerSuspected {
        /// Which node.
        node: NodeName,
        /// Which process.
        boot: Boot,
    },
    /// It is a member no more.
    PeerLost {
        /// Which node.
        node: NodeName,
        /// Which process.
        boot: Boot,
        /// How.
        how: Lost,
    },
    /// The control channel to it was replaced: what was under way may be lost. Told by both ends, before anything of the new
    /// one. Forwards that nobody answered are made again.
    LinkReset {
        /// Which node.
        node: NodeName,
    },
    /// Forwards cannot be delivered though the node is there. Those that nobody answered are made again.
    NotDelivered {
        /// To whom.
        to: NodeName,
    },
    /// A message of a peer.
    Received {
        /// From whom, by its certificate.
        from: NodeName,
        /// From which of its processes.
        boot: Boot,
        /// What.
        control: Control,
    },
    /// The first attempt to join is over: the members that there are were told (none, for the first node).
    MembersKnown,

    // ---- interest and forwards, from the host
    /// Subscriptions came or went. A node that restarts tells those of its stored sessions before it joins.
    Interest(Vec<InterestChange>),
    /// What persistent sessions of a node had subscribed, from the store, at the start: in force until the node says what they have
    /// now.
    RoutesRestored {
        /// Whose.
        node: NodeName,
        /// To what.
        keys: Vec<FilterKey>,
    },
    /// Publications of QoS 1 or 2 are to be forwarded to a node, in this order. (Those of QoS 0 need no core.)
    Forward {
        /// To whom.
        to: NodeName,
        /// Which.
        wanted: Vec<ForwardWanted>,
    },
    /// A node answered that it has committed these forwards of ours.
    Answered {
        /// Who.
        from: NodeName,
        /// Which.
        forwards: Vec<Forward>,
    },
    /// Hints are on stable storage, or could not be written.
    HintsCommitted {
        /// For whom.
        to: NodeName,
        /// Which.
        forwards: Vec<Forward>,
        /// Whether they are stored.
        stored: bool,
    },
    /// A hint that the store had at the start: told in order, before the node joins.
    HintRestored {
        /// For whom.
        to: NodeName,
        /// Which.
        forward: Forward,
        /// Its bytes.
        bytes: u32,
        /// When it was stored, in milliseconds since 1970.
        since_ms: u64,
    },
    /// A forward of another node came in; its answer waits for [`Action::Answer`](super::Action::Answer).
    Arrived {
        /// From whom.
        from: NodeName,
        /// Which.
        forward: Forward,
        /// The lowest number of the same `boot` that may still come from there.
        low: u64,
    },
    /// What arrived is on stable storage for every persistent session here that wants it, together with its record; or it could
    /// not be, and will be sent again.
    Settled {
        /// From whom.
        from: NodeName,
        /// Which.
        forward: Forward,
        /// Whether it is stored.
        stored: bool,
    },
    /// A record of what was committed, from the store, at the start.
    RecordRestored {
        /// Whose forwards.
        from: NodeName,
        /// Which of its processes.
        boot: Boot,
        /// All below it were committed.
        low: u64,
        /// Those above it that were, too.
        committed: Vec<u64>,
    },

    // ---- sessions, from the host
    /// A client has authenticated: may we have its session?
    Claim {
        /// The host's number for the answer.
        request: u64,
        /// Whose.
        key: SessionKey,
    },
    /// The client did not wait for the answer, which then does not come.
    ClaimAbandoned {
        /// Which claim.
        request: u64,
    },
    /// A session that the store had at the start: told before the node joins.
    SessionRestored {
        /// Whose, and under which epoch.
        owned: Owned,
        /// Its state had been given away, so that it may live elsewhere since: then what came for it later follows it.
        given: bool,
    },
    /// The state that [`Action::HandOver`](super::Action::HandOver) asked for. The client is closed; the session stays
    /// subscribed and keeps what still comes for it.
    HandedOver {
        /// Whose.
        key: SessionKey,
        /// The state; `None`: there is no such session.
        state: Option<Vec<u8>>,
    },
    /// The session of [`Action::Install`](super::Action::Install) is on stable storage and its subscriptions were told with
    /// [`Input::Interest`]; or it could not be taken.
    Installed {
        /// Whose.
        key: SessionKey,
        /// As in the action.
        epoch: Epoch,
        /// Whether it was taken.
        taken: bool,
    },
    /// What [`Action::Moved`](super::Action::Moved) says of interest is done: the core has been told with [`Input::Interest`].
    Withdrawn {
        /// Whose.
        key: SessionKey,
    },
    /// What [`Action::Barrier`](super::Action::Barrier) asked for.
    BarrierPassed {
        /// As in the action.
        node: NodeName,
        /// As in the action.
        request: u64,
    },
    /// [`Action::MoveOver`](super::Action::MoveOver) is done: what follows the session was told with [`Input::Forward`], and was accepted.
    Followed {
        /// Whose.
        key: SessionKey,
        /// As in the action.
        to: NodeName,
        /// As in the action.
        epoch: Epoch,
    },
    /// This node leaves: others are asked to take these of its sessions, until [`Core::leaving`](super::Core::leaving) says that
    /// none is left. Their clients are gone.
    Leave {
        /// Whose.
        keys: Vec<SessionKey>,
    },
    /// A session ended or expired here.
    SessionGone {
        /// Whose.
        key: SessionKey,
    },
    /// A client left a will, or took it back, or it was published. At the start it is told of those that the store has.
    Will {
        /// Whose.
        key: SessionKey,
        /// The will; `None`: none any more.
        will: Option<Will>,
    },

    // ---- sets, from the host
    /// A denial was added, a retained message stored, a node forbidden; or lifted, cleared, allowed.
    Put {
        /// Which set.
        set: Set,
        /// Key.
        key: Box<[u8]>,
        /// Value; `None` removes it.
        value: Option<Vec<u8>>,
        /// When it ends by itself, in milliseconds since 1970; 0: never.
        until_ms: u64,
    },
    /// Entries that the store had at the start, tombstones too: told before the node joins.
    SetRestored {
        /// Which set.
        set: Set,
        /// Keys and marks.
        marks: Vec<(Box<[u8]>, Mark)>,
    },
    /// What [`Action::Contact`](super::Action::Contact) kept in the store, told at the start before the node joins.
    ContactRestored {
        /// When this node was last in contact with a member, in milliseconds since 1970.
        contact_ms: u64,
        /// When it last ran.
        ran_ms: u64,
    },
    /// The entries that [`Action::Load`](super::Action::Load) asked for, as they are now.
    Loaded {
        /// For whom.
        to: NodeName,
        /// Which set.
        set: Set,
        /// Those that are there.
        entries: Vec<Entry>,
    },

    // ---- quotas, from the host
    /// How many sessions some tenants have here; others are as they were.
    Sessions(Vec<(Box<str>, u64)>),

    /// Time goes on: see [`Core::due_ms`](super::Core::due_ms).
    Tick,
}
