//! The cluster as this node sees it, nodes that are forbidden, and the keys of gossip.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::caller::Caller;
use super::desk::tell;
use super::routes::{Answer, Refusal};
use crate::cluster::Cluster;

fn of(api: &Api) -> Result<&Arc<Cluster>, Refusal> {
    let none = || Refusal::conflict("the node is in no cluster: [cluster] is not configured");
    api.node.cluster().ok_or_else(none)
}

/// Members, readiness, forbidden nodes.
pub(super) async fn status(State(api): State<Api>) -> Answer {
    Ok(Json(of(&api)?.status()))
}

/// Which node, and whether it may join.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forbid {
    node: String,
    forbidden: bool,
}

/// Forbids a node on every node, or allows it again.
pub(super) async fn forbid(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<Forbid>, JsonRejection>,
) -> Answer {
    let Json(Forbid { node, forbidden }) = body?;
    of(&api)?.forbid_node(&node, forbidden).map_err(Refusal::invalid)?;
    let action = if forbidden { "forbid" } else { "allow" };
    tell(&api, &caller, format!("cluster {action} {node}"));
    Ok(Json(json!({ "node": node, "forbidden": forbidden })))
}

/// The keys of gossip, by the first bytes of their digests; the one in use first.
pub(super) async fn keys(State(api): State<Api>) -> Answer {
    Ok(Json(json!({ "keys": of(&api)?.gossip_keys() })))
}

/// What to do with a key of gossip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "action", rename_all = "lowercase")]
pub(super) enum Key {
    /// Accept the key of one more secret.
    Add {
        /// The secret.
        secret: String,
    },
    /// Encrypt with it from now on.
    Use {
        /// Which.
        key: String,
    },
    /// Accept it no more.
    Remove {
        /// Which.
        key: String,
    },
}

/// Changes the keys of this node until it ends.
pub(super) async fn key(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<Key>, JsonRejection>,
) -> Answer {
    let Json(key) = body?;
    let cluster = of(&api)?;
    let (action, key) = match key {
        Key::Add { secret } => ("add", cluster.add_gossip_key(&secret)),
        Key::Use { key } => ("use", cluster.use_gossip_key(&key).map(|()| key)),
        Key::Remove { key } => ("remove", cluster.remove_gossip_key(&key).map(|()| key)),
    };
    let key = key.map_err(Refusal::conflict)?;
    tell(&api, &caller, format!("cluster key {action} {key}"));
    Ok(Json(json!({ "key": key, "keys": cluster.gossip_keys() })))
}
