//! Identities and grants.

use abi_stable::std_types::{RString, RVec};
use gatemq_types::{Actions, Constraints, Effect, Exclusive, Expiry, Grant, Identity, Limits, NoMatch, QoS};

use super::super::v1_0::{Attribute, GrantRecord, IdentityRecord, LimitRecord};
use super::{UnknownCode, pairs_from, pairs_to, text_from, text_to};

/// Extension of an exclusive identity: of what one connection may be live, [`BY_CERTIFICATE`]. Without it, of its user.
const EXCLUSIVE_BY: u32 = 1;
const BY_CERTIFICATE: u64 = 1;

fn exclusive_to(exclusive: Exclusive) -> (bool, RVec<Attribute>) {
    let by_certificate = Attribute { key: EXCLUSIVE_BY, number: BY_CERTIFICATE, text: RString::new() };
    match exclusive {
        Exclusive::No => (false, RVec::new()),
        Exclusive::User => (true, RVec::new()),
        Exclusive::Certificate => (true, vec![by_certificate].into()),
    }
}

fn exclusive_from(i: &IdentityRecord) -> Result<Exclusive, UnknownCode> {
    match (i.exclusive, i.extensions.as_slice()) {
        (false, []) => Ok(Exclusive::No),
        (true, []) => Ok(Exclusive::User),
        (true, [Attribute { key: EXCLUSIVE_BY, number: BY_CERTIFICATE, .. }]) => Ok(Exclusive::Certificate),
        (_, [.., last]) => Err(UnknownCode { what: "extension of an identity", number: last.key }),
    }
}

fn grant_to(g: &Grant) -> GrantRecord {
    GrantRecord {
        effect: g.effect as u32,
        actions: g.actions.0,
        filter: g.filter.as_str().into(),
        qos_max: g.constraints.qos_max.bits(),
        retain: match g.constraints.retain {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        },
        payload_bytes_max: g.constraints.payload_bytes_max,
        share_groups: g.constraints.share_groups.iter().map(|s| RString::from(s.as_str())).collect(),
        attributes: RVec::new(),
    }
}

fn grant_from(g: &GrantRecord) -> Result<Grant, UnknownCode> {
    Ok(Grant {
        effect: match g.effect {
            1 => Effect::Allow,
            2 => Effect::Deny,
            3 => Effect::Ask,
            n => return Err(UnknownCode { what: "effect of a grant", number: n }),
        },
        actions: Actions(g.actions),
        filter: g.filter.to_string(),
        constraints: Constraints {
            qos_max: QoS::from_bits(g.qos_max)
                .ok_or(UnknownCode { what: "highest QoS of a grant", number: g.qos_max.into() })?,
            retain: match g.retain {
                0 => None,
                1 => Some(false),
                2 => Some(true),
                n => return Err(UnknownCode { what: "retain constraint of a grant", number: n.into() }),
            },
            payload_bytes_max: g.payload_bytes_max,
            share_groups: g.share_groups.iter().map(|s| s.to_string()).collect(),
        },
    })
}

/// For the other side; Authentication Data goes with the outcome, and no further.
pub fn identity_to(i: &Identity) -> IdentityRecord {
    let (exclusive, extensions) = exclusive_to(i.exclusive);
    IdentityRecord {
        tenant: i.tenant.as_str().into(),
        user: i.user.as_str().into(),
        attributes: pairs_to(&i.attributes),
        client_id: text_to(&i.client_id),
        grants: i.grants.iter().map(grant_to).collect(),
        no_match: i.no_match as u32,
        valid_until_ms: i.valid_until_ms,
        on_expiry: i.on_expiry as u32,
        limits: i.limits.entries().map(|(number, value)| LimitRecord { number, value }).collect(),
        exclusive,
        tags: i.tags.iter().map(|s| RString::from(s.as_str())).collect(),
        connack_properties: pairs_to(&i.connack_properties),
        response_info: text_to(&i.response_info),
        extensions,
    }
}

/// From the other side.
///
/// # Errors
/// A code without a meaning: what it would have restricted is not known, so the identity cannot be used.
pub fn identity_from(i: &IdentityRecord) -> Result<Identity, UnknownCode> {
    let mut limits = Limits::default();
    for l in &i.limits {
        if !limits.set(l.number, l.value) {
            return Err(UnknownCode { what: "limit", number: l.number });
        }
    }
    if let Some(e) = i.grants.iter().find_map(|g| g.attributes.first()) {
        return Err(UnknownCode { what: "extension of a grant", number: e.key });
    }
    Ok(Identity {
        tenant: i.tenant.to_string(),
        user: i.user.to_string(),
        attributes: pairs_from(&i.attributes),
        client_id: text_from(&i.client_id),
        grants: i.grants.iter().map(grant_from).collect::<Result<_, _>>()?,
        no_match: match i.no_match {
            1 => NoMatch::Deny,
            2 => NoMatch::Ask,
            n => return Err(UnknownCode { what: "what happens without a match", number: n }),
        },
        valid_until_ms: i.valid_until_ms,
        on_expiry: match i.on_expiry {
            1 => Expiry::Disconnect,
            2 => Expiry::Refresh,
            n => return Err(UnknownCode { what: "what happens at expiry", number: n }),
        },
        limits,
        exclusive: exclusive_from(i)?,
        tags: i.tags.iter().map(|s| s.to_string()).collect(),
        connack_properties: pairs_from(&i.connack_properties),
        response_info: text_from(&i.response_info),
        auth_data: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let mut grant = Grant::ask(Actions::PUBLISH | Actions::WILL, "a/${client_id}/#");
        grant.constraints.qos_max = QoS::AtLeastOnce;
        grant.constraints.retain = Some(false);
        grant.constraints.share_groups = vec!["g".into()];
        Identity {
            attributes: vec![("k".into(), "v".into())],
            client_id: Some("c".into()),
            no_match: NoMatch::Ask,
            on_expiry: Expiry::Refresh,
            limits: Limits { receive_max: Some(3), ..Limits::default() },
            exclusive: Exclusive::Certificate,
            tags: vec!["t".into()],
            connack_properties: vec![("p".into(), "q".into())],
            response_info: Some("r/".into()),
            valid_until_ms: 9,
            ..Identity::new("tenant", "user").with_grants([grant])
        }
    }

    /// Guards that nothing of an identity is lost on its way over the border.
    #[test]
    fn identity_round_trip() {
        for exclusive in [Exclusive::No, Exclusive::User, Exclusive::Certificate] {
            let identity = Identity { exclusive, ..identity() };
            assert_eq!(identity_from(&identity_to(&identity)), Ok(identity));
        }
    }

    /// Promise 1: a number without a meaning never grants.
    #[test]
    fn promise_1_unknown_numbers_make_an_identity_unusable() {
        let broken: [fn(&mut IdentityRecord); 10] = [
            |i| i.grants[0].effect = 9,
            |i| i.grants[0].qos_max = 3,
            |i| i.grants[0].retain = 3,
            |i| i.no_match = 0,
            |i| i.on_expiry = 0,
            |i| i.limits[0].number = 4_000_000,
            |i| i.extensions.push(Attribute { key: 2, number: 1, text: RString::new() }),
            |i| i.extensions = vec![Attribute { key: EXCLUSIVE_BY, number: 2, text: RString::new() }].into(),
            |i| i.extensions = vec![Attribute { key: 2, number: BY_CERTIFICATE, text: RString::new() }].into(),
            |i| i.exclusive = false,
        ];
        for (n, break_it) in broken.iter().enumerate() {
            let mut record = identity_to(&identity());
            break_it(&mut record);
            assert!(identity_from(&record).is_err(), "case {n}");
        }
    }
}
