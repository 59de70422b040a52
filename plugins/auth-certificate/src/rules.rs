//! Rules: which certificate is who.

use gatemq_plugin_api::config::{GrantConfig, glob};
use gatemq_plugin_api::prelude::*;

/// A rule as it is written. Conditions that are given must all hold; in them `*` stands for any text.
#[derive(Deserialize, Default)]
#[serde(crate = "gatemq_plugin_api::serde", default)]
pub(crate) struct RuleConfig {
    /// Tenant of the anchor.
    tenant: Option<String>,
    /// Whole subject, in the form `CN=sensor-1, O=Acme`.
    subject: Option<String>,
    /// Common name (there must be exactly one).
    common_name: Option<String>,
    /// One of the DNS names.
    san_dns: Option<String>,
    /// One of the URIs.
    san_uri: Option<String>,
    /// One of the mail addresses.
    san_email: Option<String>,
    /// SHA-256 of the certificate, hexadecimal.
    fingerprint: Option<String>,
    /// User; by default `${cert.cn}`.
    user: Option<String>,
    /// Client id to have instead of the client's own.
    client_id: Option<String>,
    /// Grants.
    grants: Vec<GrantConfig>,
    /// Refuses instead of admitting.
    reject: bool,
}

/// A rule that makes sense.
pub(crate) struct Rule {
    number: usize,
    conditions: RuleConfig,
    fingerprint: Option<[u8; 32]>,
    grants: Vec<Grant>,
}

/// What a client shows.
pub(crate) struct Shown<'a> {
    tenant: &'a str,
    client_id: &'a str,
    certificate: &'a Certificate,
    fingerprint: Option<[u8; 32]>,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(
        tenant: &'a str,
        connect: &'a Connect,
        certificate: &'a Certificate,
        fingerprint: Option<[u8; 32]>,
    ) -> Self {
        Shown { tenant, client_id: &connect.client_id, certificate, fingerprint }
    }

    /// Fills in `${…}`. A name that the certificate does not have exactly once cannot be filled in.
    fn fill(&self, template: &str) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), template);
        while let Some(at) = rest.find("${") {
            filled.push_str(&rest[..at]);
            let (name, after) =
                rest[at + 2..].split_once('}').ok_or_else(|| format!("{template:?} has no closing brace"))?;
            filled.push_str(&self.value(name)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<String, String> {
        let c = self.certificate;
        let one = |values: &[String]| match values {
            [one] if !one.is_empty() => Ok(one.clone()),
            many => Err(format!("${{{name}}} cannot be filled in: the certificate has {} of it", many.len())),
        };
        match name {
            "client_id" => Ok(self.client_id.to_owned()),
            "tenant" => Ok(self.tenant.to_owned()),
            "cert.cn" => one(&c.common_names),
            "cert.ou" => one(&c.organizational_units),
            "cert.san.dns" => one(&c.san_dns),
            "cert.san.uri" => one(&c.san_uri),
            "cert.san.email" => one(&c.san_email),
            "cert.serial" => Ok(crate::hex(&c.serial)),
            "cert.fingerprint" => Ok(self.fingerprint.map_or_else(String::new, |f| crate::hex(&f))),
            other => Err(format!("${{{other}}} is not a value of a certificate")),
        }
    }
}

/// Names that templates may use.
const NAMES: &[&str] = &[
    "client_id",
    "tenant",
    "cert.cn",
    "cert.ou",
    "cert.san.dns",
    "cert.san.uri",
    "cert.san.email",
    "cert.serial",
    "cert.fingerprint",
];

impl Rule {
    /// `number` counts from 1, for messages.
    ///
    /// # Errors
    /// What in the rule makes no sense.
    pub(crate) fn new(number: usize, config: RuleConfig, is_tenant: &dyn Fn(&str) -> bool) -> Result<Self, String> {
        let wrong = |e: String| format!("rules: rule {number}: {e}");
        if let Some(tenant) = config.tenant.as_deref().filter(|t| !is_tenant(t)) {
            return Err(wrong(format!("tenant {tenant:?} has no anchor")));
        }
        for template in [&config.user, &config.client_id].into_iter().flatten() {
            check_template(template).map_err(wrong)?;
        }
        if config.grants.is_empty() && !config.reject {
            return Err(wrong("it has no grants; give some, or reject = true".into()));
        }
        let grants = config.grants.iter().map(GrantConfig::grant).collect::<Result<_, _>>().map_err(wrong)?;
        let fingerprint = config.fingerprint.as_deref().map(parse_fingerprint).transpose().map_err(wrong)?;
        Ok(Rule { number, conditions: config, fingerprint, grants })
    }

    pub(crate) fn matches(&self, shown: &Shown<'_>) -> bool {
        let c = &self.conditions;
        let fits = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|p| glob(p, text));
        let any = |pattern: &Option<String>, texts: &[String]| {
            pattern.as_deref().is_none_or(|p| texts.iter().any(|t| glob(p, t)))
        };
        let cn = &c.common_name;
        c.tenant.as_deref().is_none_or(|t| t == shown.tenant)
            && fits(&c.subject, &shown.certificate.subject)
            && (cn.is_none() || shown.certificate.common_name().is_some_and(|name| fits(cn, name)))
            && any(&c.san_dns, &shown.certificate.san_dns)
            && any(&c.san_uri, &shown.certificate.san_uri)
            && any(&c.san_email, &shown.certificate.san_email)
            && (self.fingerprint.is_none() || self.fingerprint == shown.fingerprint)
    }

    /// The identity that the rule gives.
    pub(crate) fn apply(&self, shown: &Shown<'_>) -> AuthOutcome {
        if self.conditions.reject {
            return AuthOutcome::reject(format!("rule {} refuses this certificate", self.number));
        }
        let user = shown.fill(self.conditions.user.as_deref().unwrap_or("${cert.cn}"));
        let client_id = self.conditions.client_id.as_deref().map(|t| shown.fill(t)).transpose();
        match (user, client_id) {
            (Ok(user), Ok(client_id)) => AuthOutcome::accept(Identity {
                client_id,
                ..Identity::new(shown.tenant, user).with_grants(self.grants.clone())
            }),
            (Err(e), _) | (_, Err(e)) => AuthOutcome::reject(format!("rule {}: {e}", self.number)),
        }
    }
}

fn check_template(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some(at) = rest.find("${") {
        let (name, after) =
            rest[at + 2..].split_once('}').ok_or_else(|| format!("{template:?} has no closing brace"))?;
        if !NAMES.contains(&name) {
            return Err(format!("{template:?}: ${{{name}}} is none of {}", NAMES.join(", ")));
        }
        rest = after;
    }
    match template.is_empty() {
        true => Err("an empty user or client id".into()),
        false => Ok(()),
    }
}

fn parse_fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let wrong = || format!("fingerprint {text:?}: wanted the 64 hexadecimal digits of a SHA-256");
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|p| Some((char::from(p[0]).to_digit(16)? * 16 + char::from(p[1]).to_digit(16)?) as u8))
        .collect();
    match rest {
        [] => bytes.and_then(|b| b.try_into().ok()).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        Certificate { common_names: names.iter().map(|n| (*n).to_owned()).collect(), ..Certificate::default() }
    }

    /// Guards that a name which a certificate has twice, or not at all, never becomes a user.
    #[test]
    fn a_value_that_is_not_there_exactly_once_admits_nobody() {
        let config: RuleConfig =
            serde_json::from_str(r##"{"user": "u-${cert.cn}", "grants": [{"allow": ["all"], "filter": "#"}]}"##)
                .unwrap();
        let rule = Rule::new(1, config, &|_| true).unwrap_or_else(|e| panic!("{e}"));
        for (names, accepted) in [(&["x"][..], true), (&["x", "y"], false), (&[], false), (&[""], false)] {
            let certificate = certificate(names);
            let shown = Shown { tenant: "t", client_id: "c", certificate: &certificate, fingerprint: None };
            let outcome = rule.apply(&shown);
            assert_eq!(matches!(&outcome, AuthOutcome::Accept(i) if i.user == "u-x"), accepted, "{outcome:?}");
        }
    }

    /// Guards that mistakes in a rule stop the start, with the rule's number.
    #[test]
    fn mistakes_are_named() {
        for (json, says) in [
            (r#"{}"#, "no grants"),
            (r##"{"user": "${cert.xx}", "grants": [{"allow": ["all"], "filter": "#"}]}"##, "${cert.xx}"),
            (r##"{"user": "", "grants": [{"allow": ["all"], "filter": "#"}]}"##, "empty"),
            (r##"{"tenant": "nobody", "reject": true}"##, "no anchor"),
            (r##"{"fingerprint": "12", "reject": true}"##, "64 hexadecimal"),
        ] {
            let config: RuleConfig = serde_json::from_str(json).unwrap();
            let error = Rule::new(3, config, &|t| t == "acme").err().unwrap_or_default();
            assert!(error.contains("rule 3") && error.contains(says), "{json}: {error}");
        }
    }
}
