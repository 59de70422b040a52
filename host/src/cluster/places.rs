//! Exclusive identities at all nodes: each hears who has taken a place, and whoever had it there is disconnected.
//!
//! A node that was away hears of all of them when it is there again, and says of its own: of two the newer one stays. Nobody waits for an
//! answer, so two may be live for as long as a message takes, or while a link is cut.

use gatemq_cluster::core::{Event, NodeName};

use super::Cluster;
use super::driver::Driver;
use super::orders::Word;
use super::told::Told;
use crate::clock;
use crate::exclusive::Claim;

/// Claims of one message.
const CLAIMS_MAX: usize = 256;

impl Cluster {
    /// A connection of this node has taken a place. Never waits; any worker.
    pub(crate) fn claim_place(&self, claim: Claim) {
        self.inbox.tell(Told::Ask(Box::new(move |driver| driver.claim_place(claim))));
    }

    fn send_places(&self, to: &NodeName, claims: &[Claim]) {
        for claims in claims.chunks(CLAIMS_MAX) {
            if let Some(control) = (Word::Places { claims: claims.to_vec() }).control() {
                self.send_control(to, &control);
            }
        }
    }
}

impl Driver {
    fn claim_place(&self, claim: Claim) {
        let claims = [claim];
        for (member, _) in self.core.members().filter(|(_, live)| *live) {
            self.cluster.send_places(&member.node, &claims);
        }
    }

    /// The way to a node is new: it may not have heard of those that were taken meanwhile.
    pub(super) fn places_again(&self, node: &NodeName) {
        self.cluster.send_places(node, &self.node.places.claims());
    }

    /// Another node's. Of those that are older than what is here it is told.
    pub(super) fn places_heard(&mut self, from: &NodeName, claims: &[Claim]) {
        let (own, now_ms) = ((from.as_str(), self.cluster.own.as_str()), clock::now_ms());
        let good = claims.iter().filter(|claim| claim.wrong(now_ms).is_none());
        let newer: Vec<_> = good.filter_map(|claim| self.node.places.heard(&self.node, own, claim)).collect();
        if let Some(what) = claims.iter().find_map(|claim| claim.wrong(now_ms)) {
            self.tell(Event::PeerMisbehaved { node: from.clone(), what });
        }
        self.cluster.send_places(from, &newer);
    }
}
