//! Subscriptions begin and end.

use std::sync::Arc;

use gatemq_mqtt::kind;
use gatemq_mqtt::packet::subscribe::{RetainHandling, SubscribeOptions};
use gatemq_types::ReasonCode;

use super::Out;
use super::close::end_subscription;
use crate::changes::{Change, Changes};
use crate::remote::Interest;
use crate::retained::{Retained, Sent};
use crate::session::{Attached, NotAdded};
use crate::tenant::TenantLimit;
use crate::tree::{Subscription, Tree, TreeError};
use crate::{SubscribePermit, UnsubscribePermit};

/// What became of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribed {
    /// For the SUBACK: the QoS granted, or why not.
    pub code: ReasonCode,
    /// Retained messages that it brought: bytes already, or waiting.
    pub retained: u32,
    /// Retained messages that it did not bring because too many wait already.
    pub dropped: u32,
    /// The tenant's limit because of which it was refused.
    pub exceeded: Option<TenantLimit>,
    /// It was refused because the session has as many as it may.
    pub session_is_full: bool,
}

impl Subscribed {
    pub(super) fn failed(code: ReasonCode) -> Self {
        Subscribed { code, retained: 0, dropped: 0, exceeded: None, session_is_full: false }
    }
}

impl From<NotAdded> for Subscribed {
    fn from(why: NotAdded) -> Self {
        match why {
            NotAdded::TooMany => Subscribed { session_is_full: true, ..Subscribed::failed(ReasonCode::QUOTA_EXCEEDED) },
            NotAdded::Closed => Subscribed::failed(ReasonCode::UNSPECIFIED_ERROR),
            NotAdded::QuotaExceeded => {
                let exceeded = Some(TenantLimit::Subscriptions);
                Subscribed { exceeded, ..Subscribed::failed(ReasonCode::QUOTA_EXCEEDED) }
            }
        }
    }
}

/// As [`subscribe_with_identifier`], without one.
pub fn subscribe(
    permit: &SubscribePermit<'_>,
    session: &Attached,
    options: SubscribeOptions,
    now_ms: u64,
    out: &mut Out,
) -> Subscribed {
    subscribe_with_identifier(permit, session, options, 0, now_ms, out)
}

/// Adds a subscription, or replaces that to the same filter (MQTT-3.8.4-3), and sends the retained messages that it
/// brings, before anything that is published later. `options` are those of the SUBSCRIBE; of an MQTT 3 client only its
/// QoS. `identifier` is its Subscription Identifier, which every message has that it brings (MQTT-3.3.4-3); 0 is none.
///
/// All retained messages of the filter are taken at once; what exceeds 64 KiB of output waits in the session as one
/// pointer each. As many may wait as the tenant may have, so that one SUBSCRIBE to everything always fits. A shared
/// subscription brings none (4.8.2), but what waits in it.
pub fn subscribe_with_identifier(
    permit: &SubscribePermit<'_>,
    session: &Attached,
    options: SubscribeOptions,
    identifier: u32,
    now_ms: u64,
    out: &mut Out,
) -> Subscribed {
    let filter = permit.filter();
    let tenant = permit.tenant();
    if session.key().tenant().id() != tenant.id() {
        return Subscribed::failed(ReasonCode::NOT_AUTHORIZED);
    }
    let subscription = Subscription {
        session: session.session().clone(),
        qos: permit.qos(),
        no_local: options.no_local() && filter.share_name.is_none(),
        retain_as_published: options.retain_as_published(),
        identifier,
    };
    // What is retained later is published after this lock is gone, and then finds the subscription.
    let retained = tenant.retained.read();
    let sent = if retained.messages() == 0 || filter.share_name.is_some() {
        Vec::new()
    } else {
        retained_for(&retained, session, &subscription, permit, options, now_ms)
    };
    let mut tree = tenant.tree.write();
    let mut is_new = false;
    let added = match tree.subscribe(filter.text, subscription) {
        Ok((place, true)) => {
            is_new = true;
            session.add_subscription(place, permit.subscriptions_max()).map_err(|why| (place, why))
        }
        Ok((_, false)) => Ok(()),
        Err(TreeError::TooManyLevels) => return Subscribed::failed(ReasonCode::TOPIC_FILTER_INVALID),
        Err(TreeError::Full) => return Subscribed::failed(ReasonCode::QUOTA_EXCEEDED),
    };
    if let Err((place, why)) = added {
        // Under the lock still: nobody saw it there.
        tree.unsubscribe(place, session.session());
        return why.into();
    }
    tenant.generations.bump(filter.text);
    note(permit, session, (options, identifier), is_new, &tree, &mut out.spare.changes);
    let mut subscribed = Subscribed::failed(ReasonCode(permit.qos().bits()));
    if !sent.is_empty() {
        // Under the lock too: nothing that is published to the new subscription goes out before.
        let (count, retained_max) = (sent.len(), tenant.limits().retained.messages_max as usize);
        let dropped = session.deliver_retained(sent, identifier, retained_max, now_ms, &mut out.spare);
        (subscribed.retained, subscribed.dropped) = ((count - dropped) as u32, dropped as u32);
        out.dropped += dropped as u64;
        out.delivered += u64::from(subscribed.retained);
    }
    drop(tree);
    if filter.share_name.is_some() {
        session.feed(now_ms, &mut out.spare);
    }
    subscribed
}

/// Tells the store, and other nodes, of a subscription. Under the tree's lock.
fn note(
    permit: &SubscribePermit<'_>,
    session: &Attached,
    (options, identifier): (SubscribeOptions, u32),
    is_new: bool,
    tree: &Tree,
    changes: &mut Changes,
) {
    let (filter, tenant) = (permit.filter(), permit.tenant());
    if is_new {
        let (filter, durable) = (filter.text, session.number() != 0);
        changes.interest(|| Interest { tenant: tenant.clone(), filter: filter.to_owned(), added: true, durable });
    }
    if session.number() != 0 {
        if let Some(group) = filter.share_name.and_then(|_| tree.group_at(tree.find(filter.text)?)) {
            group.store(tenant.name(), filter.text, changes);
        }
        let (session, filter) = (session.number(), filter.text.to_owned());
        let options = options.bits() & !0b11 | permit.qos().bits();
        changes.rely_on(|| Change::Subscribed { session, filter, options, identifier });
    }
}

/// What a subscription brings at once (MQTT-3.3.1-9 to -11), with RETAIN set (MQTT-3.3.1-8).
#[cold]
fn retained_for(
    retained: &Retained,
    session: &Attached,
    subscription: &Subscription,
    permit: &SubscribePermit<'_>,
    options: SubscribeOptions,
    now_ms: u64,
) -> Vec<Sent> {
    let filter = permit.filter().filter;
    let exists = || permit.tenant().tree.read().find(filter).is_some_and(|place| session.has_subscription(place));
    let wanted = match options.retain_handling() {
        RetainHandling::Always => true,
        RetainHandling::IfNew => !exists(),
        RetainHandling::Never => false,
    };
    let mut sent = Vec::new();
    if wanted {
        retained.matching(filter, now_ms, |kept| {
            // No Local is about client identifiers, whichever connection it was (MQTT-3.8.3-3).
            if !subscription.no_local || !kept.is_from(session.key()) {
                let qos = kept.qos.min(subscription.qos);
                sent.push((kind::PUBLISH << 4 | qos.bits() << 1 | 1, Arc::downgrade(&kept.message)));
            }
        });
    }
    sent
}

/// Ends a subscription. Returns the code for the UNSUBACK: success, or that there was none (0x11).
pub fn unsubscribe(permit: &UnsubscribePermit<'_>, session: &Attached, changes: &mut Changes) -> ReasonCode {
    let filter = permit.filter();
    let tenant = permit.tenant();
    if session.key().tenant().id() != tenant.id() {
        return ReasonCode::NO_SUBSCRIPTION_EXISTED;
    }
    let mut tree = tenant.tree.write();
    let place = tree.find(filter.text).filter(|place| session.remove_subscription(*place));
    let Some(place) = place else { return ReasonCode::NO_SUBSCRIPTION_EXISTED };
    end_subscription(&mut tree, place, session.session(), changes);
    tenant.generations.bump(filter.text);
    if session.number() != 0 {
        let (session, filter) = (session.number(), filter.text.to_owned());
        changes.rely_on(|| Change::Unsubscribed { session, filter });
    }
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
        assert_eq!((subscribe(&identity, &session, &deep, 0), subscribe(&identity, &session, "a", 0)), (0, 0));
        assert_eq!(subscribe(&identity, &session, "b", 0), 0x97);
        assert_eq!(subscribe(&identity, &session, "a", 1), 1, "replacing is not one more");
        assert_eq!(unsubscribe(&identity, &session, &deep), 0);
        assert_eq!(subscribe(&identity, &session, "b", 0), 0);
        assert_eq!(session.subscriptions(), 2);
    }
}
