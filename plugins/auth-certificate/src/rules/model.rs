//! Rules against a model that reads them as the README says: condition by condition, first rule first.

use gatemq_plugin_api::Certificate;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Values of names, few and alike, so that patterns hit and miss them.
const VALUES: &[&str] = &["a", "b", "ab", "a.b", "A", "a/b", "a@b", "", "CN=a, O=b"];
const PATTERNS: &[&str] = &["a", "*", "a*", "*b", "*.b", "a/*", "*@b", "CN=*, O=b", "b"];
const KEYS: &[&str] = &[
    "tenant",
    "listener",
    "subject",
    "issuer",
    "common_name",
    "organization",
    "organizational_unit",
    "san_dns",
    "san_uri",
    "san_email",
];
const USERS: &[&str] = &["${cert.cn}", "${cert.o}", "u-${cert.san.dns}", "${tenant}", "fix"];

/// Conditions, each a key and a pattern, and the user of who is admitted; `None` refuses.
#[derive(Clone, Debug)]
struct Written {
    conditions: Vec<(&'static str, &'static str)>,
    user: Option<&'static str>,
}

fn written() -> impl Strategy<Value = Written> {
    let conditions = subsequence(KEYS, 0..4).prop_flat_map(|keys| {
        let patterns = prop::collection::vec(select(PATTERNS), keys.len());
        patterns.prop_map(move |patterns| keys.iter().copied().zip(patterns).collect::<Vec<_>>())
    });
    (conditions, prop::option::of(select(USERS))).prop_map(|(mut conditions, user)| {
        // A tenant is no pattern.
        conditions.iter_mut().filter(|(key, _)| *key == "tenant").for_each(|(_, value)| *value = "b");
        Written { conditions, user }
    })
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(select(VALUES).prop_map(str::to_owned), 0..3)
}

fn certificate() -> impl Strategy<Value = Certificate> {
    let one = || select(VALUES).prop_map(str::to_owned);
    ((one(), one()), [names(), names(), names()], [names(), names(), names()]).prop_map(|(whole, subject, san)| {
        let ((subject_text, issuer), [cn, o, ou], [dns, uri, email]) = (whole, subject, san);
        Certificate {
            subject: subject_text,
            issuer,
            common_names: cn,
            organizations: o,
            organizational_units: ou,
            san_dns: dns,
            san_uri: uri,
            san_email: email,
            ..Certificate::default()
        }
    })
}

/// Whether a pattern matches, by its definition: each `*` takes any number of characters that do not end its part.
fn is_like(ends: &str, pattern: &str, text: &str) -> bool {
    fn walk(ends: &str, pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], rest) => rest.is_empty(),
            (['*', rest @ ..], _) if walk(ends, rest, text) => true,
            (['*', ..], [c, after @ ..]) => !ends.contains(*c) && walk(ends, pattern, after),
            ([p, rest @ ..], [c, after @ ..]) => p == c && walk(ends, rest, after),
            _ => false,
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    !text.is_empty() && walk(ends, &chars(pattern), &chars(text))
}

fn holds(key: &str, pattern: &str, tenant: &str, c: &Certificate) -> bool {
    let only = |values: &[String]| values.len() == 1 && is_like("", pattern, &values[0]);
    let any = |ends: &str, values: &[String]| values.iter().any(|value| is_like(ends, pattern, value));
    match key {
        "tenant" => pattern == tenant,
        "listener" => is_like("", pattern, "ab"),
        "subject" => is_like(",+\\", pattern, &c.subject),
        "issuer" => is_like(",+\\", pattern, &c.issuer),
        "common_name" => only(&c.common_names),
        "organization" => only(&c.organizations),
        "organizational_unit" => only(&c.organizational_units),
        // Case does not matter in names of hosts (RFC 4343).
        "san_dns" => c.san_dns.iter().any(|name| is_like(".", &pattern.to_lowercase(), &name.to_lowercase())),
        "san_uri" => any("/?#", &c.san_uri),
        "san_email" => any("@", &c.san_email),
        other => panic!("{other} is no condition"),
    }
}

/// The user, or `Err`: the client is refused.
fn expected(rules: &[Written], tenant: &str, c: &Certificate) -> Result<String, ()> {
    let of = |rule: &&Written| rule.conditions.iter().all(|(key, pattern)| holds(key, pattern, tenant, c));
    let only = |values: &[String], before: &str| match values {
        [one] if !one.is_empty() => Ok(format!("{before}{one}")),
        _ => Err(()),
    };
    match rules.iter().find(of).and_then(|rule| rule.user).ok_or(())? {
        "${cert.cn}" => only(&c.common_names, ""),
        "${cert.o}" => only(&c.organizations, ""),
        "u-${cert.san.dns}" => only(&c.san_dns, "u-"),
        "${tenant}" => Ok(tenant.into()),
        fixed => Ok(fixed.into()),
    }
}

proptest! {
    /// Promise 1: whatever the rules and the certificate, the client becomes who the first rule that holds says, or nobody.
    #[test]
    fn promise_1_rules_do_what_is_written(
        rules in prop::collection::vec(written(), 1..5),
        certificate in certificate(),
        tenant in select(&["a", "b"][..]),
    ) {
        let anchors = crate::anchors::Anchors::of(&[([0; 32], "a"), ([1; 32], "b")]);
        let made = rules.iter().enumerate().map(|(n, rule)| {
            let mut json = serde_json::Map::new();
            json.extend(rule.conditions.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
            match rule.user {
                None => json.insert("reject".into(), true.into()),
                Some(user) => {
                    json.insert("grants".into(), serde_json::json!([{"allow": ["all"], "filter": "#"}]));
                    json.insert("user".into(), user.into())
                }
            };
            Rule::new(n + 1, serde_json::from_value(json.into()).unwrap(), &anchors).unwrap()
        });
        let made: Vec<Rule> = made.collect();
        let shown = Shown {
            tenant,
            anchor: [0; 32],
            listener: "ab",
            client_id: "c",
            client_id_assigned: false,
            certificate: &certificate,
            fingerprint: [0; 32],
            spki: [0; 32],
            valid_until_ms: 1,
            now_ms: 0,
        };
        let found = match made.iter().find(|rule| rule.matches(&shown)).map(|rule| rule.apply(&shown, Vec::new())) {
            Some(AuthOutcome::Accept(identity)) => {
                prop_assert_eq!(&identity.tenant, tenant);
                Ok(identity.user)
            }
            _ => Err(()),
        };
        prop_assert_eq!(found, expected(&rules, tenant, &certificate));
    }
}
