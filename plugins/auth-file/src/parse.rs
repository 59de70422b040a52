//! The users file: TOML in, users or every problem of the file out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use gatemq_plugin_api::config::GrantConfig;
use gatemq_plugin_api::{Effect, Grant};
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::password::Hash;
use crate::users::{Anonymous, ClientIds, User, Users};

/// Longest list of rules that the broker takes.
const RULES_MAX: usize = 4096;

/// One thing that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// From 1; 0 is the whole file.
    line: usize,
    /// Dotted path; empty where it is about no key.
    key: String,
    message: String,
}

impl Problem {
    /// About the file itself.
    pub(crate) fn of_file(message: impl Into<String>) -> Self {
        Problem { line: 0, key: String::new(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    /// `line: key: message`, as far as known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        f.write_str(" ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads `text`; users without a tenant of their own get `tenant`.
///
/// # Errors
/// Every problem, in the order of the lines.
pub(crate) fn parse(text: &str, tenant: Option<&str>) -> Result<Users, Vec<Problem>> {
    let mut reader = Reader { text, tenant, problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for e in &errors {
        // Its Display shows the line, which may hold a hash: the message alone does not.
        reader.problem(e.span().map_or(0, |s| s.start), "", format!("is not TOML: {}", e.message()));
    }
    // What was recovered from a broken text says nothing reliable.
    let users = if errors.is_empty() { reader.root(root.get_ref()) } else { Users::default() };
    let mut problems = reader.problems;
    problems.sort_by_key(|p| p.line);
    if problems.is_empty() { Ok(users) } else { Err(problems) }
}

/// `users.NAME`, with quotes where TOML wants them.
fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let dot = if path.is_empty() { "" } else { "." };
    if bare { format!("{path}{dot}{name}") } else { format!("{path}{dot}{name:?}") }
}

type Name<'i> = Spanned<Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;
type Groups<'t> = BTreeMap<&'t str, Arc<[Grant]>>;

struct Reader<'a> {
    text: &'a str,
    tenant: Option<&'a str>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        let line = 1 + self.text.bytes().take(at).filter(|b| *b == b'\n').count();
        self.problems.push(Problem { line, key: key.into(), message: message.into() });
    }

    fn wanted(&mut self, key: &str, value: &Value<'_>, wanted: &str) {
        let message = format!("is of type {}; wanted {wanted}", value.get_ref().type_str());
        self.problem(value.span().start, key, message);
    }

    fn unknown(&mut self, path: &str, name: &Name<'_>, known: &str) {
        let message = format!("there is no such key; there are {known}");
        self.problem(name.span().start, join(path, name.get_ref()), message);
    }

    fn table<'t, 'i>(&mut self, key: &str, value: &'t Value<'i>) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wanted(key, value, "a table");
        }
        table
    }

    /// A text that is not empty.
    fn text<'t>(&mut self, key: &str, value: &'t Value<'_>) -> Option<&'t str> {
        match value.get_ref().as_str() {
            Some("") => self.problem(value.span().start, key, "is empty"),
            Some(text) => return Some(text),
            None => self.wanted(key, value, "a text"),
        }
        None
    }

    fn list<'t, 'i>(&mut self, key: &str, value: &'t Value<'i>) -> impl Iterator<Item = &'t Value<'i>> + use<'t, 'i> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.wanted(key, value, "a list");
        }
        array.into_iter().flat_map(|a| a.iter())
    }

    fn root(&mut self, root: &DeTable<'_>) -> Users {
        let (mut groups, mut users, mut anonymous) = (None, None, None);
        for (name, value) in root {
            match &**name.get_ref() {
                "groups" => groups = self.table("groups", value),
                "users" => users = self.table("users", value),
                "anonymous" => anonymous = Some((name, value)),
                _ => self.unknown("", name, "users, groups and anonymous"),
            }
        }
        let groups: Groups<'_> = groups.map(|table| self.groups(table)).unwrap_or_default();
        let mut found = Users { groups: groups.len(), ..Users::default() };
        for (name, value) in users.into_iter().flatten() {
            if let Some(user) = self.user(name, value, &groups) {
                found.named.insert(name.get_ref().to_string(), user);
            }
        }
        if let Some((name, value)) = anonymous {
            found.anonymous = self.anonymous(name, value, &found);
        }
        found
    }

    fn groups<'t>(&mut self, table: &'t DeTable<'_>) -> Groups<'t> {
        let mut groups = Groups::new();
        for (name, value) in table {
            let path = join("groups", name.get_ref());
            let mut grants = Vec::new();
            for (key, value) in self.table(&path, value).into_iter().flatten() {
                match &**key.get_ref() {
                    "grants" => grants = self.grants(&join(&path, "grants"), value),
                    _ => self.unknown(&path, key, "grants"),
                }
            }
            groups.insert(&**name.get_ref(), grants.into());
        }
        groups
    }

    fn user(&mut self, name: &Name<'_>, value: &Value<'_>, groups: &Groups<'_>) -> Option<User> {
        let (path, at) = (join("users", name.get_ref()), name.span().start);
        if name.get_ref().is_empty() {
            self.problem(at, &path, "a user must have a name");
        }
        let (mut hash, mut tenant, mut password_seen) = (None, self.tenant.map(str::to_owned), false);
        let (mut client_ids, mut disabled) = (ClientIds::Any, false);
        let (mut grants, mut of_groups) = (Vec::new(), Vec::new());
        for (key, value) in self.table(&path, value)? {
            let path_of = join(&path, key.get_ref());
            match &**key.get_ref() {
                "password" => {
                    password_seen = true;
                    match self.text(&path_of, value).map(Hash::new) {
                        Some(Ok(good)) => hash = Some(good),
                        Some(Err(why)) => self.problem(value.span().start, &path_of, why),
                        None => {}
                    }
                }
                "tenant" => tenant = Some(self.text(&path_of, value).unwrap_or_default().to_owned()),
                "client_id" => client_ids = self.client_ids(&path_of, value),
                "groups" => of_groups = self.groups_of(&path_of, value, groups),
                "grants" => grants = self.grants(&path_of, value),
                "disabled" => match value.get_ref().as_bool() {
                    Some(flag) => disabled = flag,
                    None => self.wanted(&path_of, value, "true or false"),
                },
                _ => self.unknown(&path, key, "password, tenant, client_id, groups, grants and disabled"),
            }
        }
        if !password_seen {
            let message = "has no password; give one with `gatemq passwd`";
            self.problem(at, &path, message);
        }
        if tenant.is_none() {
            self.no_tenant(at, &path);
        }
        let rules = grants.len() + of_groups.iter().map(|g| g.len()).sum::<usize>();
        if rules > RULES_MAX {
            self.problem(at, &path, format!("has {rules} rules with those of its groups; at most {RULES_MAX}"));
        }
        Some(User { tenant: tenant?, hash: hash?, client_ids, grants, groups: of_groups, disabled })
    }

    fn no_tenant(&mut self, at: usize, path: &str) {
        let message = "has no tenant; give one here, or `tenant` for all in the plugin's configuration";
        self.problem(at, path, message);
    }

    /// One text or several.
    fn client_ids(&mut self, key: &str, value: &Value<'_>) -> ClientIds {
        if value.get_ref().is_str() {
            return ClientIds::Only(self.text(key, value).map(str::to_owned).into_iter().collect());
        }
        let mut only = Vec::new();
        for (n, item) in self.list(key, value).enumerate() {
            only.extend(self.text(&format!("{key}[{n}]"), item).map(str::to_owned));
        }
        if value.get_ref().as_array().is_some_and(|a| a.is_empty()) {
            self.problem(value.span().start, key, "is empty, so this user could not connect; leave it out for any");
        }
        ClientIds::Only(only)
    }

    fn groups_of(&mut self, key: &str, value: &Value<'_>, groups: &Groups<'_>) -> Vec<Arc<[Grant]>> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for (n, item) in self.list(key, value).enumerate() {
            let key = format!("{key}[{n}]");
            let Some(name) = self.text(&key, item) else { continue };
            match groups.get(name) {
                _ if !seen.insert(name) => self.problem(item.span().start, key, format!("{name:?} is there twice")),
                Some(grants) => found.push(grants.clone()),
                None => self.problem(item.span().start, key, format!("there is no group {name:?}")),
            }
        }
        found
    }

    fn grants(&mut self, key: &str, value: &Value<'_>) -> Vec<Grant> {
        let mut grants = Vec::new();
        for (n, item) in self.list(key, value).enumerate() {
            let key = format!("{key}[{n}]");
            let (at, mut unknown) = (item.span().start, Vec::new());
            let mut track = serde_path_to_error::Track::new();
            let tracked = serde_path_to_error::Deserializer::new(item.clone().into_deserializer(), &mut track);
            let config: Result<GrantConfig, toml::de::Error> =
                serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
            for name in unknown {
                self.problem(at, format!("{key}.{name}"), "there is no such key");
            }
            match config {
                Ok(config) => match config.grant() {
                    Ok(grant) if grant.effect == Effect::Ask => {
                        self.problem(at, key, "this provider answers no questions; give allow or deny instead of ask");
                    }
                    Ok(grant) => grants.push(grant),
                    Err(why) => self.problem(at, key, why),
                },
                Err(e) => {
                    let path = track.path().to_string();
                    let key = if path == "." { key } else { format!("{key}.{path}") };
                    self.problem(e.span().map_or(at, |s| s.start), key, e.message().replace('\n', ", "));
                }
            }
        }
        if grants.len() > RULES_MAX {
            self.problem(value.span().start, key, format!("has {} rules; at most {RULES_MAX}", grants.len()));
        }
        grants
    }

    fn anonymous(&mut self, name: &Name<'_>, value: &Value<'_>, users: &Users) -> Option<Anonymous> {
        let at = name.span().start;
        let mut tenant = self.tenant.map(str::to_owned);
        let (mut user, mut grants) = ("anonymous".to_owned(), Vec::new());
        for (key, value) in self.table("anonymous", value)? {
            let path = join("anonymous", key.get_ref());
            match &**key.get_ref() {
                "tenant" => tenant = Some(self.text(&path, value).unwrap_or_default().to_owned()),
                "user" => user = self.text(&path, value).unwrap_or_default().to_owned(),
                "grants" => grants = self.grants(&path, value),
                _ => self.unknown("anonymous", key, "tenant, user and grants"),
            }
        }
        let Some(tenant) = tenant else {
            self.no_tenant(at, "anonymous");
            return None;
        };
        // They would share sessions: anybody could take over that user's.
        if users.named.get(&user).is_some_and(|named| named.tenant == tenant) {
            self.problem(at, "anonymous.user", format!("{user:?} is a user of the same tenant; give it another name"));
        }
        Some(Anonymous { tenant, user, grants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::cheap;
    use gatemq_plugin_api::{Actions, AuthOutcome};

    /// Guards every key of the file, and the order of rules: the user's own, then its groups' as it names them.
    #[test]
    fn a_good_file_is_read_whole() {
        let hash = cheap("p");
        let text = format!(
            r##"
            anonymous.grants = [{{ allow = ["subscribe"], filter = "public/#" }}]
            [users.pump]
            password = "{hash}"
            groups = ["second", "first"]
            [[users.pump.grants]]
            deny = ["publish"]
            filter = "own/${{client_id}}"
            [users."j. doe"]
            password = "{hash}"
            tenant = "other"
            client_id = ["a", "b-*"]
            disabled = true
            [groups.first]
            grants = [{{ allow = ["all"], filter = "first/#", qos_max = 1 }}]
            [groups.second]
            grants = [{{ allow = ["all"], filter = "second/#" }}, {{ allow = ["will"], filter = "last" }}]
            "##
        );
        let users = parse(&text, Some("acme")).unwrap();
        assert_eq!((users.named.len(), users.groups), (2, 2));
        let pump = &users.named["pump"];
        let wanted = crate::users::Wanted { client_id: "c", assigned: false };
        let AuthOutcome::Accept(identity) = pump.admit("pump", &wanted) else { panic!("not accepted") };
        let filters: Vec<_> = identity.grants.iter().map(|g| g.filter.as_str()).collect();
        assert_eq!(filters, ["own/${client_id}", "second/#", "last", "first/#"]);
        assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("acme", "pump"));
        let doe = &users.named["j. doe"];
        assert_eq!(doe.client_ids, ClientIds::Only(vec!["a".into(), "b-*".into()]));
        assert!(doe.disabled && doe.tenant == "other");
        let anonymous = users.anonymous.unwrap();
        assert_eq!((anonymous.tenant.as_str(), anonymous.user.as_str()), ("acme", "anonymous"));
        assert_eq!(anonymous.grants, [Grant::allow(Actions::SUBSCRIBE, "public/#")]);
    }

    /// Guards that a client without user name is somebody only where the file says so.
    #[test]
    fn nobody_is_anonymous_unless_written() {
        assert_eq!(parse("", Some("acme")), Ok(Users::default()));
        assert!(parse("[anonymous]", Some("acme")).unwrap().anonymous.is_some());
    }

    /// Guards that each mistake is named with its line and key, and never passes.
    #[test]
    fn mistakes_are_named() {
        let hash = cheap("p");
        let user = format!("[users.u]\npassword = \"{hash}\"\n");
        for (more, says) in [
            ("tenant = \"\"", "3: users.u.tenant: is empty"),
            ("tenant = 3", "3: users.u.tenant: is of type integer; wanted a text"),
            ("grup = []", "3: users.u.grup: there is no such key"),
            ("groups = [\"g\"]", "3: users.u.groups[0]: there is no group \"g\""),
            ("groups = [\"h\", \"h\"]\n[groups.h]", "3: users.u.groups[1]: \"h\" is there twice"),
            ("groups = \"g\"", "3: users.u.groups: is of type string; wanted a list"),
            ("client_id = []", "3: users.u.client_id: is empty"),
            ("client_id = [\"\"]", "3: users.u.client_id[0]: is empty"),
            ("client_id = 1", "3: users.u.client_id: is of type integer"),
            ("disabled = \"no\"", "3: users.u.disabled: is of type string; wanted true or false"),
            ("grants = [\n{ allow = [\"publish\"] }]", "4: users.u.grants[0]: missing field `filter`"),
            ("grants = [{ filter = \"a\" }]", "3: users.u.grants[0]: grant on \"a\": give exactly one"),
            ("grants = [{ ask = [\"all\"], filter = \"a\" }]", "3: users.u.grants[0]: this provider answers no"),
            ("grants = [{ allow = [\"al\"], filter = \"a\" }]", "3: users.u.grants[0].allow[0]: unknown variant"),
            ("grants = [{ allow = [\"all\"], filter = \"a\", qos = 1 }]", "3: users.u.grants[0].qos: there is no such"),
            ("[users.v]", "3: users.v: has no password"),
            ("[users.v]\npassword = \"hunter2\"", "4: users.v.password: is not an argon2id hash"),
            ("[users.\"\"]\npassword = \"\"", "4: users.\"\".password: is empty"),
            ("[users]\nw = 1", "4: users.w: is of type integer; wanted a table"),
            ("[users.u]", "3: is not TOML: duplicate key"),
            ("[userss]", "3: userss: there is no such key"),
            ("[groups.g]\ngrant = []", "4: groups.g.grant: there is no such key"),
            ("[groups]\ng = 1", "4: groups.g: is of type integer; wanted a table"),
            ("[anonymous]\nuser = \"u\"", "3: anonymous.user: \"u\" is a user of the same tenant"),
            ("[anonymous]\npassword = \"x\"", "4: anonymous.password: there is no such key"),
            ("[anonymous", "3: is not TOML"),
        ] {
            let problems = parse(&format!("{user}{more}\n"), Some("acme")).unwrap_err();
            let said = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(said.contains(says) && !said.contains("hunter2") && !said.contains(&hash), "{more}: {said}");
        }
        assert!(parse(&user, Some("acme")).is_ok());
        let problems = parse(&format!("{user}[anonymous]\n"), None).unwrap_err();
        assert!(problems.len() == 2 && problems.iter().all(|p| p.message.starts_with("has no tenant")), "{problems:?}");
    }

    /// Guards that all problems of a file are told at once, in the order of its lines.
    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[users.b]\npassword = \"x\"\nx = 1\n[users.a]\ngroups = [\"g\"]\n[groups.h]\ngrants = 1\n";
        let problems = parse(text, Some("t")).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 7], "{problems:?}");
    }

    /// Guards the bound of the broker on lists of rules: past it the user could never connect.
    #[test]
    fn rules_are_bounded_over_all_groups() {
        let rules = |n: usize| format!("grants = [{}]\n", "{ allow = [\"all\"], filter = \"a\" },".repeat(n));
        let file = |n| {
            let (own, group) = (rules(1), rules(n));
            format!("[users.u]\npassword = \"{}\"\ngroups = [\"g\"]\n{own}[groups.g]\n{group}", cheap("p"))
        };
        assert!(parse(&file(RULES_MAX - 1), Some("t")).is_ok());
        assert!(parse(&file(RULES_MAX), Some("t")).is_err());
    }
}
