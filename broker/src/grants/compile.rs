//! From grants as a provider writes them to rules that are quick to walk; a mistake names its rule.

use std::fmt;

use gatemq_types::{Actions, Effect, Grant, QoS};

use super::Grants;
use super::index::Index;
use super::template::{Level, Variable};
use crate::TOPIC_LEVELS_MAX;

/// Longest list of rules.
pub const RULES_MAX: usize = 4096;
/// Longest filter of a rule in bytes, as that of a topic (MQTT-4.7.3-3).
const FILTER_BYTES_MAX: usize = 65_535;

/// What is wrong with a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrantProblem {
    /// Its filter is empty.
    FilterEmpty,
    /// Its filter has more than 65,535 bytes.
    FilterTooLong,
    /// Its filter has more than [`TOPIC_LEVELS_MAX`] levels.
    LevelsTooMany,
    /// `#` stands before the last level.
    HashNotLast,
    /// `+` or `#` shares its level with something else.
    WildcardMisplaced,
    /// U+0000.
    Nul,
    /// Share groups are a constraint, not a part of the filter.
    ShareInFilter,
    /// `${` without `}` in the same level.
    VariableUnclosed,
    /// `${…}` names nothing known.
    VariableUnknown,
    /// More than 65,536 different variables.
    VariablesTooMany,
    /// It speaks of no action.
    ActionsEmpty,
    /// It speaks of an action that this broker does not know.
    ActionsUnknown,
    /// It is beyond [`RULES_MAX`].
    RulesTooMany,
}

impl fmt::Display for GrantProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GrantProblem::FilterEmpty => "the filter is empty",
            GrantProblem::FilterTooLong => "the filter has more than 65535 bytes",
            GrantProblem::LevelsTooMany => "the filter has more than 128 levels",
            GrantProblem::HashNotLast => "# may only be the last level",
            GrantProblem::WildcardMisplaced => "+ and # take a whole level",
            GrantProblem::Nul => "the filter has a NUL",
            GrantProblem::ShareInFilter => "share groups are a constraint; write the filter without $share/…/",
            GrantProblem::VariableUnclosed => "${ without } in the same level",
            GrantProblem::VariableUnknown => {
                "${…} is none of client_id, user, tenant, cert.cn, cert.san.dns, attr.NAME"
            }
            GrantProblem::VariablesTooMany => "more than 65536 different ${…}",
            GrantProblem::ActionsEmpty => "it speaks of no action",
            GrantProblem::ActionsUnknown => "it speaks of an action that this broker does not know",
            GrantProblem::RulesTooMany => "the list has more than 4096 rules",
        })
    }
}

/// A list that cannot be used: nothing of it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantError {
    /// Place of the rule in its list, from 0.
    pub rule: usize,
    /// Its filter, as written; escape it where it is shown (as `Display` does).
    pub filter: String,
    /// What is wrong.
    pub problem: GrantProblem,
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {} ({:?}): {}", self.rule + 1, self.filter, self.problem)
    }
}

impl std::error::Error for GrantError {}

/// A rule, compiled. Its share groups stay in the list's source.
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    pub(crate) actions: Actions,
    pub(crate) qos_max: QoS,
    pub(crate) retain: Option<bool>,
    /// 0 is no bound.
    pub(crate) payload_bytes_max: u32,
    pub(crate) levels: Box<[Level]>,
}

impl Grants {
    /// Compiles a list. Use [`super::GrantTable::compile`], which shares equal lists.
    pub(super) fn compile(grants: &[Grant]) -> Result<Grants, GrantError> {
        let mut variables = Vec::new();
        let mut rules = Vec::with_capacity(grants.len().min(RULES_MAX));
        for (rule, grant) in grants.iter().enumerate() {
            let compiled =
                if rule < RULES_MAX { compile(grant, &mut variables) } else { Err(GrantProblem::RulesTooMany) };
            rules.push(compiled.map_err(|problem| GrantError { rule, filter: grant.filter.clone(), problem })?);
        }
        let index = Index::new(&rules);
        Ok(Grants { source: grants.into(), rules: rules.into(), variables: variables.into(), index })
    }
}

/// `/#` would match the topic above it as well, which is empty and so no topic (MQTT-4.7.3-1): what remains is `/+/#`.
pub(super) fn without_empty_parent(filter: &str) -> &str {
    if filter == "/#" { "/+/#" } else { filter }
}

fn compile(grant: &Grant, variables: &mut Vec<Variable>) -> Result<Rule, GrantProblem> {
    let Grant { effect, actions, filter, constraints } = grant;
    if *actions == Actions::default() {
        return Err(GrantProblem::ActionsEmpty);
    }
    // A Deny that silently said less than its writer meant would open something.
    if !Actions::ALL.contains(*actions) {
        return Err(GrantProblem::ActionsUnknown);
    }
    if filter.is_empty() {
        return Err(GrantProblem::FilterEmpty);
    }
    if filter.len() > FILTER_BYTES_MAX {
        return Err(GrantProblem::FilterTooLong);
    }
    if filter == "$share" || filter.starts_with("$share/") {
        return Err(GrantProblem::ShareInFilter);
    }
    let mut levels = Vec::new();
    for text in without_empty_parent(filter).split('/') {
        if levels.len() == TOPIC_LEVELS_MAX {
            return Err(GrantProblem::LevelsTooMany);
        }
        if levels.last() == Some(&Level::Hash) {
            return Err(GrantProblem::HashNotLast);
        }
        levels.push(Level::parse(text, variables)?);
    }
    Ok(Rule {
        effect: *effect,
        actions: *actions,
        qos_max: constraints.qos_max,
        retain: constraints.retain,
        payload_bytes_max: constraints.payload_bytes_max,
        levels: levels.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(grant: Grant) -> Option<GrantProblem> {
        let first = Grant::allow(Actions::ALL, "fine/+/#");
        let error = Grants::compile(&[first, grant]).err()?;
        assert_eq!(error.rule, 1, "the mistake names its rule");
        Some(error.problem)
    }

    /// Guards that a malformed rule is an error and never a rule that silently vanishes; each beside one that is right.
    #[test]
    fn malformed_rules_are_named() {
        let deep = vec!["a"; TOPIC_LEVELS_MAX].join("/");
        let cases = [
            ("", Some(GrantProblem::FilterEmpty)),
            ("/", None),
            ("a/#/b", Some(GrantProblem::HashNotLast)),
            ("a/#/", Some(GrantProblem::HashNotLast)),
            ("a/b/#", None),
            ("a/b+", Some(GrantProblem::WildcardMisplaced)),
            ("a/+/b", None),
            ("a\0", Some(GrantProblem::Nul)),
            ("${user", Some(GrantProblem::VariableUnclosed)),
            ("${us/er}", Some(GrantProblem::VariableUnclosed)),
            ("${nobody}", Some(GrantProblem::VariableUnknown)),
            ("x-${attr.site}/#", None),
            ("$share/g/a", Some(GrantProblem::ShareInFilter)),
            ("$SYS/#", None),
            (deep.as_str(), None),
            (&format!("{deep}/#"), Some(GrantProblem::LevelsTooMany)),
            (&"a".repeat(65_536), Some(GrantProblem::FilterTooLong)),
        ];
        for (filter, want) in cases {
            assert_eq!(problem(Grant::deny(Actions::PUBLISH, filter)), want, "{filter:?}");
        }
        assert_eq!(problem(Grant::deny(Actions(0), "a")), Some(GrantProblem::ActionsEmpty));
        assert_eq!(problem(Grant::deny(Actions(1 | 32), "a")), Some(GrantProblem::ActionsUnknown));
        assert_eq!(Grants::compile(&vec![Grant::allow(Actions::ALL, "a"); RULES_MAX]).err(), None);
        let error = Grants::compile(&vec![Grant::allow(Actions::ALL, "a\n"); RULES_MAX + 1]).err().unwrap();
        assert_eq!(error.to_string(), "grant 4097 (\"a\\n\"): the list has more than 4096 rules");
    }
}
