//! Whether a client may subscribe and unsubscribe.

use std::hash::BuildHasher;

use gatemq_mqtt::topic::{Filter, has_wildcard};
use gatemq_types::{ActionKind, Effect, QoS, ReasonCode, Verdict};

use super::Identity;
use super::publish::failure;
use crate::permit::{
    Decision, Question, SubscribeAction, SubscribeDecision, SubscribePermit, UnsubscribeDecision, UnsubscribePermit,
};

impl Identity {
    /// Decides on a subscription; nothing is remembered.
    pub fn may_subscribe<'a>(&'a self, action: SubscribeAction<'a>) -> SubscribeDecision<'a> {
        let SubscribeAction { filter, qos } = action;
        if filter.share_name.is_some() && !self.allowed.shared {
            return Decision::Denied(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if !self.allowed.wildcards && has_wildcard(filter.filter) {
            return Decision::Denied(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        let question = self.question(action.filter, Some(qos));
        let found = self.grants.filter(ActionKind::Subscribe, filter.filter, filter.share_name, &self.values);
        match found.unwrap_or((self.unmatched(), QoS::AtMostOnce)) {
            (Effect::Allow, qos_max) => self.subscribe_permit(filter, qos.min(qos_max)),
            (Effect::Deny, _) => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            (Effect::Ask, _) => Decision::Ask(question),
        }
    }

    /// What stands for a question as it would be asked now.
    fn question(&self, filter: Filter<'_>, qos: Option<QoS>) -> Question {
        let about = self.hasher.hash_one((filter.text, qos));
        Question { generation: self.generation(), about, cacheable: false }
    }

    /// Uses a provider's answer to a question of [`Self::may_subscribe`] about the same action.
    pub fn answer_subscribe<'a>(
        &'a self,
        action: SubscribeAction<'a>,
        question: Question,
        verdict: &Verdict,
    ) -> SubscribeDecision<'a> {
        if question != self.question(action.filter, Some(action.qos)) {
            return self.may_subscribe(action);
        }
        match verdict {
            Verdict::Allow { qos_max, .. } => self.subscribe_permit(action.filter, action.qos.min(*qos_max)),
            Verdict::Deny { code, .. } => Decision::Denied(failure(*code)),
            Verdict::Next => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            Verdict::Pending => Decision::Ask(question),
        }
    }

    fn subscribe_permit<'a>(&'a self, filter: Filter<'a>, qos: QoS) -> SubscribeDecision<'a> {
        let qos = qos.min(self.allowed.qos_max);
        Decision::Permit(SubscribePermit::new(self.tenant(), filter, qos, self.allowed.subscriptions_max))
    }

    /// Decides on the end of a subscription: allowed unless a rule speaks of it.
    pub fn may_unsubscribe<'a>(&'a self, filter: Filter<'a>) -> UnsubscribeDecision<'a> {
        let question = self.question(filter, None);
        match self.grants.filter(ActionKind::Unsubscribe, filter.filter, filter.share_name, &self.values) {
            None | Some((Effect::Allow, _)) => Decision::Permit(UnsubscribePermit::new(self.tenant(), filter)),
            Some((Effect::Deny, _)) => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            Some((Effect::Ask, _)) => Decision::Ask(question),
        }
    }

    /// Uses a provider's answer to a question of [`Self::may_unsubscribe`] about the same filter.
    pub fn answer_unsubscribe<'a>(
        &'a self,
        filter: Filter<'a>,
        question: Question,
        verdict: &Verdict,
    ) -> UnsubscribeDecision<'a> {
        if question != self.question(filter, None) {
            return self.may_unsubscribe(filter);
        }
        match verdict {
            Verdict::Allow { .. } => Decision::Permit(UnsubscribePermit::new(self.tenant(), filter)),
            Verdict::Deny { code, .. } => Decision::Denied(failure(*code)),
            Verdict::Next => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            Verdict::Pending => Decision::Ask(question),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch};

    use super::*;
    use crate::identity::testing::{identity, key, with};

    fn action(filter: &str) -> SubscribeAction<'_> {
        SubscribeAction { filter: Filter::trusted(filter), qos: QoS::ExactlyOnce }
    }

    /// QoS granted, or the code; `None` is a question.
    fn code(decision: SubscribeDecision<'_>) -> Option<u8> {
        match decision {
            Decision::Permit(permit) => Some(permit.qos().bits()),
            Decision::Denied(code) => Some(code.0),
            Decision::Ask(_) => None,
        }
    }

    /// Guards section 5's walk of a SUBSCRIBE: covering Allow, overlapping Deny and Ask, in order, QoS capped.
    #[test]
    fn a_subscribe_walks_the_rules() {
        let capped = Constraints { qos_max: QoS::AtLeastOnce, ..Constraints::default() };
        let rules = [
            Grant { constraints: capped, ..Grant::allow(Actions::SUBSCRIBE, "a/open/#") },
            Grant::deny(Actions::SUBSCRIBE, "a/secret/#"),
            Grant::ask(Actions::SUBSCRIBE, "a/ask"),
            Grant::allow(Actions::SUBSCRIBE, "a/#"),
            Grant::allow(Actions::PUBLISH, "b"),
        ];
        let identity = identity(&rules);
        let decide = |filter| code(identity.may_subscribe(action(filter)));
        assert_eq!((decide("a/open/x"), decide("a/open/+")), (Some(1), Some(1)));
        assert_eq!((decide("a/x"), decide("a/x/#")), (Some(2), Some(2)));
        assert_eq!((decide("a/#"), decide("a/+/x"), decide("a/secret")), (Some(0x87), Some(0x87), Some(0x87)));
        assert_eq!((decide("a/ask"), decide("b"), decide("$share/g/a/x")), (None, Some(0x87), Some(0x87)));
    }

    /// Guards the identity's limits on subscriptions, each with the code of the standard.
    #[test]
    fn limits_rule_out() {
        let limits = Limits {
            qos_max: Some(1),
            wildcard_subscriptions_allowed: Some(0),
            shared_subscriptions_allowed: Some(0),
            ..Limits::default()
        };
        let identity = with(&key("c"), &[Grant::allow(Actions::ALL, "#")], NoMatch::Deny, &limits);
        let decide = |filter| code(identity.may_subscribe(action(filter)));
        assert_eq!((decide("a"), decide("a/+"), decide("$share/g/a")), (Some(1), Some(0xA2), Some(0x9E)));
    }

    /// Guards promise 1: only an Allow is leave to subscribe, and it caps the QoS.
    #[test]
    fn promise_1_only_allow_is_leave() {
        let identity = with(&key("c"), &[], NoMatch::Ask, &Limits::default());
        let Decision::Ask(question) = identity.may_subscribe(action("a")) else { panic!("asked") };
        let answer = |verdict| code(identity.answer_subscribe(action("a"), question, &verdict));
        assert_eq!(answer(Verdict::Allow { ttl: Duration::ZERO, qos_max: QoS::AtLeastOnce }), Some(1));
        assert_eq!((answer(Verdict::deny("no")), answer(Verdict::Next)), (Some(0x87), Some(0x87)));
        assert_eq!(answer(Verdict::Pending), None);
        let other = code(identity.answer_subscribe(action("#"), question, &Verdict::allow(Duration::ZERO)));
        assert_eq!(other, None, "not about this");
        identity.void_verdicts();
        assert_eq!(code(identity.answer_subscribe(action("a"), question, &Verdict::allow(Duration::ZERO))), None);
    }

    /// Guards section 5: to unsubscribe is allowed unless a rule speaks of it, whatever is said of the rest.
    #[test]
    fn unsubscribing_is_allowed_unless_spoken_of() {
        let rules = [Grant::deny(Actions::UNSUBSCRIBE, "kept/#"), Grant::deny(Actions::SUBSCRIBE, "#")];
        for no_match in [NoMatch::Deny, NoMatch::Ask] {
            let identity = with(&key("c"), &rules, no_match, &Limits::default());
            let may = |filter| identity.may_unsubscribe(Filter::trusted(filter));
            assert!(matches!(may("a"), Decision::Permit(_)));
            assert!(matches!(may("kept/x"), Decision::Denied(ReasonCode::NOT_AUTHORIZED)));
        }
    }
}
