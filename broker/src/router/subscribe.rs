//! Subscriptions begin and end.

use std::sync::Arc;

use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_types::ReasonCode;

use crate::session::{NotAdded, Session};
use crate::tree::{Target, TreeError};
use crate::{SubscribePermit, UnsubscribePermit};

/// Adds a subscription, or replaces that to the same filter (MQTT-3.8.4-3). Returns the code for the SUBACK: the QoS
/// granted, or why not. `options` are those of the SUBSCRIBE; of an MQTT 3 client only its QoS.
pub fn subscribe(permit: &SubscribePermit<'_>, session: &Arc<Session>, options: SubscribeOptions) -> ReasonCode {
    let filter = permit.filter();
    if filter.share_name.is_some() {
        return ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    }
    let tenant = permit.tenant();
    if session.key().tenant().id() != tenant.id() {
        return ReasonCode::NOT_AUTHORIZED;
    }
    let target = Target {
        session: session.clone(),
        qos: permit.qos(),
        no_local: options.no_local(),
        retain_as_published: options.retain_as_published(),
    };
    let mut tree = tenant.tree.write();
    let added = match tree.subscribe(filter.filter, target) {
        Ok((place, true)) => session.add_subscription(place, permit.subscriptions_max()).map_err(|why| (place, why)),
        Ok((_, false)) => Ok(()),
        Err(TreeError::TooManyLevels) => return ReasonCode::TOPIC_FILTER_INVALID,
        Err(TreeError::Full) => return ReasonCode::QUOTA_EXCEEDED,
    };
    if let Err((place, why)) = added {
        // Under the lock still: nobody saw it there.
        tree.unsubscribe(place, session);
        return match why {
            NotAdded::TooMany => ReasonCode::QUOTA_EXCEEDED,
            NotAdded::Closed => ReasonCode::UNSPECIFIED_ERROR,
        };
    }
    tenant.generations.bump(filter.filter);
    ReasonCode(permit.qos().bits())
}

/// Ends a subscription. Returns the code for the UNSUBACK: success, or that there was none (0x11).
pub fn unsubscribe(permit: &UnsubscribePermit<'_>, session: &Arc<Session>) -> ReasonCode {
    let filter = permit.filter();
    let tenant = permit.tenant();
    if filter.share_name.is_some() || session.key().tenant().id() != tenant.id() {
        return ReasonCode::NO_SUBSCRIPTION_EXISTED;
    }
    let mut tree = tenant.tree.write();
    let place = tree.find(filter.filter).filter(|place| session.remove_subscription(*place));
    let Some(place) = place else { return ReasonCode::NO_SUBSCRIPTION_EXISTED };
    tree.unsubscribe(place, session);
    tenant.generations.bump(filter.filter);
    ReasonCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch};

    use crate::TOPIC_LEVELS_MAX;
    use crate::identity::testing::{free, key, with};
    use crate::router::testing::{publish, subscribe, unsubscribe};
    use crate::session::testing::session_of;
    use crate::{Out, TopicCache};

    /// Guards MQTT-3.8.4-3 and 3.10.4: the same filter replaces, and what ended brings nothing more.
    #[test]
    fn replaced_and_ended() {
        let key = key("c");
        let (identity, session) = (free(&key), session_of(&key, 1));
        let mut out = Out::new(TopicCache::new(8, 8));
        assert_eq!((subscribe(&identity, &session, "a/+", 1), subscribe(&identity, &session, "a/+", 2)), (1, 2));
        assert_eq!((session.subscriptions(), publish(&identity, &session, "a/b", &mut out).delivered), (1, 1));
        for filter in ["a/b", "a", "a/#", "+/+", "$share/g/a/+"] {
            assert_eq!(unsubscribe(&identity, &session, filter), 0x11, "{filter}");
        }
        let other = session_of(&key, 2);
        assert_eq!(unsubscribe(&identity, &other, "a/+"), 0x11, "another's");
        assert_eq!((unsubscribe(&identity, &session, "a/+"), unsubscribe(&identity, &session, "a/+")), (0, 0x11));
        assert_eq!((session.subscriptions(), publish(&identity, &session, "a/b", &mut out).delivered), (0, 0));
        assert!(key.tenant().tree.read().is_empty());
    }

    /// Guards the bounds: subscriptions of a session, levels of a filter; and what is not offered is said.
    #[test]
    fn bounds_are_told() {
        let key = key("c");
        let limits = Limits { subscriptions_max: Some(2), ..Limits::default() };
        let rules = [Grant {
            constraints: Constraints { share_groups: vec!["*".into()], ..Constraints::default() },
            ..Grant::allow(Actions::ALL, "#")
        }];
        let identity = with(&key, &rules, NoMatch::Deny, &limits);
        let session = session_of(&key, 1);
        let deep = vec!["a"; TOPIC_LEVELS_MAX].join("/");
        assert_eq!(subscribe(&identity, &session, &format!("{deep}/a"), 0), 0x8F);
        assert_eq!(subscribe(&identity, &session, "$share/g/a", 0), 0x9E);
        assert_eq!((subscribe(&identity, &session, &deep, 0), subscribe(&identity, &session, "a", 0)), (0, 0));
        assert_eq!(subscribe(&identity, &session, "b", 0), 0x97);
        assert_eq!(subscribe(&identity, &session, "a", 1), 1, "replacing is not one more");
        assert_eq!(unsubscribe(&identity, &session, &deep), 0);
        assert_eq!(subscribe(&identity, &session, "b", 0), 0);
        assert_eq!(session.subscriptions(), 2);
    }
}
