//! The members that this node knows, itself, and what all parts of the core share: limits, time, the hybrid clock.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::action::Action;
use super::clock::Clock;
use super::control::{Control, PROTOCOL_2};
use super::member::{Boot, Member};
use super::name::NodeName;
use super::settings::Settings;
use super::words::SessionKey;

/// A member other than ourselves.
pub(crate) struct Peer {
    pub(crate) member: Member,
    /// It answers; else it is suspected.
    pub(crate) live: bool,
    /// It says that hints for us wait there, and that nothing comes of its processes before this one.
    pub(crate) hints: (bool, Boot),
}

impl Peer {
    /// It is there, and knows of sessions that are to be taken.
    fn takes(&self) -> bool {
        self.live && self.says_routed()
    }

    /// It says what it has routed to a node that sessions have left.
    pub(crate) fn says_routed(&self) -> bool {
        self.member.protocol >= PROTOCOL_2
    }

    /// It has something for us that it had not sent when it last ended. One that does not say what it has routed: that it had not sent
    /// at once.
    pub(crate) fn keeps_old_hints(&self) -> bool {
        self.hints.0 && (self.hints.1 < self.member.boot || !self.says_routed())
    }
}

/// See the module.
pub(crate) struct Members {
    pub(crate) settings: Settings,
    pub(crate) boot: Boot,
    pub(crate) now_ms: u64,
    pub(crate) clock: Clock,
    /// Whether the routes of a live member are not known, or the members were others a moment ago: what is forwarded meanwhile
    /// may be for a session that moved.
    pub(crate) lacks_routes: bool,
    pub(crate) unsettled_until_ms: u64,
    peers: BTreeMap<NodeName, Peer>,
    view: u64,
}

impl Members {
    pub(crate) fn new(settings: Settings, boot: Boot) -> Self {
        let mut members = Members {
            settings,
            boot,
            now_ms: 0,
            clock: Clock::default(),
            lacks_routes: false,
            unsettled_until_ms: 0,
            peers: BTreeMap::new(),
            view: 0,
        };
        members.count_view();
        members
    }

    pub(crate) fn own(&self) -> &NodeName {
        &self.settings.node
    }

    pub(crate) fn get(&self, node: &NodeName) -> Option<&Peer> {
        self.peers.get(node)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = (&NodeName, &Peer)> {
        self.peers.iter()
    }

    /// Its process, ours too; `None`: it is no member.
    pub(crate) fn boot_of(&self, node: &NodeName) -> Option<Boot> {
        if node == self.own() { Some(self.boot) } else { self.get(node).map(|peer| peer.member.boot) }
    }

    /// Whether it is a member that answers.
    pub(crate) fn is_live(&self, node: &NodeName) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.live)
    }

    /// How many there are, with ourselves.
    pub(crate) fn count(&self) -> usize {
        self.peers.len() + 1
    }

    pub(crate) fn insert(&mut self, member: Member) {
        let hints = (false, member.boot);
        self.peers.insert(member.node.clone(), Peer { member, live: true, hints });
        self.count_view();
    }

    pub(crate) fn remove(&mut self, node: &NodeName) {
        self.peers.remove(node);
        self.count_view();
    }

    /// The members or a link have changed: what the others know of us and we of them may be old for a while.
    pub(crate) fn unsettle(&mut self) {
        self.unsettled_until_ms = self.now_ms.saturating_add(self.settings.linger_ms);
    }

    pub(crate) fn set_live(&mut self, node: &NodeName, live: bool) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.live = live;
        }
    }

    pub(crate) fn set_hints(&mut self, node: &NodeName, waiting: bool, oldest: Boot) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.hints = (waiting, oldest);
        }
    }

    /// Whether something is still to come here that was published long ago: somebody who is there keeps hints for us.
    pub(crate) fn awaits_hints(&self) -> bool {
        self.peers.values().any(|peer| peer.live && peer.hints.0)
    }

    /// As [`Self::awaits_hints`], of what no number says that it has come: what an earlier process of somebody routed.
    pub(crate) fn awaits_old_hints(&self) -> bool {
        self.peers.values().any(|peer| peer.live && peer.keeps_old_hints())
    }

    /// The members as a number: two nodes that have the same one have the same members, as the same processes.
    pub(crate) fn view(&self) -> u64 {
        self.view
    }

    fn count_view(&mut self) {
        let of = |node: &NodeName, boot: Boot| xxh3_64_with_seed(node.as_str().as_bytes(), boot.0);
        let own = of(&self.settings.node, self.boot);
        self.view = self.peers.iter().fold(own, |sum, (node, peer)| sum.wrapping_add(of(node, peer.member.boot)));
    }

    /// The keeper of a session, `without` one of the members.
    pub(crate) fn keeper(&self, key: &SessionKey, without: Option<&NodeName>) -> &NodeName {
        self.heaviest(key, |node| Some(node) != without).unwrap_or(self.own())
    }

    /// Who takes a session of ours when we leave: one who is there and speaks of it.
    pub(crate) fn taker(&self, key: &SessionKey) -> Option<&NodeName> {
        self.heaviest(key, |node| self.peers.get(node).is_some_and(Peer::takes))
    }

    pub(crate) fn has_takers(&self) -> bool {
        self.peers.values().any(Peer::takes)
    }

    /// The member with the highest weight for a session's key (rendezvous hashing).
    fn heaviest(&self, key: &SessionKey, among: impl Fn(&NodeName) -> bool) -> Option<&NodeName> {
        let mut bytes = Vec::with_capacity(key.bytes());
        for part in [&key.tenant, &key.user, &key.client_id] {
            bytes.extend_from_slice(part.as_bytes());
            // No byte of UTF-8.
            bytes.push(0xff);
        }
        let weight = |node: &NodeName| (xxh3_64_with_seed(&bytes, xxh3_64(node.as_str().as_bytes())), node.clone());
        let nodes = self.peers.keys().chain([self.own()]).filter(|node| among(node));
        nodes.max_by_key(|node| weight(node))
    }

    /// Says something to every member, suspected ones too.
    pub(crate) fn tell_all(&self, control: &Control, out: &mut Vec<Action>) {
        out.extend(self.peers.keys().map(|to| Action::Send { to: to.clone(), control: control.clone() }));
    }
}
