//! What the rules say of a SUBSCRIBE or UNSUBSCRIBE: an Allow must cover the filter, a Deny or Ask need only overlap it.
//!
//! Allows are never joined: two that together cover a filter do not allow it. Constraints on retain and payload speak of
//! messages and say nothing here; a `qos_max` caps what an Allow grants and does not narrow a Deny or Ask.

use gatemq_types::{ActionKind, Effect, QoS};

use super::Grants;
use super::compile::{Rule, without_empty_parent};
use super::template::{Level, Resolved, expands_to};

impl Grants {
    /// The first rule that decides on `filter` (valid, without `$share/…/`), and the highest QoS that it grants.
    pub(crate) fn filter(
        &self,
        kind: ActionKind,
        filter: &str,
        share_name: Option<&str>,
        values: &Resolved,
    ) -> Option<(Effect, QoS)> {
        let rule = self.rules.get(self.filter_rule(kind, filter, share_name, values)?)?;
        Some((rule.effect, rule.qos_max))
    }

    /// Its place in the list, from 0.
    pub(crate) fn filter_rule(
        &self,
        kind: ActionKind,
        filter: &str,
        share_name: Option<&str>,
        values: &Resolved,
    ) -> Option<usize> {
        // Every topic that is not a `$` topic has a first level: `#` is what `+/#` is, and a rule `+/#` covers it.
        let filter = if filter == "#" { "+/#" } else { without_empty_parent(filter) };
        for (number, (rule, grant)) in self.rules.iter().zip(&self.source).enumerate() {
            if !rule.actions.contains(kind.set())
                || !fits_group(rule.effect, &grant.constraints.share_groups, share_name)
            {
                continue;
            }
            let matches = match rule.effect {
                Effect::Allow => covers(rule, filter, values),
                Effect::Deny | Effect::Ask => overlaps(rule, filter, values),
            };
            if matches {
                return Some(number);
            }
        }
        None
    }
}

/// An Allow must name the group (or `*`) of a shared subscription. A Deny or Ask that names groups speaks only of them,
/// one that names none speaks of all.
fn fits_group(effect: Effect, groups: &[String], share_name: Option<&str>) -> bool {
    let named = |name| groups.iter().any(|group| group == "*" || group == name);
    match (effect, share_name) {
        (Effect::Allow, None) => true,
        (Effect::Allow, Some(name)) => named(name),
        (_, None) => groups.is_empty(),
        (_, Some(name)) => groups.is_empty() || named(name),
    }
}

/// Whether every topic that `filter` matches is matched by the rule.
fn covers(rule: &Rule, filter: &str, values: &Resolved) -> bool {
    let mut theirs = filter.split('/');
    let mut dollar = filter.starts_with('$');
    for level in &rule.levels {
        let text = match (level, theirs.next()) {
            (Level::Hash, _) => return !dollar,
            (_, Some(text)) => text,
            (_, None) => return false,
        };
        let covered = match level {
            Level::Plus => text != "#" && !dollar,
            Level::Text(own) => **own == *text,
            Level::Template(parts) => expands_to(parts, values, text),
            Level::Hash => true,
        };
        if !covered {
            return false;
        }
        dollar = false;
    }
    theirs.next().is_none()
}

/// Whether some topic is matched by both.
fn overlaps(rule: &Rule, filter: &str, values: &Resolved) -> bool {
    // At the first level a wildcard of either side does not match a `$` of the other.
    let own_dollar = matches!(rule.levels.first(), Some(Level::Text(text)) if text.starts_with('$'));
    let (wild_rule, wild_filter) =
        (matches!(rule.levels.first(), Some(Level::Plus | Level::Hash)), filter.starts_with(['+', '#']));
    if own_dollar && wild_filter || wild_rule && filter.starts_with('$') {
        return false;
    }
    let mut theirs = filter.split('/');
    for level in &rule.levels {
        let text = match (level, theirs.next()) {
            (Level::Hash, _) | (_, Some("#")) => return true,
            (_, Some(text)) => text,
            (_, None) => return false,
        };
        let meets = match level {
            _ if text == "+" => true,
            Level::Plus | Level::Hash => true,
            Level::Text(own) => **own == *text,
            Level::Template(parts) => expands_to(parts, values, text),
        };
        if !meets {
            return false;
        }
    }
    // The rule ended: only `#` matches the level above it as well.
    theirs.next().is_none_or(|text| text == "#")
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant};

    use super::*;

    fn first(rules: &[Grant], filter: &str, share_name: Option<&str>) -> Option<Effect> {
        let grants = Grants::compile(rules).unwrap();
        grants.filter(ActionKind::Subscribe, filter, share_name, &[]).map(|(effect, _)| effect)
    }

    /// Guards section 5, covering: an Allow allows a filter only if it matches all that the filter does.
    #[test]
    fn an_allow_must_cover() {
        for (rule, filter, covered) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/#", "#", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/b", "a/+", false),
            ("a/+/#", "a/#", false),
            ("+/#", "#", true),
            ("+/+/#", "#", false),
            ("/+/#", "/#", true),
            ("/#", "/#", true),
            ("#", "#", true),
            ("#", "+", true),
            ("#", "$SYS/#", false),
            ("+/#", "$SYS/#", false),
            ("$SYS/#", "$SYS/#", true),
            ("$SYS/#", "$SYS/+/x", true),
            ("$SYS/#", "#", false),
            ("+", "/", false),
            ("+/+", "/", true),
        ] {
            let found = first(&[Grant::allow(Actions::SUBSCRIBE, rule)], filter, None);
            assert_eq!(found == Some(Effect::Allow), covered, "{rule} {filter}");
        }
        let halves = [Grant::allow(Actions::SUBSCRIBE, "a"), Grant::allow(Actions::SUBSCRIBE, "a/+/#")];
        assert_eq!(first(&halves, "a/#", None), None, "Allows are never joined");
    }

    /// Guards section 5, overlapping: a Deny refuses every filter that could bring one of its topics.
    #[test]
    fn a_deny_need_only_overlap() {
        for (rule, filter, overlapping) in [
            ("a/secret/#", "a/#", true),
            ("a/secret/#", "#", true),
            ("a/secret/#", "a/+", true),
            ("a/secret/#", "+/secret", true),
            ("a/secret/#", "a/+/x", true),
            ("a/secret", "a/secret/#", true),
            ("a/secret", "a/secret/+", false),
            ("a/secret/#", "a/open/#", false),
            ("a/secret/#", "a", false),
            ("+/x", "a/+", true),
            ("+/x", "a/b", false),
            ("$SYS/#", "#", false),
            ("$SYS/#", "+/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("a/+/+", "a/b", false),
            ("+", "/#", false),
            ("/#", "+", false),
            ("/#", "+/+", true),
        ] {
            let rules = [Grant::deny(Actions::SUBSCRIBE, rule), Grant::ask(Actions::SUBSCRIBE, "#")];
            assert_eq!(first(&rules, filter, None) == Some(Effect::Deny), overlapping, "{rule} {filter}");
        }
    }

    /// Guards the share groups of a rule: an Allow must name the group; a Deny without groups means all of them.
    #[test]
    fn share_groups_are_named() {
        let with = |effect, groups: &[&str]| Grant {
            constraints: Constraints {
                share_groups: groups.iter().map(ToString::to_string).collect(),
                ..Constraints::default()
            },
            ..Grant::new(effect, Actions::SUBSCRIBE, "a")
        };
        for (effect, groups, share_name, matches) in [
            (Effect::Allow, &[][..], None, true),
            (Effect::Allow, &[], Some("g"), false),
            (Effect::Allow, &["g"], Some("g"), true),
            (Effect::Allow, &["g"], Some("h"), false),
            (Effect::Allow, &["*"], Some("h"), true),
            (Effect::Allow, &["g"], None, true),
            (Effect::Deny, &[], Some("g"), true),
            (Effect::Deny, &[], None, true),
            (Effect::Deny, &["g"], Some("g"), true),
            (Effect::Deny, &["g"], Some("h"), false),
            (Effect::Deny, &["g"], None, false),
        ] {
            let found = first(&[with(effect, groups)], "a", share_name);
            assert_eq!(found.is_some(), matches, "{effect:?} {groups:?} {share_name:?}");
        }
    }
}
