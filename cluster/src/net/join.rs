//! Becoming a member: any seed is asked over RPC, and only who was admitted gossips. The same way leads back after a
//! partition, which gossip alone does not heal.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use super::gossip::gate::GossipRefusal;
use super::handler::{Joined, RefusedSide, RefusedWhy};
use super::link::{self, DialError, Raw};
use super::rpc::service::{JoinAsk, JoinReply};
use super::shared::Shared;
use crate::core::{NodeName, Refusal};

/// A join is answered in this time, the member's question to the last holder of our name included.
const JOIN_DEADLINE: Duration = Duration::from_secs(4);
/// Members that were lost and are sought, the latest. Older ones are found by those who find these.
const LOST_MAX: usize = 64;
/// A seed's name is resolved in this time, or tried again later: a resolver that is cut off takes longer to say so.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);
/// Addresses of a seed that are tried.
const SEED_ADDRESSES_MAX: usize = 8;
/// Members have as long to answer before the first attempt counts as over.
const SETTLE: Duration = Duration::from_secs(5);

/// What became of an attempt with one address.
enum Attempt {
    Admitted(NodeName),
    /// It is we ourselves.
    Ourselves,
    Refused(RefusedWhy),
    Unreachable(String),
}

/// Lost members that are sought at their RPC addresses.
#[derive(Default)]
pub(super) struct Sought(Mutex<VecDeque<(NodeName, SocketAddr)>>);

impl Sought {
    /// From now on.
    pub(super) fn add(&self, node: &NodeName, rpc: SocketAddr) {
        let mut sought = self.0.lock();
        sought.retain(|(other, _)| other != node);
        if sought.len() >= LOST_MAX {
            sought.pop_front();
        }
        sought.push_back((node.clone(), rpc));
    }

    /// It is there again, or has left for good.
    pub(super) fn remove(&self, node: &NodeName) {
        self.0.lock().retain(|(other, _)| other != node);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.lock().iter().map(|(_, rpc)| *rpc).collect()
    }
}

/// The first attempt: asks all seeds until one admits us, then waits for the members to answer.
pub(super) async fn first(shared: &Arc<Shared>) {
    let (mut refused, mut unreachable) = (Vec::new(), Vec::new());
    let mut admitted = None;
    // All at once: a seed that never answers delays nobody.
    let seeds = shared.settings.seeds.iter().map(|seed| async move { (seed, try_seed(shared, seed).await) });
    let mut asked: FuturesUnordered<_> = seeds.collect();
    while let Some((seed, attempt)) = asked.next().await {
        match attempt {
            Attempt::Admitted(by) => {
                admitted = Some(by);
                break;
            }
            Attempt::Ourselves => {}
            Attempt::Refused(why) => refused.push((seed.clone(), why)),
            Attempt::Unreachable(why) => unreachable.push((seed.clone(), why)),
        }
    }
    drop(asked);
    let joined = match admitted {
        Some(by) => {
            shared.reconcile().await;
            shared.peers.settled(SETTLE).await;
            Joined::Admitted { by }
        }
        None if refused.is_empty() => Joined::Alone { unreachable },
        None => Joined::Refused { reasons: refused },
    };
    shared.handler.joined(joined);
}

/// Asks every seed and every lost member that is not a member now.
pub(super) async fn again(shared: &Arc<Shared>, sought: &Sought) {
    let members = shared.peers.members();
    let is_member = |address: &SocketAddr| members.iter().any(|member| member.rpc == *address);
    let seeds = shared.settings.seeds.iter().map(|seed| async {
        let addresses = resolve(seed).await.unwrap_or_default();
        if !addresses.iter().any(is_member) {
            drop(try_addresses(shared, addresses).await);
        }
    });
    let sought = sought.addresses().into_iter().filter(|address| !is_member(address));
    let lost = sought.map(|address| async move { drop(ask(shared, address).await) });
    tokio::join!(join_all(seeds), join_all(lost));
}

async fn try_seed(shared: &Arc<Shared>, seed: &str) -> Attempt {
    match resolve(seed).await {
        Ok(addresses) => try_addresses(shared, addresses).await,
        Err(e) => Attempt::Unreachable(format!("its name cannot be resolved: {e}")),
    }
}

/// All at once: those that never answer do not delay the others.
async fn try_addresses(shared: &Arc<Shared>, addresses: Vec<SocketAddr>) -> Attempt {
    let mut last = Attempt::Unreachable("its name has no address".into());
    let mut asked: FuturesUnordered<_> = addresses.into_iter().map(|address| ask(shared, address)).collect();
    while let Some(attempt) = asked.next().await {
        match attempt {
            Attempt::Admitted(_) | Attempt::Refused(_) => return attempt,
            // The name may have further addresses, of other members.
            Attempt::Ourselves => last = attempt,
            Attempt::Unreachable(_) if matches!(last, Attempt::Ourselves) => {}
            Attempt::Unreachable(_) => last = attempt,
        }
    }
    last
}

async fn resolve(seed: &str) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(RESOLVE_DEADLINE, tokio::net::lookup_host(seed)).await;
    Ok(found.map_err(io::Error::from)??.take(SEED_ADDRESSES_MAX).collect())
}

/// Asks the node at an address to admit us, and gossips with its cluster if it does.
async fn ask(shared: &Arc<Shared>, address: SocketAddr) -> Attempt {
    if address == shared.rpc {
        return Attempt::Ourselves;
    }
    match ask_at(shared, address).await {
        Ok(attempt) => attempt,
        Err(DialError::Unreachable(why)) => Attempt::Unreachable(why),
        Err(DialError::Refused(side, who, why)) => {
            shared.refused(side, address, who, why.clone());
            Attempt::Refused(why)
        }
    }
}

async fn ask_at(shared: &Arc<Shared>, address: SocketAddr) -> Result<Attempt, DialError> {
    let Raw { client, mut ended, peer, .. } = link::connect(shared, address).await?;
    let who = Some(peer.identity.clone());
    let refused = |side, refusal: Refusal| DialError::Refused(side, who.clone(), RefusedWhy::Hello(refusal));
    let ask = JoinAsk { hello: shared.hello(), rpc: shared.rpc, gossip: shared.gossip };
    let (theirs, members) = match client.join(link::deadline(JOIN_DEADLINE), ask).await {
        Ok(JoinReply::Admitted { hello, members }) => (hello, members),
        Ok(JoinReply::Refused(refusal)) if link::is_ourselves(shared, &refusal) => return Ok(Attempt::Ourselves),
        Ok(JoinReply::Refused(refusal)) => return Err(refused(RefusedSide::ByThem, refusal)),
        Err(_) => return Err(link::unanswered(&mut ended, who).await),
    };
    let by = shared.decide(&theirs, &peer.identity, &[]).map_err(|e| refused(RefusedSide::ByUs, e))?;
    let others = members.into_iter().filter(|(node, _)| *node != shared.settings.node);
    let addresses: Vec<SocketAddr> = others.map(|(_, gossip)| gossip).collect();
    if shared.membership.join(addresses).await == 0 {
        let why = RefusedWhy::Gossip(GossipRefusal::Unanswered);
        return Err(DialError::Refused(RefusedSide::ByThem, who, why));
    }
    Ok(Attempt::Admitted(by.node))
}
