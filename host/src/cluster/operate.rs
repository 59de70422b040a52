//! What operators have done to the cluster.

use gatemq_cluster::core::{Input, NodeName, Set};
use gatemq_cluster::net::{KeyId, Net, Secret};

use super::Cluster;
use super::told::Told;

impl Cluster {
    fn net(&self) -> Result<&Net, String> {
        self.link.net().ok_or_else(|| "the node has not begun to join".to_owned())
    }

    /// Forbids a node everywhere, or allows it again.
    ///
    /// # Errors
    /// It is no name, or this node's own.
    pub(crate) fn forbid_node(&self, node: &str, forbidden: bool) -> Result<(), String> {
        let node = NodeName::new(node).map_err(|e| format!("{}: {e}", node.escape_debug()))?;
        if node == self.own && forbidden {
            return Err("a node cannot forbid itself; say it to another one".into());
        }
        let (key, value) = (node.as_str().as_bytes().into(), forbidden.then(Vec::new));
        self.inbox.tell(Told::Core(Input::Put { set: Set::Nodes, key, value, until_ms: 0 }));
        Ok(())
    }

    /// Takes note that a node is forbidden, or not any more; connections with it end.
    pub(super) fn note_forbidden(&self, node: &str, forbidden: bool) {
        if !forbidden {
            self.forbidden.write().remove(node);
            return;
        }
        self.forbidden.write().insert(node.into());
        if let (Some(net), Ok(node)) = (self.link.net(), NodeName::new(node)) {
            net.disconnect(&node);
        }
    }

    /// The keys of gossip, the one in use first.
    pub(crate) fn gossip_keys(&self) -> Vec<String> {
        self.link.net().map_or_else(Vec::new, |net| net.keys().iter().map(KeyId::to_string).collect())
    }

    /// Accepts the key of one more secret; returns how it is called.
    ///
    /// # Errors
    /// It is no secret, or there are too many.
    pub(crate) fn add_gossip_key(&self, secret: &str) -> Result<String, String> {
        let secret = Secret::new(secret).map_err(|e| e.to_string())?;
        self.net()?.add_key(&secret).map(|key| key.to_string()).map_err(|e| e.to_string())
    }

    /// Encrypts with it from now on.
    ///
    /// # Errors
    /// It is not accepted here.
    pub(crate) fn use_gossip_key(&self, key: &str) -> Result<(), String> {
        self.net()?.use_key(self.key_of(key)?).map_err(|e| e.to_string())
    }

    /// Accepts it no more.
    ///
    /// # Errors
    /// It is not accepted here, or in use.
    pub(crate) fn remove_gossip_key(&self, key: &str) -> Result<(), String> {
        self.net()?.remove_key(self.key_of(key)?).map_err(|e| e.to_string())
    }

    fn key_of(&self, text: &str) -> Result<KeyId, String> {
        let keys = self.net()?.keys();
        let found = keys.into_iter().find(|key| key.to_string() == text);
        found.ok_or_else(|| {
            format!("{} is no key of this node; `gatemq cluster key list` shows them", text.escape_debug())
        })
    }
}
