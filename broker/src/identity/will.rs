//! Whether a client may leave a will.

use std::hash::BuildHasher;

use gatemq_mqtt::packet::connect;
use gatemq_types::{ActionKind, Effect, ReasonCode, Verdict};

use super::Identity;
use super::publish::failure;
use crate::grants::Message;
use crate::permit::{Decision, PublishAction, PublishPermit, Question, WillDecision};
use crate::will::Will;

impl Identity {
    /// Decides on the will of a CONNECT; nothing is remembered.
    pub fn may_leave_will(&self, will: &connect::Will) -> WillDecision {
        match self.decide_will(will_action(will)) {
            Ok(Effect::Allow) => Decision::Permit(Will::new(self.again(), will, false)),
            Ok(Effect::Ask) => Decision::Ask(self.will_question(will)),
            Ok(Effect::Deny) => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            Err(code) => Decision::Denied(code),
        }
    }

    /// Uses a provider's answer to a question of [`Self::may_leave_will`] about the same will. It holds until the will is
    /// published, unless the identity's verdicts become void before.
    pub fn answer_will(&self, will: &connect::Will, question: Question, verdict: &Verdict) -> WillDecision {
        if question != self.will_question(will) {
            return self.may_leave_will(will);
        }
        match verdict {
            Verdict::Allow { .. } => Decision::Permit(Will::new(self.again(), will, true)),
            Verdict::Deny { code, .. } => Decision::Denied(failure(*code)),
            Verdict::Next => Decision::Denied(ReasonCode::NOT_AUTHORIZED),
            Verdict::Pending => Decision::Ask(question),
        }
    }

    fn will_question(&self, will: &connect::Will) -> Question {
        let about = self.hasher.hash_one((&will.topic, will.qos, will.retain, will.payload.len()));
        Question { generation: self.generation(), about, cacheable: false }
    }

    pub(super) fn decide_will(&self, action: PublishAction<'_>) -> Result<Effect, ReasonCode> {
        let PublishAction { topic, qos, retain, payload_bytes } = action;
        match () {
            () if qos > self.allowed.qos_max => return Err(ReasonCode::QOS_NOT_SUPPORTED),
            () if retain && !self.allowed.retain => return Err(ReasonCode::RETAIN_NOT_SUPPORTED),
            () if !self.allowed.will || topic.starts_with('$') => return Err(ReasonCode::NOT_AUTHORIZED),
            () => {}
        }
        let message = Message { topic, qos, retain, payload_bytes };
        Ok(self.grants.message(ActionKind::Will, message, &self.values).effect.unwrap_or(self.unmatched()))
    }

    /// Leave to publish a will now; `asked`: a provider had allowed it.
    pub(crate) fn may_publish_will<'a>(
        &'a self,
        action: PublishAction<'a>,
        asked: bool,
    ) -> Result<PublishPermit<'a>, ReasonCode> {
        match self.decide_will(action)? {
            Effect::Ask if asked => {}
            Effect::Allow => {}
            Effect::Deny | Effect::Ask => return Err(ReasonCode::NOT_AUTHORIZED),
        }
        Ok(self.permit(action, self.hash(action.topic)))
    }
}

fn will_action(will: &connect::Will) -> PublishAction<'_> {
    let payload_bytes = u32::try_from(will.payload.len()).unwrap_or(u32::MAX);
    PublishAction { topic: &will.topic, qos: will.qos, retain: will.retain, payload_bytes }
}
