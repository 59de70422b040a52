//! What the users file says, checked: users, their groups' rules, and who a client without user name is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_api::Expiry;
use gatemq_plugin_api::config::glob;
use gatemq_plugin_api::prelude::*;

use crate::password::Hash;

/// Everybody.
#[derive(PartialEq, Debug, Default)]
pub(crate) struct Users {
    /// By name.
    pub(crate) named: BTreeMap<String, User>,
    /// Clients without user name.
    pub(crate) anonymous: Option<Anonymous>,
    /// How many groups there are.
    pub(crate) groups: usize,
}

/// A user.
#[derive(PartialEq, Debug)]
pub(crate) struct User {
    pub(crate) tenant: String,
    pub(crate) hash: Hash,
    pub(crate) client_ids: ClientIds,
    /// The user's own rules.
    pub(crate) grants: Vec<Grant>,
    /// The rules of each of its groups, walked after its own.
    pub(crate) groups: Vec<Arc<[Grant]>>,
    pub(crate) disabled: bool,
}

/// Who a client without user name is.
#[derive(PartialEq, Debug)]
pub(crate) struct Anonymous {
    pub(crate) tenant: String,
    pub(crate) user: String,
    pub(crate) grants: Vec<Grant>,
}

/// Client identifiers that a user may have; `*` in them stands for any text.
#[derive(PartialEq, Debug)]
pub(crate) enum ClientIds {
    /// Whichever.
    Any,
    /// Only these.
    Only(Vec<String>),
}

/// The identifier that a client wants.
pub(crate) struct Wanted<'a> {
    pub(crate) client_id: &'a str,
    /// It asked for none and was given this one.
    pub(crate) assigned: bool,
}

impl ClientIds {
    /// `Ok(Some)`: it is to have this one instead. `Err`: it may not have the one that it wants.
    fn check(&self, wanted: &Wanted<'_>) -> Result<Option<String>, ()> {
        let ClientIds::Only(patterns) = self else { return Ok(None) };
        match patterns.as_slice() {
            [fixed] if wanted.assigned && !fixed.contains('*') => Ok(Some(fixed.clone())),
            _ if patterns.iter().any(|pattern| glob(pattern, wanted.client_id)) => Ok(None),
            _ => Err(()),
        }
    }
}

impl User {
    /// What somebody gets who has shown to be `name`.
    pub(crate) fn admit(&self, name: &str, wanted: &Wanted<'_>) -> AuthOutcome {
        if self.disabled {
            return AuthOutcome::reject("this user is disabled");
        }
        let Ok(client_id) = self.client_ids.check(wanted) else {
            return AuthOutcome::Reject {
                code: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                reason: "this user may not have this client identifier".into(),
                reason_string: None,
                delay: Duration::ZERO,
            };
        };
        let grants: Vec<Grant> = self.grants.iter().chain(self.groups.iter().flat_map(|g| g.iter())).cloned().collect();
        let identity = Identity { client_id, ..Identity::new(&self.tenant, name).with_grants(grants) };
        AuthOutcome::accept(to_be_renewed(identity))
    }
}

impl Anonymous {
    /// What a client without user name gets.
    pub(crate) fn admit(&self) -> AuthOutcome {
        let identity = Identity::new(&self.tenant, &self.user).with_grants(self.grants.clone());
        AuthOutcome::accept(to_be_renewed(identity))
    }
}

/// Whose grants are asked for again when the file changes.
fn to_be_renewed(identity: Identity) -> Identity {
    Identity { on_expiry: Expiry::Refresh, ..identity }
}

impl Users {
    /// What a live session gets when it is asked for again, without password. The client identifier stays.
    pub(crate) fn renew(&self, tenant: &str, user: &str, client_id: &str) -> AuthOutcome {
        // A user of another tenant may have the anonymous user's name.
        let named = self.named.get(user).filter(|named| named.tenant == tenant);
        let outcome = match (named, &self.anonymous) {
            (Some(named), _) => named.admit(user, &Wanted { client_id, assigned: false }),
            (None, Some(a)) if a.tenant == tenant && a.user == user => a.admit(),
            _ => AuthOutcome::reject("there is no such user any more"),
        };
        match outcome {
            AuthOutcome::Accept(mut identity) => {
                identity.client_id = Some(client_id.to_owned());
                AuthOutcome::Accept(identity)
            }
            refused => refused,
        }
    }

    /// Tenant and name of everybody who is another now, or nobody any more.
    pub(crate) fn changed(&self, now: &Users) -> Vec<(String, String)> {
        let named = self.named.iter().filter(|(name, user)| now.named.get(*name) != Some(*user));
        let anonymous = self.anonymous.iter().filter(|a| now.anonymous.as_ref() != Some(*a));
        let named = named.map(|(name, user)| (user.tenant.clone(), name.clone()));
        named.chain(anonymous.map(|a| (a.tenant.clone(), a.user.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a client identifier is the user's: patterns match whole texts, a fixed one is given to who has none.
    #[test]
    fn client_ids_are_the_users_own() {
        let only = |patterns: &[&str]| ClientIds::Only(patterns.iter().map(|p| (*p).to_owned()).collect());
        let given = |ids: &ClientIds, client_id: &str, assigned| ids.check(&Wanted { client_id, assigned });
        assert_eq!(given(&ClientIds::Any, "x", false), Ok(None));
        let fixed = only(&["pump"]);
        assert_eq!(given(&fixed, "pump", false), Ok(None));
        assert_eq!(given(&fixed, "pump2", false), Err(()));
        assert_eq!(given(&fixed, "assigned-1", true), Ok(Some("pump".into())));
        let patterns = only(&["a-*", "*-z", "b*c*d"]);
        for (client_id, yes) in [
            ("a-", true),
            ("a-1", true),
            ("xa-1", false),
            ("1-z", true),
            ("b-c-d", true),
            ("b-d-c", false),
            ("", false),
        ] {
            assert_eq!(given(&patterns, client_id, false).is_ok(), yes, "{client_id}");
        }
        assert_eq!(given(&patterns, "assigned-1", true), Err(()));
    }
    /// Guards `refresh`: who is still there keeps tenant, user and client identifier and gets the rules of now; who is gone,
    /// disabled, of another tenant, or may not have that identifier any more, gets an end.
    #[test]
    fn grants_are_renewed_without_the_password() {
        let user = |disabled, client_ids| User {
            tenant: "t".into(),
            hash: Hash::of_nobody(),
            client_ids,
            grants: vec![Grant::allow(Actions::ALL, "a")],
            groups: Vec::new(),
            disabled,
        };
        let only = |id: &str| ClientIds::Only(vec![id.to_owned()]);
        let named =
            [("u", user(false, only("c"))), ("off", user(true, ClientIds::Any)), ("guest", user(false, only("c")))];
        let users = Users {
            named: named.into_iter().map(|(name, user)| (name.to_owned(), user)).collect(),
            anonymous: Some(Anonymous { tenant: "public".into(), user: "guest".into(), grants: Vec::new() }),
            groups: 0,
        };
        for (tenant, user, client_id, rules) in [
            ("t", "u", "c", Some(1)),
            ("t", "guest", "c", Some(1)),
            ("public", "guest", "any", Some(0)),
            ("t", "u", "d", None),
            ("t", "off", "c", None),
            ("t", "gone", "c", None),
            ("other", "u", "c", None),
        ] {
            match (users.renew(tenant, user, client_id), rules) {
                (AuthOutcome::Accept(identity), Some(rules)) => {
                    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), (tenant, user));
                    assert_eq!((identity.client_id.as_deref(), identity.grants.len()), (Some(client_id), rules));
                }
                (AuthOutcome::Reject { .. }, None) => {}
                (outcome, _) => panic!("{tenant}/{user}/{client_id}: {outcome:?}"),
            }
        }
    }
}
