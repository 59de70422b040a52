//! What cores say to each other, and its bytes.
//!
//! The channel between two members keeps the order and loses nothing until it breaks; whoever sees it replaced tells its core
//! with [`Input::LinkReset`](super::Input::LinkReset) before it hands on anything of the new one, and hands on nothing of the
//! old one afterwards. A full queue is a broken channel: break it and say so, never drop one message.

use serde::{Deserialize, Serialize};

use super::clock::{Epoch, HybridTime};
use super::member::Boot;
use super::name::NodeName;
use super::words::{ClaimRefusal, Entry, FilterKey, Interest, Mark, Owned, SessionKey, Set, Standing, WillKept};

/// A message between cores. Variants are appended, never changed or removed: postcard writes their number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Control {
    /// I have just come to know you, or our channel broke: tell me your digests and register your sessions.
    Sync,
    /// Changes of the sender's interest; they make its set number `seq` out of `seq - 1`.
    InterestDelta {
        /// Number of the set with them.
        seq: u64,
        /// Filters and what is wanted of them now; `None`: nothing.
        changes: Vec<(FilterKey, Option<Interest>)>,
    },
    /// The sender's set as it is now.
    InterestDigest {
        /// Its number.
        seq: u64,
        /// Its digest.
        digest: u64,
    },
    /// I lack your set, from behind this filter on.
    InterestWanted {
        /// `None`: from the beginning.
        after: Option<FilterKey>,
    },
    /// All of the sender's set from behind `after` up to the last of `entries`, or to the end.
    InterestPart {
        /// Number of the set.
        seq: u64,
        /// As it was asked for.
        after: Option<FilterKey>,
        /// Whether nothing comes behind them.
        last: bool,
        /// In order.
        entries: Vec<(FilterKey, Interest)>,
    },
    /// I route by your set number `seq`.
    InterestApplied {
        /// Its number.
        seq: u64,
    },
    /// The sender's sessions of which you are the keeper among these members, and the wills that you would keep without it.
    Register {
        /// The members, as a number.
        view: u64,
        /// Which attempt.
        round: u64,
        /// From 0 on; 0 takes back everything that was registered before.
        part: u32,
        /// Whether it is the last one.
        last: bool,
        /// Highest time that the sender has seen.
        clock: HybridTime,
        /// Sessions.
        sessions: Vec<Owned>,
        /// Wills.
        wills: Vec<WillKept>,
    },
    /// Give me the part behind this one; of the last one: I have it all.
    RegisterNext {
        /// As in the registration.
        view: u64,
        /// As in the registration.
        round: u64,
        /// The part that was received.
        part: u32,
    },
    /// The sender owns a session from now on.
    Owns(Owned),
    /// The sender owns a session no more.
    Gone(Owned),
    /// The sender owned a session, and another node took it.
    MovedTo {
        /// Whose, and the sender's epoch.
        owned: Owned,
        /// Who took it.
        to: NodeName,
        /// Its epoch there.
        epoch: Epoch,
    },
    /// The sender gives a will into keeping, or takes it back; or it was given into keeping by another process of the receiver,
    /// which died, and so is the sender's.
    Will(WillKept),
    /// A client has connected: may the sender have its session?
    Claim {
        /// The sender's members.
        view: u64,
        /// Its number for the answer.
        request: u64,
        /// Whose session.
        key: SessionKey,
    },
    /// Its owner was told to hand it over to you: an offer comes.
    HandingOver {
        /// Whose claim.
        request: u64,
        /// Whose session.
        key: SessionKey,
        /// Its epoch with you.
        epoch: Epoch,
        /// Its owner.
        from: NodeName,
    },
    /// It is yours.
    Granted {
        /// The members among which the claim was made.
        view: u64,
        /// Whose claim.
        request: u64,
        /// Whose session.
        key: SessionKey,
        /// Its epoch from now on.
        epoch: Epoch,
    },
    /// It is not yours.
    Refused {
        /// Whose claim.
        request: u64,
        /// Whose session.
        key: SessionKey,
        /// Why. [`ClaimRefusal::NotSettled`] and [`ClaimRefusal::Contested`] are asked again within the claim's time.
        why: ClaimRefusal,
    },
    /// Hand a session over to a node and close its client (0x8E).
    HandOver {
        /// Whose.
        key: SessionKey,
        /// To whom.
        to: NodeName,
        /// The epoch under which it will be theirs.
        epoch: Epoch,
    },
    /// There is no such session here to hand over.
    NotHere {
        /// Whose.
        key: SessionKey,
        /// As in the demand.
        epoch: Epoch,
    },
    /// You claimed a session of mine; here it is.
    Offer {
        /// Whose.
        key: SessionKey,
        /// Its epoch with you.
        epoch: Epoch,
        /// Its epoch with me.
        since: Epoch,
        /// Bytes of its state.
        len: u64,
    },
    /// Go on with the state of a session.
    StateWanted {
        /// Whose.
        key: SessionKey,
        /// As in the offer.
        epoch: Epoch,
        /// Bytes that are here.
        offset: u64,
    },
    /// Some of the state of a session.
    State {
        /// Whose.
        key: SessionKey,
        /// As in the offer.
        epoch: Epoch,
        /// Place of the first byte.
        offset: u64,
        /// At most [`PART_BYTES`](super::PART_BYTES).
        bytes: Vec<u8>,
    },
    /// The session lives with me, on stable storage, and every live member routes to me.
    Taken {
        /// Whose.
        key: SessionKey,
        /// As in the offer.
        epoch: Epoch,
    },
    /// I do not take it (any more); it stays yours.
    Declined {
        /// Whose.
        key: SessionKey,
        /// As in the offer.
        epoch: Epoch,
    },
    /// Your session has a later one elsewhere.
    Superseded {
        /// Whose.
        key: SessionKey,
        /// Epoch of the later one.
        epoch: Epoch,
        /// Who has it.
        by: NodeName,
    },
    /// A will of a node that died, for the keeper that its session has now.
    WillDue {
        /// Whose, and what.
        will: WillKept,
        /// The process of the node that died.
        boot: Option<Boot>,
        /// In how many milliseconds.
        wait_ms: u64,
    },
    /// Whether I hold hints for you.
    Hints {
        /// Whether there are some.
        waiting: bool,
        /// The lowest of my processes of which forwards may still come to you.
        oldest: Boot,
    },
    /// Entries of a set. The newer stamp wins.
    Put {
        /// Which set.
        set: Set,
        /// Entries.
        entries: Vec<Entry>,
    },
    /// The sender's set as it is now.
    SetDigest {
        /// Which set.
        set: Set,
        /// Digest of all of it.
        digest: u64,
        /// How the sender has been.
        standing: Standing,
    },
    /// Mine is another one: tell me the digests of its 256 parts.
    SetBucketsWanted {
        /// Which set.
        set: Set,
    },
    /// They are these.
    SetBuckets {
        /// Which set.
        set: Set,
        /// 256 of them.
        digests: Vec<u64>,
    },
    /// Tell me the marks of these parts.
    SetMarksWanted {
        /// Which set.
        set: Set,
        /// A bit for each part, the lowest of the first byte first.
        parts: [u8; 32],
        /// From behind this key on; `None`: from the beginning.
        after: Option<Box<[u8]>>,
    },
    /// All marks of these parts from behind `after` up to the last of `marks`, or to the end.
    SetMarks {
        /// Which set.
        set: Set,
        /// As it was asked for.
        parts: [u8; 32],
        /// As it was asked for.
        after: Option<Box<[u8]>>,
        /// Whether nothing comes behind them.
        last: bool,
        /// In the order of parts, then keys.
        marks: Vec<(Box<[u8]>, Mark)>,
    },
    /// Send me these entries.
    SetWanted {
        /// Which set.
        set: Set,
        /// Keys.
        keys: Vec<Box<[u8]>>,
    },
    /// How many sessions of some tenants the sender has.
    Sessions {
        /// Whether tenants that are missing have none; else they are as they were.
        all: bool,
        /// Tenant and sessions.
        counts: Vec<(Box<str>, u64)>,
    },
    /// From the sender's host to the receiver's: no core reads it.
    Host {
        /// What.
        bytes: Vec<u8>,
    },
    /// The sender leaves: claim these sessions of it, though their clients are not there. Since protocol 2.
    Take {
        /// Whose.
        keys: Vec<SessionKey>,
    },
    /// The receiver need not keep a will any more that it gave with [`Control::WillDue`].
    WillHeard {
        /// Whose.
        key: SessionKey,
        /// The session's epoch.
        epoch: Epoch,
    },
    /// A session has left the sender, and its set number `seq` is without it: what have you routed here before you routed by that, and to
    /// the session's new place? Since protocol 2.
    RoutedWanted {
        /// The sender's number for the answer. Asked again, it is the same.
        request: u64,
        /// Of its set.
        seq: u64,
        /// Where the session lives.
        to: NodeName,
    },
    /// The sender routes by that set and that of the new place, and what it had routed before to you and you have not answered has numbers up to `last` of its
    /// process. Since protocol 2.
    Routed {
        /// As in the request.
        request: u64,
        /// 0: you have answered everything.
        last: u64,
    },
    /// Everything that follows a session to you has been sent, with numbers up to `last` of the sender's process. Since protocol 2.
    Followed {
        /// Whose.
        key: SessionKey,
        /// Its epoch with you.
        epoch: Epoch,
        /// 0: you have answered everything.
        last: u64,
    },
}

/// The first protocol with [`Control::Take`], [`Control::RoutedWanted`] and what follows them.
pub(crate) const PROTOCOL_2: u16 = 2;

/// Why bytes are no message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlError {
    /// A protocol that this link does not speak.
    Protocol {
        /// What was agreed.
        wanted: u16,
        /// What the message has.
        found: u16,
    },
    /// No message of this protocol: why.
    Malformed(String),
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ControlError::Protocol { wanted, found } => {
                write!(f, "a message of protocol {found} on a link of protocol {wanted}")
            }
            ControlError::Malformed(why) => write!(f, "not a message between members: {why}"),
        }
    }
}

impl std::error::Error for ControlError {}

impl Control {
    /// The message as a frame for a peer with which `protocol` was agreed. Not longer than [`PART_BYTES`](super::PART_BYTES) and
    /// the largest value, will or name in it.
    ///
    /// # Errors
    /// It cannot be written, which no message of ours does.
    pub fn encode(&self, protocol: u16) -> Result<Vec<u8>, ControlError> {
        postcard::to_allocvec(&(protocol, self)).map_err(|e| ControlError::Malformed(e.to_string()))
    }

    /// Reads a frame. Bytes behind the message are an error.
    ///
    /// # Errors
    /// It is of another protocol, or no message. Break the link.
    pub fn decode(bytes: &[u8], protocol: u16) -> Result<Self, ControlError> {
        let malformed = |e: postcard::Error| ControlError::Malformed(e.to_string());
        let (found, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(malformed)?;
        if found != protocol {
            return Err(ControlError::Protocol { wanted: protocol, found });
        }
        let (control, rest) = postcard::take_from_bytes(rest).map_err(malformed)?;
        match rest {
            [] => Ok(control),
            _ => Err(ControlError::Malformed(format!("{} bytes behind it", rest.len()))),
        }
    }
}
