//! The limits and times of a node, all in one place.

use super::name::{Name, NodeName};

/// Bytes of entries that one message takes before the next one begins. A message is larger only if its last entry is.
pub const PART_BYTES: usize = 256 * 1024;

/// What a node is told once. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Environment.
    pub environment: Name,
    /// Cluster.
    pub cluster: Name,
    /// Our name.
    pub node: NodeName,
    /// Changes of interest are gathered this long before they travel.
    pub delta_ms: u64,
    /// How often digests of all sets travel.
    pub digest_ms: u64,
    /// How long what was asked for is waited for before it is asked for again.
    pub ask_again_ms: u64,
    /// How long a forward's answer is waited for before the forward becomes a hint.
    pub ack_wait_ms: u64,
    /// Hints of one node, in bytes. Full: what is for it is refused (0x97), never acknowledged.
    pub hint_bytes_max: u64,
    /// Hints of one node, in number. Full as above.
    pub hints_max: u64,
    /// How long a hint is kept; then it is dropped and an event says so.
    pub hint_keep_ms: u64,
    /// Forwards that one node may have to answer; what comes beyond becomes a hint. Also how far a receiver looks back for
    /// repeats.
    pub window: u64,
    /// How long a claim may take, hand-over included; then it is refused.
    pub claim_ms_max: u64,
    /// Claims that may wait on this node. Beyond: refused.
    pub claims_max: usize,
    /// Longest state of a session that is taken over, in bytes. A longer one is declined and stays where it is.
    pub state_bytes_max: u64,
    /// How long a node that handed a session over waits for publications that were on their way to it.
    pub linger_ms: u64,
    /// How long tombstones are kept. A node that was away longer drops its copy of the sets and fetches them.
    pub tombstone_keep_ms: u64,
    /// How often shares of quotas are counted anew.
    pub share_ms: u64,
    /// The faults that the simulation plants, to show that it finds them.
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

/// A fault that the simulation must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Fault {
    /// A keeper grants before every member has registered.
    UnregisteredKeeper,
    /// A receiver does not look for repeats.
    NoRepeatCheck,
    /// A removal leaves no tombstone.
    NoTombstone,
    /// The lower epoch wins.
    ReversedEpoch,
    /// A forward is acknowledged when its hint is asked for, not when it is committed.
    AcknowledgedBeforeHint,
}

impl Settings {
    /// The defaults.
    pub fn new(environment: Name, cluster: Name, node: NodeName) -> Self {
        Settings {
            environment,
            cluster,
            node,
            delta_ms: 10,
            digest_ms: 10_000,
            ask_again_ms: 2_000,
            ack_wait_ms: 500,
            hint_bytes_max: 1 << 30,
            hints_max: 10_000_000,
            hint_keep_ms: 24 * 3_600_000,
            window: 16_384,
            claim_ms_max: 5_000,
            claims_max: 100_000,
            state_bytes_max: 256 << 20,
            linger_ms: 1_000,
            tombstone_keep_ms: 7 * 24 * 3_600_000,
            share_ms: 1_000,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Whether a fault is planted: never outside the simulation.
    #[cfg(test)]
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether a fault is planted: never outside the simulation.
    #[cfg(not(test))]
    pub(crate) const fn has(&self, _fault: Fault) -> bool {
        false
    }
}
