//! What a token whose signature is good must say: who made it, for whom, and for what time (RFC 7519, 4.1).

use serde_json::Value;

use crate::config::Rules;
use crate::template::Claims;

/// Until when the token is good, in milliseconds since 1970; 0: for ever. `leeway_s` counts: clocks may be apart.
///
/// # Errors
/// Why it is not good now.
pub(crate) fn check(claims: &Claims, rules: &Rules, now_ms: u64) -> Result<u64, &'static str> {
    let one_of = |list: &[String], value: &Value| value.as_str().is_some_and(|v| list.iter().any(|good| good == v));
    match claims.get("iss") {
        Some(iss) if one_of(&rules.iss, iss) => {}
        Some(_) => return Err("its issuer (iss) is not one that is believed"),
        None => return Err("it has no issuer (iss)"),
    }
    match claims.get("aud") {
        Some(Value::Array(list)) if list.iter().any(|aud| one_of(&rules.aud, aud)) => {}
        Some(aud) if one_of(&rules.aud, aud) => {}
        Some(_) => return Err("it is for somebody else (aud)"),
        None => return Err("it does not say for whom it is (aud)"),
    }
    if let Some(nbf) = claims.get("nbf") {
        let nbf_s = seconds(nbf).ok_or("its nbf is no time")?;
        if nbf_s.saturating_sub(rules.leeway_s) > now_ms / 1000 {
            return Err("it is not good yet (nbf)");
        }
    }
    let Some(exp) = claims.get("exp") else {
        return if rules.exp_required { Err("it does not say until when it is good (exp)") } else { Ok(0) };
    };
    let exp_s = seconds(exp).ok_or("its exp is no time")?;
    let until_ms = exp_s.saturating_add(rules.leeway_s).saturating_mul(1000);
    if until_ms <= now_ms { Err("its time is over (exp)") } else { Ok(until_ms) }
}

/// Seconds since 1970; fractions are cut off.
fn seconds(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|s| s.is_finite() && *s >= 0.0).map(|s| s as u64);
    value.as_u64().or_else(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::rules;
    use serde_json::json;

    /// Promise 1: a token of another issuer, for somebody else, too old, too young, or that does not say, is good for nobody;
    /// each stands beside the one claim that makes it good.
    #[test]
    fn promise_1_claims_are_checked() {
        let rules = rules(json!({"leeway_s": 10}));
        let lax = self::rules(json!({"leeway_s": 10, "exp_required": false}));
        let now_ms = 1_000_000_500;
        let good = json!({"iss": "i", "aud": "a", "exp": 1_000_100});
        let checked = |change: Value, rules: &Rules| {
            let mut claims = good.as_object().unwrap().clone();
            for (name, value) in change.as_object().unwrap() {
                match value.is_null() {
                    true => claims.remove(name),
                    false => claims.insert(name.clone(), value.clone()),
                };
            }
            check(&claims, rules, now_ms)
        };
        for (change, wanted) in [
            (json!({}), Ok(1_000_110_000)),
            (json!({"aud": ["x", "a"]}), Ok(1_000_110_000)),
            (json!({"iss": "i2", "aud": "a2"}), Ok(1_000_110_000)),
            (json!({"exp": 1_000_100.9}), Ok(1_000_110_000)),
            (json!({"exp": 999_991}), Ok(1_000_001_000)),
            (json!({"exp": 1e300}), Ok(u64::MAX)),
            (json!({"nbf": 1_000_010}), Ok(1_000_110_000)),
            (json!({"iss": "x"}), Err("issuer")),
            (json!({"iss": ["i"]}), Err("issuer")),
            (json!({"iss": null}), Err("no issuer")),
            (json!({"aud": "x"}), Err("somebody else")),
            (json!({"aud": []}), Err("somebody else")),
            (json!({"aud": {"a": "a"}}), Err("somebody else")),
            (json!({"aud": null}), Err("for whom")),
            (json!({"exp": 999_990}), Err("over")),
            (json!({"exp": 0}), Err("over")),
            (json!({"exp": "1000100"}), Err("no time")),
            (json!({"exp": -1}), Err("no time")),
            (json!({"exp": null}), Err("until when")),
            (json!({"nbf": 1_000_011}), Err("not good yet")),
            (json!({"nbf": "0"}), Err("no time")),
        ] {
            match (checked(change.clone(), &rules), wanted) {
                (Ok(until_ms), Ok(wanted)) => assert_eq!(until_ms, wanted, "{change}"),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{change}: {why}"),
                (other, _) => panic!("{change}: {other:?}"),
            }
        }
        assert_eq!(checked(json!({"exp": null}), &lax), Ok(0));
        assert!(checked(json!({"exp": 1}), &lax).is_err(), "where it says until when, that counts");
    }
}
