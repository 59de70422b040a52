//! Why a client may do something, or may not: the same walk as the decision itself, with its reasons. For operators; nothing
//! here is on the way of a packet.

use gatemq_mqtt::topic::{Filter, has_wildcard};
use gatemq_types::{ActionKind, Effect, Grant, QoS};

use super::Identity;
use crate::grants::Message;
use crate::permit::PublishAction;

/// What decides on an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Because {
    /// The rule at this place of its list, from 0.
    Grant(usize, Grant),
    /// No rule matches: what the identity says of that.
    NoMatch,
    /// A limit of the identity, by its name.
    Limit(&'static str),
    /// A topic that begins with `$`, which clients never publish to.
    NodesTopic,
    /// UNSUBSCRIBE, of which no rule speaks.
    Free,
}

/// What is decided on an action, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What is decided; `Ask` is left to the provider.
    pub effect: Effect,
    /// Highest QoS, of a subscription that is allowed.
    pub qos: QoS,
    /// Why.
    pub because: Because,
}

impl Identity {
    /// Why it may publish this, or may not.
    pub fn explain_publish(&self, action: PublishAction<'_>) -> Explanation {
        let PublishAction { topic, qos, retain, payload_bytes } = action;
        let denied = |because| Explanation { effect: Effect::Deny, qos, because };
        match () {
            () if qos > self.allowed.qos_max => return denied(Because::Limit("qos_max")),
            () if retain && !self.allowed.retain => return denied(Because::Limit("retain_allowed")),
            () if topic.starts_with('$') => return denied(Because::NodesTopic),
            () => {}
        }
        let message = Message { topic, qos, retain, payload_bytes };
        let rule = self.grants.message(ActionKind::Publish, message, &self.values).rule;
        let because = rule.map_or(Because::NoMatch, |rule| self.grant(rule));
        Explanation { effect: self.effect_of(&because), qos, because }
    }

    /// Why it may subscribe to this, or may not.
    pub fn explain_subscribe(&self, filter: Filter<'_>, qos: QoS) -> Explanation {
        let denied = |limit| Explanation { effect: Effect::Deny, qos, because: Because::Limit(limit) };
        if filter.share_name.is_some() && !self.allowed.shared {
            return denied("shared_subscriptions_allowed");
        }
        if !self.allowed.wildcards && has_wildcard(filter.filter) {
            return denied("wildcard_subscriptions_allowed");
        }
        let kind = ActionKind::Subscribe;
        let found = self.grants.filter_rule(kind, filter.filter, filter.share_name, &self.values);
        let because = found.map_or(Because::NoMatch, |rule| self.grant(rule));
        let qos_max = match &because {
            Because::Grant(_, grant) => grant.constraints.qos_max,
            _ => QoS::ExactlyOnce,
        };
        Explanation { effect: self.effect_of(&because), qos: qos.min(qos_max).min(self.allowed.qos_max), because }
    }

    /// Why it may unsubscribe from this, or may not.
    pub fn explain_unsubscribe(&self, filter: Filter<'_>) -> Explanation {
        let kind = ActionKind::Unsubscribe;
        let found = self.grants.filter_rule(kind, filter.filter, filter.share_name, &self.values);
        let because = found.map_or(Because::Free, |rule| self.grant(rule));
        Explanation { effect: self.effect_of(&because), qos: QoS::AtMostOnce, because }
    }

    fn grant(&self, rule: usize) -> Because {
        self.grants.source().get(rule).map_or(Because::NoMatch, |grant| Because::Grant(rule, grant.clone()))
    }

    fn effect_of(&self, because: &Because) -> Effect {
        match because {
            Because::Grant(_, grant) => grant.effect,
            Because::NoMatch => self.unmatched(),
            Because::Free => Effect::Allow,
            Because::Limit(_) | Because::NodesTopic => Effect::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Limits, NoMatch};

    use super::*;
    use crate::identity::testing::{key, with};
    use crate::permit::{Decision, SubscribeAction};
    use crate::verdicts::Verdicts;

    /// Guards that an explanation never says anything else than the decision: both are asked about every combination.
    #[test]
    fn an_explanation_says_what_is_decided() {
        let capped = Constraints { qos_max: QoS::AtLeastOnce, retain: Some(false), ..Constraints::default() };
        let rules = [
            Grant::deny(Actions::ALL, "a/secret/#"),
            Grant { constraints: capped, ..Grant::allow(Actions::ALL, "a/#") },
            Grant::ask(Actions::SUBSCRIBE | Actions::PUBLISH, "b/${client_id}"),
            Grant::allow(Actions::ALL, "$SYS/x"),
        ];
        let limits = Limits { wildcard_subscriptions_allowed: Some(0), qos_max: Some(1), ..Limits::default() };
        for (no_match, limits) in [(NoMatch::Deny, Limits::default()), (NoMatch::Ask, limits)] {
            let identity = with(&key("c"), &rules, no_match, &limits);
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
            for topic in ["a/b", "a/secret", "b/c", "b/d", "$SYS/x", "c", "a/+", "#", "$share/g/a/b"] {
                for (qos, retain) in qos.into_iter().flat_map(|qos| [(qos, false), (qos, true)]) {
                    let action = PublishAction { topic, qos, retain, payload_bytes: 7 };
                    let effect = match identity.may_publish(&mut Verdicts::new(1), action, 0) {
                        Decision::Permit(_) => Effect::Allow,
                        Decision::Denied(_) => Effect::Deny,
                        Decision::Ask(_) => Effect::Ask,
                    };
                    let explained = identity.explain_publish(action);
                    assert_eq!(explained.effect, effect, "publish {topic} {qos:?} {retain}: {explained:?}");
                }
                let filter = Filter::trusted(topic);
                let action = SubscribeAction { filter, qos: QoS::ExactlyOnce };
                let explained = identity.explain_subscribe(filter, QoS::ExactlyOnce);
                match identity.may_subscribe(action) {
                    Decision::Permit(p) => assert_eq!((explained.effect, explained.qos), (Effect::Allow, p.qos())),
                    Decision::Denied(_) => assert_eq!(explained.effect, Effect::Deny, "subscribe {topic}"),
                    Decision::Ask(_) => assert_eq!(explained.effect, Effect::Ask, "subscribe {topic}"),
                }
                let effect = match identity.may_unsubscribe(filter) {
                    Decision::Permit(_) => Effect::Allow,
                    Decision::Denied(_) => Effect::Deny,
                    Decision::Ask(_) => Effect::Ask,
                };
                assert_eq!(identity.explain_unsubscribe(filter).effect, effect, "unsubscribe {topic}");
            }
        }
    }

    /// Guards that the rule is named that decided, and the limit that ruled out.
    #[test]
    fn the_rule_or_limit_is_named() {
        let rules = [Grant::deny(Actions::PUBLISH, "a/secret"), Grant::allow(Actions::PUBLISH, "a/#")];
        let limits = Limits { qos_max: Some(0), ..Limits::default() };
        let identity = with(&key("c"), &rules, NoMatch::Deny, &limits);
        let because = |topic, qos| {
            let action = PublishAction { topic, qos, retain: false, payload_bytes: 0 };
            identity.explain_publish(action).because
        };
        assert_eq!(because("a/x", QoS::AtMostOnce), Because::Grant(1, rules[1].clone()));
        assert_eq!(because("a/secret", QoS::AtMostOnce), Because::Grant(0, rules[0].clone()));
        assert_eq!(because("b", QoS::AtMostOnce), Because::NoMatch);
        assert_eq!(because("a/x", QoS::AtLeastOnce), Because::Limit("qos_max"));
        assert_eq!(because("$SYS", QoS::AtMostOnce), Because::NodesTopic);
    }
}
