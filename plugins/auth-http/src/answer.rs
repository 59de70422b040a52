//! What the server answers: JSON texts, taken whole or not at all. `README.md` shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use gatemq_plugin_api::config::{ExclusiveName, GrantConfig};
use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{Expiry, Limits, NoMatch};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longest time that a verdict is kept, whatever its server says.
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters that are told of a text of the server's.
const TOLD_MAX: usize = 512;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Allow,
    Deny,
    Next,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
enum Otherwise {
    #[default]
    Deny,
    Ask,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
enum Over {
    #[default]
    Disconnect,
    Refresh,
}

/// To `authenticate` and `refresh`.
#[derive(Deserialize)]
struct Who {
    result: Decision,
    tenant: Option<String>,
    user: Option<String>,
    client_id: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    grants: Vec<GrantConfig>,
    #[serde(default)]
    no_match: Otherwise,
    #[serde(default)]
    valid_until_s: u64,
    #[serde(default)]
    on_expiry: Over,
    #[serde(default)]
    limits: BTreeMap<String, u64>,
    #[serde(default)]
    exclusive: ExclusiveName,
    #[serde(default)]
    tags: Vec<String>,
    code: Option<u8>,
    reason: Option<String>,
    reason_string: Option<String>,
}

/// To `authorize`.
#[derive(Deserialize)]
struct May {
    result: Decision,
    qos_max: Option<u8>,
    ttl_s: Option<u64>,
    code: Option<u8>,
    reason: Option<String>,
    reason_string: Option<String>,
    #[serde(default)]
    disconnect: bool,
}

/// A whole JSON text with known names only.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let mut unknown = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_ignored::deserialize(&mut json, |path| unknown.push(path.to_string()));
    // What serde says may hold values.
    let parsed = parsed.and_then(|parsed| json.end().map(|()| parsed));
    match (parsed, unknown.first()) {
        (Ok(parsed), None) => Ok(parsed),
        (Ok(_), Some(name)) => Err(short(format!("it has {name:?}, which is not known"))),
        (Err(e), _) if e.to_string().starts_with("missing field") => Err(e.to_string()),
        (Err(e), _) if e.is_data() => {
            Err(format!("it has a value that was not wanted (line {}, column {})", e.line(), e.column()))
        }
        (Err(_), _) => Err("it is no JSON of the wanted form".into()),
    }
}

/// What the answer about a client comes to. `tenant` is that of identities that name none.
///
/// # Errors
/// It is no such answer: nobody is admitted.
pub(crate) fn who(body: &[u8], tenant: Option<&str>) -> Result<AuthOutcome, String> {
    let who: Who = parse(body)?;
    match who.result {
        Decision::Next => Ok(AuthOutcome::Next),
        Decision::Deny => Ok(AuthOutcome::Reject {
            code: refusal(who.code)?,
            reason: reason(who.reason),
            reason_string: who.reason_string,
            delay: Duration::ZERO,
        }),
        Decision::Allow => who.identity(tenant).map(AuthOutcome::accept).map_err(short),
    }
}

impl Who {
    fn identity(self, tenant: Option<&str>) -> Result<Identity, String> {
        let wanted = |text: Option<String>, name: &str| match text {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(format!("it allows, and has no {name}")),
        };
        let tenant = wanted(self.tenant.or(tenant.map(str::to_owned)), "tenant")?;
        let user = wanted(self.user, "user")?;
        if self.client_id.as_deref() == Some("") {
            return Err("its client_id is empty".into());
        }
        let mut limits = Limits::default();
        for (name, value) in &self.limits {
            if !limits.set_named(name, *value) {
                return Err(format!("it has \"limits.{name}\", which is not known"));
            }
        }
        let valid_until_ms = self.valid_until_s.checked_mul(1000).ok_or("its valid_until_s is no time")?;
        Ok(Identity {
            attributes: self.attributes.into_iter().collect(),
            client_id: self.client_id,
            no_match: match self.no_match {
                Otherwise::Deny => NoMatch::Deny,
                Otherwise::Ask => NoMatch::Ask,
            },
            valid_until_ms,
            on_expiry: match self.on_expiry {
                Over::Disconnect => Expiry::Disconnect,
                Over::Refresh => Expiry::Refresh,
            },
            limits,
            exclusive: self.exclusive.into(),
            tags: self.tags,
            ..Identity::new(tenant, user)
                .with_grants(self.grants.iter().map(GrantConfig::grant).collect::<Result<Vec<_>, _>>()?)
        })
    }
}

/// What the answer about an action comes to. `max_age` is how long it may be kept where it does not say itself.
///
/// # Errors
/// It is no such answer: nothing is granted.
pub(crate) fn may(body: &[u8], max_age: Option<Duration>) -> Result<Verdict, String> {
    let may: May = parse(body)?;
    let ttl = may.ttl_s.map(Duration::from_secs).or(max_age).unwrap_or_default().min(TTL_MAX);
    match may.result {
        Decision::Next => Ok(Verdict::Next),
        Decision::Deny => {
            let (code, reason) = (refusal(may.code)?, reason(may.reason));
            Ok(Verdict::Deny { code, reason, reason_string: may.reason_string, disconnect: may.disconnect, ttl })
        }
        Decision::Allow => {
            let qos_max = match may.qos_max {
                None => QoS::ExactlyOnce,
                Some(bits) => QoS::from_bits(bits).ok_or("its qos_max is not 0, 1 or 2")?,
            };
            Ok(Verdict::Allow { ttl, qos_max })
        }
    }
}

fn refusal(code: Option<u8>) -> Result<ReasonCode, String> {
    let code = code.map_or(ReasonCode::NOT_AUTHORIZED, ReasonCode);
    if code.is_failure() { Ok(code) } else { Err(format!("it denies with code {}, which is none of failure", code.0)) }
}

fn reason(reason: Option<String>) -> String {
    short(reason.unwrap_or_else(|| "the server denies it".into()))
}

/// What may go into a log, however much the server wrote.
fn short(text: String) -> String {
    if text.len() > TOLD_MAX { text.chars().take(TOLD_MAX).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatemq_plugin_api::{Constraints, Exclusive};
    use serde_json::json;

    /// Guards that all of an answer gets into the identity.
    #[test]
    fn an_answer_becomes_an_identity() {
        let body = json!({
            "result": "allow", "tenant": "t", "user": "u", "client_id": "c", "attributes": {"site": "north"},
            "grants": [{"deny": ["publish"], "filter": "a"}, {"allow": ["all"], "filter": "#", "qos_max": 1}],
            "no_match": "ask", "valid_until_s": 2_000_000_000, "on_expiry": "refresh", "limits": {"receive_max": 7},
            "exclusive": "user", "tags": ["fleet"],
        });
        let found = who(body.to_string().as_bytes(), Some("other")).unwrap();
        let qos_max = Constraints { qos_max: QoS::AtLeastOnce, ..Constraints::default() };
        let grants =
            [Grant::deny(Actions::PUBLISH, "a"), Grant { constraints: qos_max, ..Grant::allow(Actions::ALL, "#") }];
        let wanted = Identity {
            client_id: Some("c".into()),
            attributes: vec![("site".into(), "north".into())],
            no_match: NoMatch::Ask,
            valid_until_ms: 2_000_000_000_000,
            on_expiry: Expiry::Refresh,
            limits: Limits { receive_max: Some(7), ..Limits::default() },
            exclusive: Exclusive::User,
            tags: vec!["fleet".into()],
            ..Identity::new("t", "u").with_grants(grants)
        };
        assert_eq!(found, AuthOutcome::accept(wanted));
        let bare = who(br#"{"result": "allow", "user": "u"}"#, Some("t")).unwrap();
        assert_eq!(bare, AuthOutcome::accept(Identity::new("t", "u")));
    }

    /// Promise 1: what is not exactly an answer is none, however near it comes; each stands beside one that is.
    #[test]
    fn promise_1_what_is_no_answer_admits_nobody() {
        let good = r#"{"result": "allow", "tenant": "t", "user": "u"}"#;
        assert!(matches!(who(good.as_bytes(), None), Ok(AuthOutcome::Accept(_))));
        for (body, says) in [
            ("", "no JSON"),
            ("<html>", "no JSON"),
            (&good[..good.len() - 1], "no JSON"),
            (&format!("{good}{good}"), "no JSON"),
            (&format!("{good} x"), "no JSON"),
            ("[]", "not wanted"),
            ("true", "not wanted"),
            ("null", "not wanted"),
            ("{}", "missing field `result`"),
            (r#"{"allow": true}"#, "missing field `result`"),
            (r#"{"result": "Allow", "tenant": "t", "user": "u"}"#, "not wanted"),
            (r#"{"result": "ok", "tenant": "t", "user": "u"}"#, "not wanted"),
            (r#"{"result": true, "tenant": "t", "user": "u"}"#, "no JSON"),
            (r#"{"result": "deny", "result": "allow", "tenant": "t", "user": "u"}"#, "not wanted"),
            (r#"{"result": "allow", "user": "u"}"#, "no tenant"),
            (r#"{"result": "allow", "tenant": "", "user": "u"}"#, "no tenant"),
            (r#"{"result": "allow", "tenant": "t"}"#, "no user"),
            (r#"{"result": "allow", "tenant": "t", "user": ""}"#, "no user"),
            (r#"{"result": "allow", "tenant": "t", "user": 7}"#, "not wanted"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "client_id": ""}"#, "client_id"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "grant": []}"#, "\"grant\", which is not known"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "limits": {"x": 1}}"#, "limits.x"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "limits": {"qos_max": -1}}"#, "not wanted"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "valid_until_s": -1}"#, "not wanted"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "valid_until_s": 18446744073709551615}"#, "no time"),
            (r#"{"result": "allow", "tenant": "t", "user": "u", "grants": [{"filter": "a"}]}"#, "exactly one"),
            (
                r##"{"result": "allow", "tenant": "t", "user": "u", "grants": [{"allow": ["all"], "filter": "#", "qos": 0}]}"##,
                "grants.0.qos",
            ),
            (r#"{"result": "deny", "code": 0}"#, "none of failure"),
        ] {
            let why = who(body.as_bytes(), None).expect_err(body);
            assert!(why.contains(says), "{body}: {why}");
        }
        assert_eq!(who(br#"{"result": "next"}"#, None), Ok(AuthOutcome::Next));
        let denied = who(br#"{"result": "deny", "code": 134, "reason": "r", "reason_string": "s"}"#, None).unwrap();
        let AuthOutcome::Reject { code, reason, reason_string, .. } = denied else { panic!("{denied:?}") };
        assert_eq!((code.0, reason.as_str(), reason_string.as_deref()), (134, "r", Some("s")));
    }

    /// Guards verdicts, and how long they are kept: as the text says, or else its Cache-Control, or not at all.
    #[test]
    fn an_answer_becomes_a_verdict() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let allow = |ttl, qos_max| Verdict::Allow { ttl, qos_max };
        for (body, max_age, wanted) in [
            (r#"{"result": "allow"}"#, None, allow(Duration::ZERO, QoS::ExactlyOnce)),
            (r#"{"result": "allow"}"#, Some(minute), allow(minute, QoS::ExactlyOnce)),
            (r#"{"result": "allow", "ttl_s": 1, "qos_max": 1}"#, Some(minute), allow(second, QoS::AtLeastOnce)),
            (r#"{"result": "allow", "ttl_s": 0}"#, Some(minute), allow(Duration::ZERO, QoS::ExactlyOnce)),
            (r#"{"result": "allow", "ttl_s": 9999999}"#, None, allow(TTL_MAX, QoS::ExactlyOnce)),
            (r#"{"result": "next"}"#, Some(minute), Verdict::Next),
        ] {
            assert_eq!(may(body.as_bytes(), max_age), Ok(wanted), "{body}");
        }
        let denied = may(
            br#"{"result": "deny", "code": 151, "reason": "r", "reason_string": "s", "disconnect": true}"#,
            Some(minute),
        )
        .unwrap();
        let (code, reason, reason_string) = (ReasonCode(151), "r".into(), Some("s".into()));
        let wanted = Verdict::Deny { code, reason, reason_string, disconnect: true, ttl: minute };
        assert_eq!(denied, wanted);
        for body in ["", "{}", r#"{"result": "allow", "qos_max": 3}"#, r#"{"result": "allow", "user": "u"}"#] {
            assert!(may(body.as_bytes(), Some(minute)).is_err(), "{body}");
        }
    }
}
