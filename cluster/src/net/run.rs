//! The network's own tasks: follows gossip, joins and joins again, checks certificates.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::join;
use super::link;
use super::peers::Peer;
use super::rpc::service::Purpose;
use super::shared::Shared;
use crate::core::{Boot, Lost, NodeName};

/// Gossip is looked at this often, even when it says nothing.
const TICK: Duration = Duration::from_secs(1);
/// A peer that we reach and that has not come to us for as long may not have heard of us: gossip is exchanged again.
const ONE_WAY: Duration = Duration::from_secs(2);
/// Certificates of open connections are checked again this often.
const VERIFY: Duration = Duration::from_secs(60);

/// Runs until everything ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let tasks = async { tokio::join!(follow(&shared), join_and_rejoin(&shared), verify(&shared)) };
    let cancel = shared.cancel.clone();
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = tasks => {}
    }
}

async fn follow(shared: &Arc<Shared>) {
    let mut last_one_way = Instant::now();
    loop {
        drop(tokio::time::timeout(TICK, shared.membership.changed()).await);
        shared.reconcile().await;
        if last_one_way.elapsed() >= ONE_WAY {
            last_one_way = Instant::now();
            let deaf = shared.peers.all().into_iter().filter(|peer| peer.is_up_for(ONE_WAY) && !shared.comes(peer));
            let addresses: Vec<_> = deaf.map(|peer| peer.gossip).collect();
            if !addresses.is_empty() {
                shared.membership.join(addresses).await;
            }
        }
    }
}

async fn join_and_rejoin(shared: &Arc<Shared>) {
    join::first(shared).await;
    let mut tick = tokio::time::interval(shared.settings.rejoin_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        join::again(shared, &shared.sought).await;
    }
}

async fn verify(shared: &Arc<Shared>) {
    let mut tick = tokio::time::interval(VERIFY);
    loop {
        tick.tick().await;
        shared.verify_connections();
    }
}

impl Shared {
    /// Makes the peers those that gossip says are alive.
    pub(super) async fn reconcile(self: &Arc<Self>) {
        let _turn = self.reconciling.lock().await;
        let alive = self.membership.alive().await;
        let mut alive: HashMap<NodeName, _> = alive.into_iter().map(|member| (member.node.clone(), member)).collect();
        for peer in self.peers.all() {
            let same = alive.get(&peer.node).is_some_and(|member| (member.boot, member.rpc) == (peer.boot, peer.rpc));
            if same {
                alive.remove(&peer.node);
            } else {
                self.lose(&peer);
            }
        }
        for member in alive.into_values() {
            let departed = self.departed.lock().get(&member.node) == Some(&member.boot);
            if departed {
                continue;
            }
            self.departed.lock().remove(&member.node);
            let lanes = usize::from(self.settings.data_connections.clamp(1, 4));
            let peer = self.peers.insert(&member, lanes, self.cancel.child_token(), self.handler.clone());
            self.sought.remove(&member.node);
            let links = (0..lanes as u8).map(Purpose::Data).chain([Purpose::Control]);
            links.for_each(|purpose| drop(tokio::spawn(link::supervise(self.clone(), peer.clone(), purpose))));
        }
    }

    fn lose(&self, peer: &Peer) {
        self.sought.add(&peer.node, peer.rpc);
        peer.gone(Lost::Dead);
        self.peers.remove(peer);
    }

    /// A peer said goodbye: gossip may believe for a while that this process is still there.
    pub(super) fn left(&self, node: &NodeName, boot: Boot) {
        let Some(peer) = self.peers.get(node).filter(|peer| peer.boot == boot) else { return };
        self.departed.lock().insert(node.clone(), boot);
        peer.gone(Lost::Left);
        self.peers.remove(&peer);
    }
}
