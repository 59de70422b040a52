//! Who a client is here, and what it may do.

mod explain;
mod key;
mod marks;
mod publish;
mod retained;
mod subscribe;
mod will;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::{Effect, Limits, NoMatch, QoS};

use crate::grants::{Grants, Names, Resolved, Unusable, Values, Variable};
use crate::{Hasher, Tenant};
pub use explain::{Because, Explanation};
pub use key::SessionKey;
pub use marks::Marks;

/// Most subscriptions of a session where its identity says nothing.
pub const SUBSCRIPTIONS_MAX: u32 = 100_000;

/// Numbers for generations; each is used once, so that no identity takes another's decisions for its own.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// Why a client cannot be let in with the identity that its provider gave it (CONNACK 0x87, 5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdentityError {
    /// The user is empty.
    UserEmpty,
    /// The client identifier is empty: one is assigned before.
    ClientIdEmpty,
    /// A Deny or Ask names a value that is empty, has several values, or contains `+ # / $` or NUL.
    ValueUnusable {
        /// Place of the rule in its list, from 0.
        rule: usize,
        /// The value's name.
        variable: Variable,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::UserEmpty => f.write_str("the user is empty"),
            IdentityError::ClientIdEmpty => f.write_str("the client identifier is empty"),
            IdentityError::ValueUnusable { rule, variable } => {
                write!(f, "grant {} denies or asks by {variable}, which has no single value fit for a topic", rule + 1)
            }
        }
    }
}

impl std::error::Error for IdentityError {}

/// Who a client is and what it may do. Made at CONNECT, replaced as a whole when a provider gives new grants.
pub struct Identity {
    key: Arc<SessionKey>,
    grants: Arc<Grants>,
    values: Box<Resolved>,
    no_match: NoMatch,
    allowed: Allowed,
    generation: AtomicU64,
    hasher: Hasher,
    marks: Option<Arc<Marks>>,
}

/// What of its limits is looked at here.
#[derive(Clone, Copy)]
struct Allowed {
    qos_max: QoS,
    retain: bool,
    wildcards: bool,
    shared: bool,
    subscriptions_max: u32,
    will: bool,
}

impl Allowed {
    fn new(limits: &Limits) -> Self {
        let yes = |limit: Option<u64>| limit != Some(0);
        Allowed {
            qos_max: match limits.qos_max {
                Some(0) => QoS::AtMostOnce,
                Some(1) => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            retain: yes(limits.retain_allowed),
            will: yes(limits.will_allowed),
            wildcards: yes(limits.wildcard_subscriptions_allowed),
            shared: yes(limits.shared_subscriptions_allowed),
            subscriptions_max: limits
                .subscriptions_max
                .map_or(SUBSCRIPTIONS_MAX, |max| u32::try_from(max).unwrap_or(u32::MAX)),
        }
    }
}

/// What an identity is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Whose session it is.
    pub key: &'a Arc<SessionKey>,
    /// Its rules.
    pub grants: &'a Arc<Grants>,
    /// What they may name besides tenant, user and client identifier.
    pub values: Values<'a>,
    /// What happens to what no rule matches.
    pub no_match: NoMatch,
    /// Its limits, already lowered to what the broker and the listener allow. Looked at here are QoS, retain, and those
    /// of subscriptions.
    pub limits: &'a Limits,
}

impl Identity {
    /// Binds rules to a client. `hasher` is the node's: every identity has the same, so that topic caches find what
    /// others put in.
    ///
    /// # Errors
    /// The client cannot be let in.
    pub fn new(parts: Parts<'_>, hasher: &Hasher) -> Result<Self, IdentityError> {
        let Parts { key, grants, values, no_match, limits } = parts;
        let names = Names { tenant: key.tenant().name(), user: key.user(), client_id: key.client_id() };
        let values = grants.resolve(names, &values);
        let values = values.map_err(|Unusable { rule, variable }| IdentityError::ValueUnusable { rule, variable })?;
        let generation = AtomicU64::new(GENERATIONS.fetch_add(1, Ordering::Relaxed));
        let (key, grants, allowed, hasher) = (key.clone(), grants.clone(), Allowed::new(limits), hasher.clone());
        Ok(Identity { key, grants, values, no_match, allowed, generation, hasher, marks: None })
    }

    /// The same, found by these too.
    #[must_use]
    pub fn marked(self, tags: &[String], leaf_sha256: Option<[u8; 32]>) -> Self {
        Identity { marks: Marks::of(tags.into(), leaf_sha256), ..self }
    }

    /// Tags, to revoke or disconnect by.
    pub fn tags(&self) -> &[String] {
        self.marks.as_ref().map_or(&[], |marks| &marks.tags)
    }

    /// Whose session it is.
    pub fn key(&self) -> &Arc<SessionKey> {
        &self.key
    }

    /// Where its topics are.
    pub fn tenant(&self) -> &Arc<Tenant> {
        self.key.tenant()
    }

    /// Its rules.
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// The same once more, for a will that outlives its connection.
    pub(crate) fn again(&self) -> Self {
        Identity {
            key: self.key.clone(),
            grants: self.grants.clone(),
            values: self.values.clone(),
            no_match: self.no_match,
            allowed: self.allowed,
            generation: AtomicU64::new(self.generation()),
            hasher: self.hasher.clone(),
            marks: self.marks.clone(),
        }
    }

    /// Voids every remembered decision, and every answer to a question that is still open.
    pub fn void_verdicts(&self) {
        self.generation.store(GENERATIONS.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    #[inline]
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    #[inline]
    fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    /// The effect of what no rule matches.
    fn unmatched(&self) -> Effect {
        match self.no_match {
            NoMatch::Deny => Effect::Deny,
            NoMatch::Ask => Effect::Ask,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("key", &self.key).field("grants", &self.grants).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Identities for tests.

    use gatemq_types::{Actions, Grant};

    use super::*;
    use crate::{GrantTable, Tenants};

    pub(crate) fn tenant(name: &str) -> Arc<Tenant> {
        Tenants::new(8).get_or_create(name).unwrap()
    }

    pub(crate) fn key(client_id: &str) -> Arc<SessionKey> {
        SessionKey::new(tenant("t"), "user", client_id).unwrap().into()
    }

    pub(crate) fn with(key: &Arc<SessionKey>, grants: &[Grant], no_match: NoMatch, limits: &Limits) -> Identity {
        let grants = GrantTable::new(1).compile(grants).unwrap();
        let parts = Parts { key, grants: &grants, values: Values::default(), no_match, limits };
        Identity::new(parts, &Hasher::default()).unwrap()
    }

    pub(crate) fn identity(grants: &[Grant]) -> Identity {
        with(&key("c"), grants, NoMatch::Deny, &Limits::default())
    }

    pub(crate) fn free(key: &Arc<SessionKey>) -> Identity {
        with(key, &[Grant::allow(Actions::ALL, "#")], NoMatch::Deny, &Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Grant};

    use super::*;
    use crate::GrantTable;

    fn bind(grant: Grant, user: &str, values: Values<'_>) -> Result<Identity, IdentityError> {
        let grants = GrantTable::new(1).compile(&[grant]).unwrap();
        let key = Arc::new(SessionKey::new(testing::tenant("t"), user, "c")?);
        let limits = Limits::default();
        let parts = Parts { key: &key, grants: &grants, values, no_match: NoMatch::Deny, limits: &limits };
        Identity::new(parts, &Hasher::default())
    }

    /// Guards section 5: a Deny or Ask whose value does not expand refuses the identity; an Allow does not; a value that
    /// is fit does not either.
    #[test]
    fn a_deny_that_would_vanish_refuses_the_identity() {
        let unusable = |variable| Some(IdentityError::ValueUnusable { rule: 0, variable });
        for user in ["a/b", "+", "#", "a+", "$u", "u$", "nul\0", "fit"] {
            let refused = if user == "fit" { None } else { unusable(Variable::User) };
            for effect in [Effect::Deny, Effect::Ask] {
                let rule = Grant::new(effect, Actions::PUBLISH, "secret/x-${user}/#");
                assert_eq!(bind(rule, user, Values::default()).err(), refused, "{user:?}");
            }
            assert_eq!(bind(Grant::allow(Actions::PUBLISH, "${user}"), user, Values::default()).err(), None);
        }
        let names: Vec<String> = vec!["one".into(), "two".into()];
        let attributes =
            [("site".to_string(), "s".to_string()), ("line".into(), "1".into()), ("line".into(), "2".into())];
        let values = |names| Values { cert_cn: names, cert_san_dns: names, attributes: &attributes };
        let refused = |filter: &str, names| bind(Grant::deny(Actions::PUBLISH, filter), "u", values(names)).err();
        assert_eq!(refused("${cert.cn}", &names[..1]), None);
        assert_eq!(refused("${cert.cn}", &names), unusable(Variable::CertCn), "several values");
        assert_eq!(refused("${cert.san.dns}", &[]), unusable(Variable::CertSanDns), "no value");
        assert_eq!(refused("${attr.site}", &[]), None);
        assert_eq!(refused("${attr.line}", &[]), unusable(Variable::Attribute("line".into())), "several values");
        assert_eq!(refused("${attr.none}", &[]), unusable(Variable::Attribute("none".into())));
    }

    /// Guards that nobody is let in without a name.
    #[test]
    fn names_are_not_empty() {
        let rule = Grant::allow(Actions::ALL, "#");
        assert_eq!(bind(rule.clone(), "", Values::default()).err(), Some(IdentityError::UserEmpty));
        assert_eq!(bind(rule, "u", Values::default()).err(), None);
        assert_eq!(SessionKey::new(testing::tenant("t"), "u", "").err(), Some(IdentityError::ClientIdEmpty));
    }
}
