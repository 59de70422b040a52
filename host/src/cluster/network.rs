//! What the network tells: for the core, for workers, and for operators.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gatemq_cluster::core::{Boot, Control, Forward, Input, Lost, Member, NodeName};
use gatemq_cluster::net::{Batch, Handler, Joined, Outcomes, Refused, RefusedSide};
use gatemq_types::event::Fact;
use tokio::sync::{oneshot, watch};

use super::Cluster;
use super::backlog::Backlog;
use super::content::Header;
use super::receive::{FromNode, Sent, way_of};
use super::told::Told;
use crate::node::Node;

/// An outcome: committed here, or, at QoS 0, given to those who are there.
const ACCEPTED: u8 = 0;
/// An outcome: not committed; it is to be kept.
const NOT_COMMITTED: u8 = 1;

/// See the module.
pub(super) struct Network {
    node: Arc<Node>,
    cluster: Arc<OnceLock<Arc<Cluster>>>,
    joined: watch::Sender<Option<Joined>>,
}

type Future<T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send>>;

impl Network {
    /// The cluster is known as soon as there is a way to the others; nothing is told before.
    pub(super) fn new(
        node: &Arc<Node>,
        cluster: Arc<OnceLock<Arc<Cluster>>>,
        joined: watch::Sender<Option<Joined>>,
    ) -> Self {
        Network { node: node.clone(), cluster, joined }
    }

    fn seen(&self, node: &NodeName, state: &'static str) {
        if let Some(cluster) = self.cluster.get() {
            cluster.roster.is_now(node, state);
        }
    }

    fn tell(&self, input: Input) {
        if let Some(cluster) = self.cluster.get() {
            cluster.inbox.tell(Told::Core(input));
        }
    }
}

fn name(node: &NodeName) -> std::borrow::Cow<'static, str> {
    node.as_str().to_owned().into()
}

impl Handler for Network {
    fn peer_up(&self, member: Member) {
        let (version, address) = (member.version.clone().into(), member.rpc.to_string().into());
        self.node.events.emit(None, Fact::NodeJoined { member: name(&member.node), version, address });
        if let Some(cluster) = self.cluster.get() {
            cluster.roster.up(&member);
            cluster.serve(&member.node, member.protocol);
        }
        self.tell(Input::PeerUp(member));
    }

    fn peer_suspected(&self, node: &NodeName, boot: Boot) {
        self.seen(node, "suspected");
        self.node.events.emit(None, Fact::NodeFailed { member: name(node), state: "suspected".into() });
        self.tell(Input::PeerSuspected { node: node.clone(), boot });
    }

    fn peer_lost(&self, node: &NodeName, boot: Boot, how: Lost) {
        let (state, member) = (if how == Lost::Dead { "dead" } else { "left" }, name(node));
        self.seen(node, state);
        self.node.events.emit(
            None,
            match how {
                Lost::Dead => Fact::NodeFailed { member, state: state.into() },
                Lost::Left => Fact::NodeLeft { member },
            },
        );
        self.tell(Input::PeerLost { node: node.clone(), boot, how });
    }

    fn link_reset(&self, node: &NodeName) {
        self.tell(Input::LinkReset { node: node.clone() });
    }

    fn control(&self, from: &NodeName, boot: Boot, message: Bytes) -> Result<(), String> {
        let Some(cluster) = self.cluster.get() else { return Ok(()) };
        let control = Control::decode(&message, cluster.protocol(from)).map_err(|e| e.to_string())?;
        let permit = Backlog::enter(&cluster.peer(from.as_str()).backlog, message.len());
        cluster.inbox.tell(Told::Received { input: Input::Received { from: from.clone(), boot, control }, permit });
        Ok(())
    }

    fn room(&self, from: &NodeName) -> Future<()> {
        let backlog = self.cluster.get().map(|cluster| cluster.peer(from.as_str()).backlog.clone());
        Box::pin(async move {
            if let Some(backlog) = backlog {
                backlog.room().await;
            }
        })
    }

    fn deliver(&self, from: &NodeName, _boot: Boot, _lane: u8, batch: Batch) -> Future<Outcomes> {
        let (mut codes, mut waits, mut fast, mut told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (head, packet) in batch.messages() {
            let Some(header) = Header::read(head.tenant, head.flags, head.properties) else {
                codes.push(ACCEPTED); // Nobody can have it, ever.
                continue;
            };
            if head.seq == 0 {
                fast.push(Sent { from: way_of(from.as_str()), header, packet });
                codes.push(ACCEPTED);
                continue;
            }
            let (answer, answered) = oneshot::channel();
            waits.push((codes.len(), answered));
            codes.push(NOT_COMMITTED);
            let forward = Forward { boot: head.boot, seq: head.seq };
            let (from, low, sent) = (from.clone(), head.low, (header, packet));
            told.push(Told::Arrived { from, forward, low, sent, answer });
        }
        if let Some(cluster) = self.cluster.get() {
            cluster.inbox.tell_all(told);
            if !fast.is_empty() {
                let worker = cluster.worker_of(from.as_str(), self.node.workers());
                self.node.send(worker, |mail| mail.from_nodes.push(FromNode::new(fast)));
            }
        }
        Box::pin(async move {
            for (at, answered) in waits {
                if answered.await.is_ok() {
                    codes[at] = ACCEPTED;
                }
            }
            Outcomes::new(codes)
        })
    }

    fn refused(&self, refused: Refused) {
        let Refused { side, address, who, why, untold } = refused;
        let side = if side == RefusedSide::ByUs { "by_us" } else { "by_them" };
        if let Some(cluster) = self.cluster.get() {
            cluster.refusals.count(side, why.code(), untold.saturating_add(1));
        }
        let fact = Fact::NodeRefused {
            side: side.into(),
            address: address.to_string().into(),
            id: who.map(|who| who.to_string()).unwrap_or_default().into(),
            code: why.code().into(),
            why: why.to_string().into(),
            untold,
        };
        self.node.events.emit(None, fact);
    }

    fn joined(&self, joined: Joined) {
        self.joined.send_replace(Some(joined));
        self.tell(Input::MembersKnown);
    }

    fn is_forbidden(&self, node: &NodeName) -> bool {
        self.cluster.get().is_some_and(|cluster| cluster.forbidden.read().contains(node.as_str()))
    }
}
