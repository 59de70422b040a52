//! The configuration, and what of it makes sense.

use std::path::PathBuf;

use gatemq_plugin_api::config::GrantConfig;
use gatemq_plugin_api::prelude::*;
use gatemq_plugin_http::Server;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use crate::template::{Template, rewrite};
use crate::token::TokenFrom;

/// Longest leeway, in seconds.
const LEEWAY_S_MAX: u64 = 600;
/// Longest time between two looks at the keys, and longest time that keys may be used without one that succeeds.
const REFRESH_S_MAX: u64 = 24 * 60 * 60;
const KEYS_AGE_S_MAX: u64 = 30 * 24 * 60 * 60;

/// See `README.md`.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
pub(crate) struct Config {
    pub(crate) iss: Vec<String>,
    pub(crate) aud: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) keys_file: Option<PathBuf>,
    pub(crate) keys_server: Option<Server>,
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) refresh_s: Option<u64>,
    #[serde(default = "default_keys_age_s_max")]
    pub(crate) keys_age_s_max: u64,
    #[serde(default)]
    token_from: TokenFrom,
    #[serde(default = "default_auth_method")]
    auth_method: String,
    #[serde(default = "default_leeway_s")]
    leeway_s: u64,
    #[serde(default = "default_exp_required")]
    exp_required: bool,
    tenant: String,
    #[serde(default = "default_user")]
    user: String,
    client_id: Option<String>,
    #[serde(default)]
    grants: Vec<GrantConfig>,
    groups_claim: Option<String>,
    #[serde(default)]
    groups: Vec<GroupConfig>,
}

#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
struct GroupConfig {
    name: String,
    grants: Vec<GrantConfig>,
}

fn default_keys_age_s_max() -> u64 {
    24 * 60 * 60
}

fn default_auth_method() -> String {
    "JWT".into()
}

fn default_leeway_s() -> u64 {
    30
}

fn default_exp_required() -> bool {
    true
}

fn default_user() -> String {
    "${claim.sub}".into()
}

/// Whom a token makes of a client.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) iss: Vec<String>,
    pub(crate) aud: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) token_from: TokenFrom,
    pub(crate) auth_method: String,
    pub(crate) leeway_s: u64,
    pub(crate) exp_required: bool,
    pub(crate) tenant: Template,
    pub(crate) user: Template,
    pub(crate) client_id: Option<Template>,
    /// Everybody's, walked first.
    pub(crate) grants: Vec<Grant>,
    pub(crate) groups_claim: Option<String>,
    /// Those of groups by their names, in the order in which they are walked.
    pub(crate) groups: Vec<(String, Vec<Grant>)>,
    /// Claims that the grants name.
    pub(crate) claims: Vec<String>,
}

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn of<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|e| self.0.push(format!("{key}: {e}"))).ok()
    }

    fn unless(&mut self, good: bool, problem: impl Into<String>) {
        if !good {
            self.0.push(problem.into());
        }
    }
}

impl Config {
    /// # Errors
    /// Every problem, a line each. Files are not looked at.
    pub(crate) fn check(&self) -> Result<Rules, String> {
        let mut problems = Problems::default();
        self.check_values(&mut problems);
        self.check_keys(&mut problems);
        let mut claims = Vec::new();
        let grants = grants("grants", &self.grants, &mut claims, &mut problems);
        let groups = self.groups.iter().map(|group| {
            let key = format!("groups {:?}", group.name);
            (group.name.clone(), self::grants(&key, &group.grants, &mut claims, &mut problems))
        });
        let groups = groups.collect();
        let tenant = problems.of("tenant", Template::new(&self.tenant));
        let user = problems.of("user", Template::new(&self.user));
        let client_id = problems.of("client_id", self.client_id.as_deref().map(Template::new).transpose());
        match (tenant, user, client_id) {
            (Some(tenant), Some(user), Some(client_id)) if problems.0.is_empty() => Ok(Rules {
                iss: self.iss.clone(),
                aud: self.aud.clone(),
                algorithms: self.algorithms.clone(),
                token_from: self.token_from.clone(),
                auth_method: self.auth_method.clone(),
                leeway_s: self.leeway_s,
                exp_required: self.exp_required,
                tenant,
                user,
                client_id,
                grants,
                groups_claim: self.groups_claim.clone(),
                groups,
                claims,
            }),
            _ => Err(problems.0.join("\n")),
        }
    }

    fn check_values(&self, problems: &mut Problems) {
        for (key, list) in [("iss", &self.iss), ("aud", &self.aud)] {
            let good = !list.is_empty() && list.iter().all(|text| !text.is_empty());
            problems.unless(good, format!("{key}: wanted at least one text, none of them empty"));
        }
        let at_most = |value: u64, max: u64| value <= max;
        problems.unless(at_most(self.leeway_s, LEEWAY_S_MAX), format!("leeway_s: at most {LEEWAY_S_MAX}"));
        let refresh = self.refresh_s.is_none_or(|s| (1..=REFRESH_S_MAX).contains(&s));
        problems.unless(refresh, format!("refresh_s: wanted 1 to {REFRESH_S_MAX}"));
        let age = (1..=KEYS_AGE_S_MAX).contains(&self.keys_age_s_max);
        problems.unless(age, format!("keys_age_s_max: wanted 1 to {KEYS_AGE_S_MAX}"));
        problems.unless(!self.auth_method.is_empty(), "auth_method: is empty");
        let named = self.token_from != TokenFrom::UserProperty(String::new());
        problems.unless(named, "token_from: the user property has no name");
        let granted = !self.grants.is_empty() || !self.groups.is_empty();
        problems.unless(granted, "grants: there are none, nor groups, so nobody could do anything");
        let claimed = self.groups_claim.as_deref().is_some_and(|claim| !claim.is_empty());
        problems.unless(claimed != self.groups.is_empty(), "groups: give groups and groups_claim, or neither");
    }

    /// Shared secrets and public keys are never there together, so that a public key cannot be taken for a secret.
    fn check_keys(&self, problems: &mut Problems) {
        let shared = |algorithm: &Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
        let (hs, public): (Vec<_>, Vec<_>) = self.algorithms.iter().copied().partition(shared);
        problems.unless(!self.algorithms.is_empty(), "algorithms: wanted at least one, such as \"ES256\"");
        let sources =
            [self.keys_file.is_some(), self.keys_server.is_some(), self.secret_file.is_some()].map(usize::from);
        problems.unless(
            sources.iter().sum::<usize>() == 1,
            "keys_file, keys_server, secret_file: give exactly one of them",
        );
        match self.secret_file {
            Some(_) => problems.unless(
                public.is_empty(),
                format!("algorithms: {public:?} need public keys (keys_file or keys_server), not secret_file"),
            ),
            None => problems.unless(
                hs.is_empty(),
                format!("algorithms: {hs:?} need a shared secret (secret_file), not public keys"),
            ),
        }
        problems.unless(
            self.secret_file.is_none() || self.refresh_s.is_none(),
            "refresh_s: is for keys_file and keys_server",
        );
    }
}

fn grants(key: &str, written: &[GrantConfig], claims: &mut Vec<String>, problems: &mut Problems) -> Vec<Grant> {
    let grant = |written: &GrantConfig, claims: &mut Vec<String>| {
        let mut grant = written.grant()?;
        if grant.effect == Effect::Ask {
            return Err(format!("grant on {:?}: this plugin answers no questions; give allow or deny", grant.filter));
        }
        grant.filter = rewrite(&grant.filter, claims)?;
        Ok(grant)
    };
    let made = written.iter().filter_map(|written| problems.of(key, grant(written, claims)));
    made.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn config(change: Value) -> Result<Config, serde_json::Error> {
        let mut config = json!({
            "iss": ["i", "i2"], "aud": ["a", "a2"], "algorithms": ["ES256"], "keys_file": "/keys", "tenant": "t",
            "grants": [{"allow": ["all"], "filter": "u/${user}/#"}],
        });
        for (key, value) in change.as_object().unwrap() {
            match value.is_null() {
                true => config.as_object_mut().unwrap().remove(key),
                false => config.as_object_mut().unwrap().insert(key.clone(), value.clone()),
            };
        }
        serde_json::from_value(config)
    }

    /// Rules for issuers `i` and `i2`, audiences `a` and `a2`.
    pub(crate) fn rules(change: Value) -> Rules {
        config(change).unwrap().check().unwrap()
    }

    /// Promise 1: a configuration that leaves open whose tokens are believed, for whom they are, or how they are signed, does
    /// not start; nor does one that mixes shared secrets with public keys. Each stands beside one that does.
    #[test]
    fn promise_1_what_is_believed_must_be_said() {
        let grant = |effect: &str| json!([{effect: ["all"], "filter": "a/${claim.x}"}]);
        for (wrong, says, right) in [
            (json!({"iss": null}), "iss", json!({})),
            (json!({"iss": []}), "iss: wanted", json!({"iss": ["x"]})),
            (json!({"iss": [""]}), "iss: wanted", json!({"iss": ["x"]})),
            (json!({"aud": null}), "aud", json!({})),
            (json!({"aud": []}), "aud: wanted", json!({"aud": ["x"]})),
            (json!({"algorithms": null}), "algorithms", json!({})),
            (json!({"algorithms": []}), "algorithms: wanted", json!({"algorithms": ["RS256", "EdDSA"]})),
            (json!({"algorithms": ["none"]}), "unknown variant `none`", json!({"algorithms": ["PS512"]})),
            (json!({"algorithms": ["ES256", "HS256"]}), "[HS256] need a shared secret", json!({})),
            (
                json!({"secret_file": "/s", "keys_file": null}),
                "[ES256] need public keys",
                json!({"secret_file": "/s", "keys_file": null, "algorithms": ["HS256"]}),
            ),
            (json!({"secret_file": "/s"}), "exactly one", json!({})),
            (json!({"keys_file": null}), "exactly one", json!({"keys_file": null, "keys_server": {"url": "x"}})),
            (json!({"tenant": null}), "tenant", json!({"tenant": "${claim.org}"})),
            (json!({"tenant": "${org}"}), "tenant: ", json!({"tenant": "a-${claim.org}"})),
            (json!({"user": ""}), "user: is empty", json!({"user": "${claim.email}"})),
            (json!({"client_id": "${claim.}"}), "client_id: ", json!({"client_id": "${claim.device}"})),
            (json!({"grants": grant("ask")}), "answers no questions", json!({"grants": grant("deny")})),
            (json!({"grants": []}), "grants: there are none", json!({})),
            (json!({"groups_claim": "g"}), "groups: give", json!({})),
            (
                json!({"groups": [{"name": "x", "grants": []}]}),
                "groups: give",
                json!({"groups": [{"name": "x", "grants": []}], "groups_claim": "g"}),
            ),
            (json!({"leeway_s": 601}), "leeway_s", json!({"leeway_s": 600})),
            (json!({"refresh_s": 0}), "refresh_s", json!({"refresh_s": 1})),
            (json!({"keys_age_s_max": 0}), "keys_age_s_max", json!({"keys_age_s_max": 1})),
            (json!({"token_from": {"user_property": ""}}), "token_from", json!({"token_from": "auth_data"})),
            (json!({"token_from": "cookie"}), "unknown variant", json!({"token_from": {"user_property": "jwt"}})),
        ] {
            let why = match config(wrong.clone()) {
                Ok(config) => config.check().expect_err(&wrong.to_string()),
                Err(e) => e.to_string(),
            };
            assert!(why.contains(says), "{wrong}: {why}");
            rules(right);
        }
    }

    /// Guards that the example of `README.md` works as it stands, and that the table there names each of its keys and no other.
    #[test]
    fn the_example_works() {
        let readme = include_str!("../README.md");
        let (_, example) = readme.split_once("```toml\n").unwrap();
        let example: toml::Table = example.split_once("```").unwrap().0.parse().unwrap();
        let example = serde_json::to_value(&example["plugins"]["tokens"]["config"]).unwrap();
        let rules = serde_json::from_value::<Config>(example.clone()).unwrap().check().unwrap();
        assert_eq!((rules.grants.len(), rules.groups.len(), rules.claims.as_slice()), (3, 1, &["site".to_owned()][..]));
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let named: Vec<&str> = rows.map(|(key, _)| key).collect();
        for key in example.as_object().unwrap().keys() {
            assert!(named.contains(&key.as_str()), "{key} is not in the table");
        }
        for key in named.iter().filter(|key| !["keys_file", "secret_file"].contains(key)) {
            assert!(!example[key].is_null(), "{key} is not in the example");
        }
    }
}
