//! What the rules say of a message: the first that matches decides.

use gatemq_types::{ActionKind, Effect, QoS};

use super::{Grants, Resolved};

/// A message as the rules look at it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) payload_bytes: u32,
}

/// What the rules say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Matched {
    /// `None`: no rule matches.
    pub(crate) effect: Option<Effect>,
    /// Its place in the list, from 0.
    pub(crate) rule: Option<usize>,
    /// Whether a message of another size might be answered otherwise.
    pub(crate) depends_on_size: bool,
}

impl Grants {
    /// Decides on a message. No allocation; no deeper than the rules.
    pub(crate) fn message(&self, kind: ActionKind, message: Message<'_>, values: &Resolved) -> Matched {
        let Message { topic, qos, retain, payload_bytes } = message;
        let mut lowest_sized = u32::MAX;
        let decided = self.index.first(topic, values, |number| {
            let rule = &self.rules[number as usize];
            if !rule.actions.contains(kind.set()) || qos > rule.qos_max || rule.retain.is_some_and(|r| r != retain) {
                return false;
            }
            if rule.payload_bytes_max > 0 {
                lowest_sized = lowest_sized.min(number);
            }
            rule.payload_bytes_max == 0 || payload_bytes <= rule.payload_bytes_max
        });
        Matched {
            effect: decided.map(|number| self.rules[number as usize].effect),
            rule: decided.map(|number| number as usize),
            depends_on_size: lowest_sized != u32::MAX && decided.is_none_or(|number| lowest_sized <= number),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant};

    use super::*;

    fn constrained(effect: Effect, constraints: Constraints) -> Grant {
        Grant { constraints, ..Grant::new(effect, Actions::PUBLISH, "a/#") }
    }

    fn decide(rules: &[Grant], topic: &str, qos: QoS, retain: bool, payload_bytes: u32) -> Matched {
        let grants = Grants::compile(rules).unwrap();
        grants.message(ActionKind::Publish, Message { topic, qos, retain, payload_bytes }, &[])
    }

    /// Guards section 5: a constraint that does not hold makes the rule not match, and the next one decides.
    #[test]
    fn constraints_belong_to_the_match() {
        let qos = constrained(Effect::Allow, Constraints { qos_max: QoS::AtLeastOnce, ..Constraints::default() });
        let retained = constrained(Effect::Deny, Constraints { retain: Some(true), ..Constraints::default() });
        let rules = [retained, qos, Grant::ask(Actions::PUBLISH, "#")];
        let effect = |qos, retain| decide(&rules, "a/b", qos, retain, 0).effect;
        assert_eq!(effect(QoS::AtLeastOnce, false), Some(Effect::Allow));
        assert_eq!(effect(QoS::AtLeastOnce, true), Some(Effect::Deny));
        assert_eq!(effect(QoS::ExactlyOnce, false), Some(Effect::Ask));
        let wild = ["#", "+", "+/x"].map(|filter| Grant::allow(Actions::PUBLISH, filter));
        for topic in ["$a", "$a/x"] {
            assert_eq!(decide(&wild, topic, QoS::AtMostOnce, false, 0).effect, None, "MQTT-4.7.2-1");
            assert_eq!(decide(&wild, &topic[1..], QoS::AtMostOnce, false, 0).effect, Some(Effect::Allow));
        }
    }

    /// Guards the verdict cache: whoever's size could have mattered is marked, and nobody else.
    #[test]
    fn what_depends_on_size_is_marked() {
        let small = constrained(Effect::Allow, Constraints { payload_bytes_max: 10, ..Constraints::default() });
        let rules = [Grant::allow(Actions::PUBLISH, "a/free"), small.clone(), Grant::deny(Actions::PUBLISH, "a/#")];
        let decide = |rules: &[Grant], topic, bytes| {
            let matched = decide(rules, topic, QoS::AtMostOnce, false, bytes);
            (matched.effect, matched.depends_on_size)
        };
        assert_eq!(decide(&rules, "a/b", 10), (Some(Effect::Allow), true));
        assert_eq!(decide(&rules, "a/b", 11), (Some(Effect::Deny), true));
        assert_eq!(decide(&rules, "a/free", 11), (Some(Effect::Allow), false), "decided before size was asked for");
        assert_eq!(decide(&rules, "b", 11), (None, false));
        assert_eq!(decide(&[small], "a/b", 11), (None, true));
    }
}
