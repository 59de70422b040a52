//! Whose session it is: tenant, user and client identifier.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::IdentityError;
use crate::Tenant;

/// The name of a session. Another user with the same client identifier has another session.
pub struct SessionKey {
    tenant: Arc<Tenant>,
    user: Box<str>,
    client_id: Box<str>,
}

impl SessionKey {
    /// # Errors
    /// User or client identifier is empty.
    pub fn new(tenant: Arc<Tenant>, user: &str, client_id: &str) -> Result<Self, IdentityError> {
        if user.is_empty() {
            return Err(IdentityError::UserEmpty);
        }
        if client_id.is_empty() {
            return Err(IdentityError::ClientIdEmpty);
        }
        Ok(SessionKey { tenant, user: user.into(), client_id: client_id.into() })
    }

    /// Tenant.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// User.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Client identifier in force.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.tenant.id() == other.tenant.id() && self.user == other.user && self.client_id == other.client_id
    }
}

impl Eq for SessionKey {}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.tenant.id(), &self.user, &self.client_id).hash(state);
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:?}", self.tenant.name(), self.user, self.client_id)
    }
}
