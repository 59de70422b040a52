//! Grants: what an identity may do. The broker evaluates them, not the plugin.

use std::ops::BitOr;

use crate::QoS;

/// What a rule does when it matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Effect {
    /// The action is allowed.
    Allow = 1,
    /// The action is denied.
    Deny = 2,
    /// The provider is asked ([`crate::Verdict`]), and its answer kept for as long as it says.
    Ask = 3,
}

/// A set of actions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Actions(pub u32);

impl Actions {
    /// To publish.
    pub const PUBLISH: Actions = Actions(1);
    /// To subscribe.
    pub const SUBSCRIBE: Actions = Actions(2);
    /// To unsubscribe. Allowed where no rule speaks of it.
    pub const UNSUBSCRIBE: Actions = Actions(4);
    /// To be sent a message, where delivery is checked.
    pub const RECEIVE: Actions = Actions(8);
    /// To leave a will.
    pub const WILL: Actions = Actions(16);
    /// All of them.
    pub const ALL: Actions = Actions(31);

    /// Whether every action of `other` is in this set.
    pub const fn contains(self, other: Actions) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Actions {
    type Output = Actions;
    fn bitor(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }
}

/// What else must hold for a rule to match.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Constraints {
    /// Highest QoS: a PUBLISH above it does not match; a SUBSCRIBE that an Allow matches is granted no more.
    pub qos_max: QoS,
    /// `Some(false)`: only messages without retain match. `Some(true)`: only those with it.
    pub retain: Option<bool>,
    /// Largest payload in bytes; 0 is no bound.
    pub payload_bytes_max: u32,
    /// Share groups that a subscription may name; `*` is any. Empty: a shared subscription does not match an Allow.
    pub share_groups: Vec<String>,
}

impl Default for Constraints {
    fn default() -> Self {
        Constraints { qos_max: QoS::ExactlyOnce, retain: None, payload_bytes_max: 0, share_groups: Vec::new() }
    }
}

/// One rule. Rules are walked in order, and the first that matches decides.
///
/// The filter is a topic filter in which `${client_id}`, `${user}`, `${tenant}`, `${cert.cn}`, `${cert.san.dns}` and
/// `${attr.NAME}` stand for values of the identity. A value that is empty, has several values, or contains `+ # / $` or
/// NUL never expands: an Allow then cannot match, and a Deny or Ask makes the whole identity unusable.
/// Topics that begin with `$` match only rules that begin with a literal `$`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Grant {
    /// What the rule does.
    pub effect: Effect,
    /// Which actions it speaks of.
    pub actions: Actions,
    /// Topic filter with `${…}`.
    pub filter: String,
    /// What else must hold.
    pub constraints: Constraints,
}

impl Grant {
    /// A rule without constraints.
    pub fn new(effect: Effect, actions: Actions, filter: impl Into<String>) -> Self {
        Grant { effect, actions, filter: filter.into(), constraints: Constraints::default() }
    }

    /// Allows `actions` on `filter`.
    pub fn allow(actions: Actions, filter: impl Into<String>) -> Self {
        Grant::new(Effect::Allow, actions, filter)
    }

    /// Denies `actions` on `filter`.
    pub fn deny(actions: Actions, filter: impl Into<String>) -> Self {
        Grant::new(Effect::Deny, actions, filter)
    }

    /// Has the provider asked about `actions` on `filter`.
    pub fn ask(actions: Actions, filter: impl Into<String>) -> Self {
        Grant::new(Effect::Ask, actions, filter)
    }
}
