//! Whether a client may publish.

use std::time::Duration;

use gatemq_types::{ActionKind, Effect, ReasonCode, Verdict};

use super::Identity;
use crate::grants::{Matched, Message};
use crate::permit::{Decision, PublishAction, PublishDecision, PublishPermit, Question};
use crate::verdicts::{Key, Known, Verdicts};

impl Identity {
    /// Decides on a message: from what the connection remembers, else from the rules.
    #[inline]
    pub fn may_publish<'a>(
        &'a self,
        verdicts: &mut Verdicts,
        action: PublishAction<'a>,
        now_ms: u64,
    ) -> PublishDecision<'a> {
        let key = self.verdict_key(&action);
        let (known, cacheable) = match verdicts.get(key, now_ms) {
            Some(known) => (known, true),
            None => self.walk(verdicts, key, action),
        };
        match known {
            Known::Allow => Decision::Permit(self.permit(action, key.hash)),
            Known::Deny(code) => Decision::Denied(code),
            Known::Ask => Decision::Ask(Question { generation: key.generation, about: key.about(), cacheable }),
        }
    }

    /// Uses a provider's answer to a question of [`Self::may_publish`] about the same action, and remembers it for as
    /// long as it says. Where the identity's verdicts became void in between, the answer is not used and the rules are
    /// walked again; a provider's failure is not for this: it is no answer.
    pub fn answer_publish<'a>(
        &'a self,
        verdicts: &mut Verdicts,
        action: PublishAction<'a>,
        question: Question,
        verdict: &Verdict,
        now_ms: u64,
    ) -> PublishDecision<'a> {
        let key = self.verdict_key(&action);
        if (question.generation, question.about) != (key.generation, key.about()) {
            return self.may_publish(verdicts, action, now_ms);
        }
        let (known, ttl) = match verdict {
            Verdict::Allow { ttl, .. } => (Known::Allow, *ttl),
            // The connection ends, and what it remembers with it.
            Verdict::Deny { code, disconnect: true, .. } => (Known::Deny(failure(*code)), Duration::ZERO),
            Verdict::Deny { code, ttl, .. } => (Known::Deny(failure(*code)), *ttl),
            Verdict::Next => (Known::Deny(ReasonCode::NOT_AUTHORIZED), Duration::ZERO),
            Verdict::Pending => return Decision::Ask(question),
        };
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        if question.cacheable && ttl_ms > 0 {
            verdicts.put(key, known, now_ms.saturating_add(ttl_ms));
        }
        match known {
            Known::Allow => Decision::Permit(self.permit(action, key.hash)),
            Known::Deny(code) => Decision::Denied(code),
            Known::Ask => Decision::Ask(question),
        }
    }

    /// Leave to publish.
    #[inline]
    pub(super) fn permit<'a>(&'a self, action: PublishAction<'a>, hash: u64) -> PublishPermit<'a> {
        PublishPermit::new(self.tenant(), action, hash).marked(self.marks.as_ref())
    }

    #[inline]
    fn verdict_key<'a>(&self, action: &PublishAction<'a>) -> Key<'a> {
        Key { hash: self.hash(action.topic), generation: self.generation(), topic: action.topic, how: action.how() }
    }

    /// What is denied whatever a rule or a provider says.
    pub(super) fn ruled_out(&self, action: &PublishAction<'_>) -> Option<ReasonCode> {
        match () {
            () if action.qos > self.allowed.qos_max => Some(ReasonCode::QOS_NOT_SUPPORTED),
            () if action.retain && !self.allowed.retain => Some(ReasonCode::RETAIN_NOT_SUPPORTED),
            // Clients never publish to `$` topics.
            () if action.topic.starts_with('$') => Some(ReasonCode::NOT_AUTHORIZED),
            () => None,
        }
    }

    /// Asks the rules, and remembers what they say unless the size mattered.
    fn walk(&self, verdicts: &mut Verdicts, key: Key<'_>, action: PublishAction<'_>) -> (Known, bool) {
        let PublishAction { topic, qos, retain, payload_bytes } = action;
        if let Some(code) = self.ruled_out(&action) {
            verdicts.put(key, Known::Deny(code), u64::MAX);
            return (Known::Deny(code), true);
        }
        let message = Message { topic, qos, retain, payload_bytes };
        let Matched { effect, depends_on_size, .. } = self.grants.message(ActionKind::Publish, message, &self.values);
        let known = match effect.unwrap_or(self.unmatched()) {
            Effect::Allow => Known::Allow,
            Effect::Deny => Known::Deny(ReasonCode::NOT_AUTHORIZED),
            Effect::Ask => Known::Ask,
        };
        if !depends_on_size {
            verdicts.put(key, known, u64::MAX);
        }
        (known, !depends_on_size)
    }
}

/// A refusal's code, whatever a provider wrote there: it must not read as a success.
pub(super) fn failure(code: ReasonCode) -> ReasonCode {
    if code.is_failure() { code } else { ReasonCode::NOT_AUTHORIZED }
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, QoS};

    use super::*;
    use crate::identity::testing::{identity, key, with};

    fn action(topic: &str) -> PublishAction<'_> {
        PublishAction { topic, qos: QoS::AtMostOnce, retain: false, payload_bytes: 0 }
    }

    fn code(decision: PublishDecision<'_>) -> Option<ReasonCode> {
        match decision {
            Decision::Permit(_) => Some(ReasonCode::SUCCESS),
            Decision::Denied(code) => Some(code),
            Decision::Ask(_) => None,
        }
    }

    const ALLOWED: Option<ReasonCode> = Some(ReasonCode::SUCCESS);
    const DENIED: Option<ReasonCode> = Some(ReasonCode::NOT_AUTHORIZED);

    /// Guards section 5: the first match decides, cached or not, and `$` topics are nobody's to publish to.
    #[test]
    fn the_first_match_decides() {
        let rules = [
            Grant::deny(Actions::PUBLISH, "a/secret/#"),
            Grant::allow(Actions::PUBLISH, "a/#"),
            Grant::allow(Actions::PUBLISH, "own/${client_id}"),
            Grant::allow(Actions::SUBSCRIBE, "#"),
            Grant::allow(Actions::PUBLISH, "$SYS/x"),
        ];
        let identity = identity(&rules);
        let mut verdicts = Verdicts::new(8);
        for _ in 0..2 {
            let mut decide = |topic| code(identity.may_publish(&mut verdicts, action(topic), 0));
            assert_eq!((decide("a/b"), decide("a")), (ALLOWED, ALLOWED));
            assert_eq!((decide("a/secret"), decide("a/secret/x")), (DENIED, DENIED));
            assert_eq!((decide("own/c"), decide("own/d"), decide("own/c/x")), (ALLOWED, DENIED, DENIED));
            assert_eq!((decide("$SYS/x"), decide("b")), (DENIED, DENIED));
        }
    }

    /// Guards the cache: QoS and retain are part of what is remembered, and size is never remembered.
    #[test]
    fn constraints_hold_for_every_message() {
        let constraints = Constraints {
            qos_max: QoS::AtLeastOnce,
            retain: Some(false),
            payload_bytes_max: 10,
            ..Constraints::default()
        };
        let identity = identity(&[Grant { constraints, ..Grant::allow(Actions::PUBLISH, "#") }]);
        let mut verdicts = Verdicts::new(8);
        for _ in 0..2 {
            let mut decide = |action| code(identity.may_publish(&mut verdicts, action, 0));
            assert_eq!(decide(PublishAction { payload_bytes: 10, qos: QoS::AtLeastOnce, ..action("a") }), ALLOWED);
            assert_eq!(decide(PublishAction { payload_bytes: 11, qos: QoS::AtLeastOnce, ..action("a") }), DENIED);
            assert_eq!(decide(PublishAction { qos: QoS::ExactlyOnce, ..action("a") }), DENIED);
            assert_eq!(decide(PublishAction { retain: true, ..action("a") }), DENIED);
        }
    }

    /// Guards the identity's limits: what its CONNACK ruled out has the code of the standard.
    #[test]
    fn limits_rule_out() {
        let limits = Limits { qos_max: Some(1), retain_allowed: Some(0), ..Limits::default() };
        let identity = with(&key("c"), &[Grant::allow(Actions::ALL, "#")], NoMatch::Deny, &limits);
        let mut verdicts = Verdicts::new(8);
        for _ in 0..2 {
            let mut decide = |action| code(identity.may_publish(&mut verdicts, action, 0));
            assert_eq!(decide(PublishAction { qos: QoS::AtLeastOnce, ..action("a") }), ALLOWED);
            let refused = decide(PublishAction { qos: QoS::ExactlyOnce, ..action("a") });
            assert_eq!(refused, Some(ReasonCode::QOS_NOT_SUPPORTED));
            assert_eq!(decide(PublishAction { retain: true, ..action("a") }), Some(ReasonCode::RETAIN_NOT_SUPPORTED));
        }
    }

    /// Guards promise 1: of a provider's answers only Allow is leave, and it is remembered for as long as it says.
    #[test]
    fn promise_1_only_allow_is_leave_and_it_expires() {
        let identity = with(&key("c"), &[], NoMatch::Ask, &Limits::default());
        let mut verdicts = Verdicts::new(8);
        let Decision::Ask(question) = identity.may_publish(&mut verdicts, action("a"), 0) else { panic!("asked") };
        let mut answer = |verdict| code(identity.answer_publish(&mut verdicts, action("a"), question, &verdict, 1_000));
        assert_eq!((answer(Verdict::Next), answer(Verdict::Pending)), (DENIED, None));
        let success = Verdict::Deny {
            code: ReasonCode::SUCCESS,
            reason: String::new(),
            reason_string: None,
            disconnect: false,
            ttl: Duration::ZERO,
        };
        assert_eq!((answer(success), answer(Verdict::deny("no"))), (DENIED, DENIED));
        assert_eq!(answer(Verdict::allow(Duration::ZERO)), ALLOWED);
        assert_eq!(code(identity.may_publish(&mut verdicts, action("a"), 1_000)), None, "for that one only");
        let allow = Verdict::allow(Duration::from_secs(5));
        assert_eq!(code(identity.answer_publish(&mut verdicts, action("a"), question, &allow, 1_000)), ALLOWED);
        assert_eq!(code(identity.may_publish(&mut verdicts, action("a"), 5_999)), ALLOWED);
        assert_eq!(code(identity.may_publish(&mut verdicts, action("b"), 5_999)), None);
        assert_eq!(code(identity.may_publish(&mut verdicts, action("a"), 6_000)), None, "asked again");
    }

    /// Guards against answers of the past: void verdicts void open questions too, and what was remembered.
    #[test]
    fn void_verdicts_are_not_used() {
        let identity = with(&key("c"), &[], NoMatch::Ask, &Limits::default());
        let mut verdicts = Verdicts::new(8);
        let allow = Verdict::allow(Duration::from_secs(60));
        let Decision::Ask(question) = identity.may_publish(&mut verdicts, action("a"), 0) else { panic!("asked") };
        assert_eq!(code(identity.answer_publish(&mut verdicts, action("a"), question, &allow, 0)), ALLOWED);
        identity.void_verdicts();
        assert_eq!(code(identity.may_publish(&mut verdicts, action("a"), 0)), None);
        assert_eq!(code(identity.answer_publish(&mut verdicts, action("a"), question, &allow, 0)), None);
        let Decision::Ask(other) = identity.may_publish(&mut verdicts, action("b"), 0) else { panic!("asked") };
        assert_eq!(code(identity.answer_publish(&mut verdicts, action("a"), other, &allow, 0)), None, "not about this");
        let replaced = with(&key("c"), &[], NoMatch::Deny, &Limits::default());
        assert_eq!(code(replaced.answer_publish(&mut verdicts, action("a"), question, &allow, 0)), DENIED);
    }

    /// Guards the interplay of size and asking: an answer about one size is not taken for another.
    #[test]
    fn an_answer_that_depends_on_size_is_not_remembered() {
        let constraints = Constraints { payload_bytes_max: 10, ..Constraints::default() };
        let rules = [Grant { constraints, ..Grant::ask(Actions::PUBLISH, "#") }];
        let identity = identity(&rules);
        let mut verdicts = Verdicts::new(8);
        let small = PublishAction { payload_bytes: 10, ..action("a") };
        let Decision::Ask(question) = identity.may_publish(&mut verdicts, small, 0) else { panic!("asked") };
        let allow = Verdict::allow(Duration::from_secs(60));
        assert_eq!(code(identity.answer_publish(&mut verdicts, small, question, &allow, 0)), ALLOWED);
        assert_eq!(code(identity.may_publish(&mut verdicts, PublishAction { payload_bytes: 11, ..small }, 0)), DENIED);
    }
}
