//! Who a client is, as an auth provider says it.

use crate::{Grant, Limits, UserProperty};

/// What happens to an action that no grant matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u32)]
pub enum NoMatch {
    /// It is denied.
    #[default]
    Deny = 1,
    /// The provider is asked.
    Ask = 2,
}

/// What happens when an identity's time is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u32)]
pub enum Expiry {
    /// The client is disconnected.
    #[default]
    Disconnect = 1,
    /// The provider is asked for new grants (`refresh`), up to ten seconds before. What it does not have by then is disconnected.
    /// Also without an end of its time (`valid_until_ms` is 0) this says that the identity can be asked for again when it is
    /// revoked; the broker then keeps for each such client what `refresh` is shown.
    Refresh = 2,
}

/// Whether one identity may have several live connections. Where it may not, the newest stays: a device that lost its network comes
/// back at once, and is not kept out by what is left of its old connection. The older one is disconnected as taken over (0x8E), its
/// session stays, and the event IdentityTakenOver says by whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Exclusive {
    /// It may.
    #[default]
    No,
    /// One connection of its tenant and user.
    User,
    /// One connection of its tenant and client certificate (SHA-256 of the leaf), whatever its user. A client that has not proven
    /// one is refused.
    Certificate,
}

/// Who a client is and what it may do. Returned with [`crate::AuthOutcome::Accept`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Tenant: topics, client ids and retained messages of two tenants never meet. Must not be empty.
    pub tenant: String,
    /// User. Must not be empty.
    pub user: String,
    /// Values for `${attr.NAME}` in grants, and for the provider's own `authorize`.
    pub attributes: Vec<(String, String)>,
    /// Replaces the client's identifier (5.0: announced as Assigned Client Identifier).
    pub client_id: Option<String>,
    /// Rules, walked in order.
    pub grants: Vec<Grant>,
    /// What no grant matches.
    pub no_match: NoMatch,
    /// Until when it holds, in milliseconds since 1970; 0 is for ever.
    pub valid_until_ms: u64,
    /// What happens then.
    pub on_expiry: Expiry,
    /// Limits of this client; what is absent is the listener's or the broker's.
    pub limits: Limits,
    /// Whether other clients may be connected with it at the same time. It begins with a CONNECT: an answer to `refresh`, or to a
    /// re-authentication, may end it and not begin it.
    pub exclusive: Exclusive,
    /// Keys that connections are selected by, to revoke or disconnect them.
    pub tags: Vec<String>,
    /// User properties for the CONNACK (5.0).
    pub connack_properties: Vec<UserProperty>,
    /// Response Information for the CONNACK of a client that asks for it (5.0, 3.2.2.3.15): commonly the beginning of the
    /// topics that it may await responses on. Its grants are to allow them.
    pub response_info: Option<String>,
    /// Authentication Data that goes with the admission where the client's CONNECT has an Authentication Method (5.0): in
    /// the CONNACK, or in the AUTH that ends a re-authentication. Empty is none.
    pub auth_data: Vec<u8>,
}

impl Identity {
    /// An identity without grants: everything is denied to it.
    pub fn new(tenant: impl Into<String>, user: impl Into<String>) -> Self {
        Identity { tenant: tenant.into(), user: user.into(), ..Identity::default() }
    }

    /// With these rules.
    pub fn with_grants(mut self, grants: impl Into<Vec<Grant>>) -> Self {
        self.grants = grants.into();
        self
    }
}
