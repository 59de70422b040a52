//! mosquitto's ACL file: `user`, `topic` and `pattern`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{At, Failure, Report, text};

/// What a rule says of a topic filter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

/// A rule; its filter is in this broker's form.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) access: Access,
    pub(super) filter: String,
}

/// Rules, in their order.
#[derive(Default)]
pub(super) struct Rules {
    /// Of clients without user name: those before the first `user`.
    pub(super) anonymous: Vec<Rule>,
    /// Of users.
    pub(super) users: BTreeMap<String, Vec<Rule>>,
    /// Of everybody.
    pub(super) patterns: Vec<Rule>,
}

/// Reads it.
pub(super) fn read(file: &Path, report: &mut Report) -> Result<Rules, Failure> {
    let (mut rules, mut user): (Rules, Option<String>) = (Rules::default(), None);
    for (n, line) in text(file)?.lines().enumerate() {
        let (at, line) = (At { file, line: n + 1 }, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));
        match word {
            "user" if !rest.is_empty() => {
                report.done(at, line, "the rules that follow are this user's");
                rules.users.entry(rest.to_owned()).or_default();
                user = Some(rest.to_owned());
            }
            "topic" | "pattern" => match rule(rest, word == "pattern") {
                Ok(rule) => {
                    let (of, into) = match (&user, word) {
                        (_, "pattern") => ("everybody".to_owned(), &mut rules.patterns),
                        (Some(user), _) => (format!("user {user}"), rules.users.entry(user.clone()).or_default()),
                        (None, _) => ("clients without user name".to_owned(), &mut rules.anonymous),
                    };
                    report.done(at, line, &format!("a grant of {of} on {}", rule.filter));
                    into.push(rule);
                }
                Err(why) => report.wrong(at, &why),
            },
            _ => report.wrong(at, "is none of: user NAME, topic [ACCESS] FILTER, pattern [ACCESS] FILTER"),
        }
    }
    Ok(rules)
}

/// `[read|write|readwrite|deny] FILTER`; a filter may begin with blanks' words, so only a first word that is an access is one.
fn rule(text: &str, is_pattern: bool) -> Result<Rule, String> {
    let access = |word: &str| match word {
        "read" => Some(Access::Read),
        "write" => Some(Access::Write),
        "readwrite" => Some(Access::ReadWrite),
        "deny" => Some(Access::Deny),
        _ => None,
    };
    let named = text.split_once(char::is_whitespace).and_then(|(word, rest)| Some((access(word)?, rest.trim())));
    let (access, filter) = named.unwrap_or((Access::ReadWrite, text));
    if filter.is_empty() {
        return Err("has no filter; write topic or pattern, access, filter".into());
    }
    if filter.contains("${") {
        return Err(format!("`{filter}` has `${{`, which a grant of this broker takes for a variable; leave it out"));
    }
    let filter = match is_pattern {
        true => filter.replace("%u", "${user}").replace("%c", "${client_id}"),
        false => filter.to_owned(),
    };
    check(&filter)?;
    Ok(Rule { access, filter })
}

/// As the standard has filters (4.7.1).
fn check(filter: &str) -> Result<(), String> {
    let levels: Vec<&str> = filter.split('/').collect();
    let is_wrong = |(n, level): (usize, &&str)| {
        (level.contains('#') && (*level != "#" || n + 1 != levels.len())) || (level.contains('+') && *level != "+")
    };
    match levels.iter().enumerate().any(is_wrong) {
        true => Err(format!("`{filter}` is no topic filter: + is a level of its own, # the last one")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Rules, Report) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("acl");
        std::fs::write(&file, text).unwrap();
        let mut report = Report::default();
        let Ok(rules) = read(&file, &mut report) else { panic!("it is there") };
        (rules, report)
    }

    /// Guards whose rule a line is, and that access may be left out; a topic whose first word is none keeps it.
    #[test]
    fn a_rule_belongs_to_somebody() {
        let (rules, report) = of("topic read public/#\n\n# words\nuser pump\ntopic a b/c\ntopic deny x\n\
                                  pattern write dev/%c/%u/up\nuser other\n");
        assert!(report.wrong.is_empty(), "{:?}", report.wrong);
        let filters = |rules: &[Rule]| rules.iter().map(|rule| rule.filter.clone()).collect::<Vec<_>>();
        assert_eq!(filters(&rules.anonymous), ["public/#"]);
        assert_eq!(filters(&rules.users["pump"]), ["a b/c", "x"]);
        assert!(rules.users["pump"][1].access == Access::Deny && rules.users["other"].is_empty());
        assert_eq!(filters(&rules.patterns), ["dev/${client_id}/${user}/up"]);
        assert_eq!(report.lines.len(), 6);
    }

    /// Guards that a line which is not understood ends the import, with its number.
    #[test]
    fn a_line_that_is_no_rule_is_wrong() {
        for text in
            ["topics a", "user", "topic", "topic read", "topic a/#/b", "topic read a+/b", "topic read ${user}/x"]
        {
            let (_, report) = of(&format!("topic good\n{text}\n"));
            // `topic read` alone is a rule on the topic `read`, as mosquitto has it.
            let expected = usize::from(text != "topic read");
            assert_eq!(report.wrong.len(), expected, "{text}");
            assert!(report.wrong.iter().all(|wrong| wrong.contains("acl:2: ")), "{:?}", report.wrong);
        }
    }
}
