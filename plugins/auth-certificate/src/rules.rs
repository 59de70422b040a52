//! Rules: which certificate is who.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gatemq_plugin_api::config::{ExclusiveName, GrantConfig};
use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{Expiry, Limits};

use crate::network::Network;
use crate::parse_sha256;
use crate::pattern::{Kind, Pattern};
use crate::template::{Shown, Template};

const DAY_S: i64 = 24 * 60 * 60;
/// Who a client is where a rule does not say.
const USER: &str = "${cert.cn}";

/// A rule as it is written, see the README. Conditions that are given must all hold.
#[derive(Deserialize, Default)]
#[serde(crate = "gatemq_plugin_api::serde", default)]
pub(crate) struct RuleConfig {
    /// Tenant of the anchor.
    tenant: Option<String>,
    /// SHA-256 of the anchor's SubjectPublicKeyInfo: one of these.
    anchor_spki_sha256: Vec<String>,
    /// Name of the listener.
    listener: Option<String>,
    /// Whole subject, in the form `CN=sensor-1, O=Acme`.
    subject: Option<String>,
    /// Whole name of the authority that signed it.
    issuer: Option<String>,
    /// Common name (there must be exactly one).
    common_name: Option<String>,
    /// Organization (exactly one).
    organization: Option<String>,
    /// Organizational unit (exactly one).
    organizational_unit: Option<String>,
    /// One of the DNS names.
    san_dns: Option<String>,
    /// One of the URIs.
    san_uri: Option<String>,
    /// One of the mail addresses.
    san_email: Option<String>,
    /// One of the IP addresses: in this network.
    san_ip: Option<String>,
    /// SHA-256 of the certificate.
    fingerprint: Option<String>,
    /// SHA-256 of its SubjectPublicKeyInfo: one of these.
    spki_sha256: Vec<String>,
    /// Days for which it was made, at most.
    valid_days_max: Option<u32>,
    /// Days that it is still valid, at least.
    valid_days_left_min: Option<u32>,

    /// User; by default `${cert.cn}`.
    user: Option<String>,
    /// Client id to have instead of the client's own.
    client_id: Option<String>,
    /// What the client's own must be, else it is refused.
    client_id_required: Option<String>,
    /// Grants.
    grants: Vec<GrantConfig>,
    /// Limits, by their names.
    limits: BTreeMap<String, u64>,
    /// Of what one connection may be live.
    exclusive: ExclusiveName,
    /// Refuses instead of admitting.
    reject: bool,
    /// Why, for the event.
    reason: Option<String>,
    /// Leaves it to the next provider of the chain.
    next: bool,
}

/// A rule that makes sense.
pub(crate) struct Rule {
    number: usize,
    conditions: Vec<Condition>,
    then: Then,
}

enum Condition {
    Tenant(String),
    Anchor(Vec<[u8; 32]>),
    Listener(Pattern),
    Subject(Pattern),
    Issuer(Pattern),
    CommonName(Pattern),
    Organization(Pattern),
    OrganizationalUnit(Pattern),
    SanDns(Pattern),
    SanUri(Pattern),
    SanEmail(Pattern),
    SanIp(Network),
    Fingerprint([u8; 32]),
    Spki(Vec<[u8; 32]>),
    ValidDaysMax(i64),
    ValidDaysLeftMin(i64),
}

enum Then {
    Admit(Box<Admit>),
    Reject(String),
    Next,
}

/// Who a client becomes.
struct Admit {
    user: Template,
    client_id: Option<Template>,
    client_id_required: Option<Template>,
    grants: Vec<Grant>,
    limits: Limits,
    exclusive: ExclusiveName,
}

impl Rule {
    /// `number` counts from 1, for messages.
    ///
    /// # Errors
    /// What in the rule makes no sense, with its key.
    pub(crate) fn new(number: usize, config: RuleConfig, anchors: &crate::anchors::Anchors) -> Result<Self, String> {
        let rule = || {
            let conditions = conditions(&config, anchors)?;
            Ok(Rule { number, conditions, then: then(&config)? })
        };
        rule().map_err(|e: String| format!("rules: rule {number}: {e}"))
    }

    pub(crate) fn matches(&self, shown: &Shown<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(shown))
    }

    /// What becomes of a client that it matches; `tags` are those of its certificates.
    pub(crate) fn apply(&self, shown: &Shown<'_>, tags: Vec<String>) -> AuthOutcome {
        match &self.then {
            Then::Next => AuthOutcome::Next,
            Then::Reject(reason) => AuthOutcome::reject(format!("rule {}: {reason}", self.number)),
            Then::Admit(admit) => match admit.identity(shown, tags) {
                Ok(identity) => AuthOutcome::accept(identity),
                Err(e) => AuthOutcome::reject(format!("rule {}: {e}", self.number)),
            },
        }
    }
}

impl Condition {
    fn holds(&self, shown: &Shown<'_>) -> bool {
        let c = shown.certificate;
        let only = |pattern: &Pattern, values: &[String]| matches!(values, [one] if pattern.matches(one));
        let any = |pattern: &Pattern, values: &[String]| values.iter().any(|value| pattern.matches(value));
        match self {
            Condition::Tenant(tenant) => tenant == shown.tenant,
            Condition::Anchor(keys) => keys.contains(&shown.anchor),
            Condition::Listener(pattern) => pattern.matches(shown.listener),
            Condition::Subject(pattern) => pattern.matches(&c.subject),
            Condition::Issuer(pattern) => pattern.matches(&c.issuer),
            Condition::CommonName(pattern) => only(pattern, &c.common_names),
            Condition::Organization(pattern) => only(pattern, &c.organizations),
            Condition::OrganizationalUnit(pattern) => only(pattern, &c.organizational_units),
            Condition::SanDns(pattern) => any(pattern, &c.san_dns),
            Condition::SanUri(pattern) => any(pattern, &c.san_uri),
            Condition::SanEmail(pattern) => any(pattern, &c.san_email),
            Condition::SanIp(network) => c.san_ip.iter().any(|address: &IpAddr| network.has(*address)),
            Condition::Fingerprint(fingerprint) => *fingerprint == shown.fingerprint,
            Condition::Spki(keys) => keys.contains(&shown.spki),
            Condition::ValidDaysMax(days) => c.not_after_s.saturating_sub(c.not_before_s) <= days * DAY_S,
            Condition::ValidDaysLeftMin(days) => {
                let now_s = i64::try_from(shown.now_ms / 1000).unwrap_or(i64::MAX);
                c.not_after_s.saturating_sub(now_s) >= days * DAY_S
            }
        }
    }
}

impl Admit {
    fn identity(&self, shown: &Shown<'_>, tags: Vec<String>) -> Result<Identity, String> {
        if let Some(required) = &self.client_id_required {
            let is = Pattern::of(Kind::Text, required.parts(shown)?).matches(shown.client_id);
            // An identifier that the broker made up is nobody's.
            if !is || shown.client_id_assigned {
                return Err(format!("its client identifier must be {:?}", required.fill(shown)?));
            }
        }
        Ok(Identity {
            client_id: self.client_id.as_ref().map(|template| template.fill(shown)).transpose()?,
            valid_until_ms: shown.valid_until_ms,
            on_expiry: Expiry::Disconnect,
            limits: self.limits,
            exclusive: self.exclusive.into(),
            tags,
            ..Identity::new(shown.tenant, self.user.fill(shown)?).with_grants(self.grants.clone())
        })
    }
}

/// What is wrong with the value of a key.
fn at<T>(key: &str, made: Result<T, String>) -> Result<T, String> {
    made.map_err(|e| format!("{key}: {e}"))
}

fn conditions(config: &RuleConfig, anchors: &crate::anchors::Anchors) -> Result<Vec<Condition>, String> {
    let mut all = Vec::new();
    if let Some(tenant) = &config.tenant {
        if !anchors.has_tenant(tenant) {
            return Err(format!(
                "tenant: {tenant:?} has no anchor; it is a condition: a tenant comes from the anchor, never from a name"
            ));
        }
        all.push(Condition::Tenant(tenant.clone()));
    }
    let hashes = |key: &str, texts: &[String]| at(key, texts.iter().map(|text| parse_sha256(text)).collect());
    let keys: Vec<[u8; 32]> = hashes("anchor_spki_sha256", &config.anchor_spki_sha256)?;
    if keys.iter().any(|key| anchors.tenant(key).is_none()) {
        return Err("anchor_spki_sha256: one of them is the key of no anchor in anchors".into());
    }
    if !keys.is_empty() {
        all.push(Condition::Anchor(keys));
    }
    type Make = fn(Pattern) -> Condition;
    let patterns: [(&str, &Option<String>, Kind, Make); 9] = [
        ("listener", &config.listener, Kind::Text, Condition::Listener),
        ("subject", &config.subject, Kind::Distinguished, Condition::Subject),
        ("issuer", &config.issuer, Kind::Distinguished, Condition::Issuer),
        ("common_name", &config.common_name, Kind::Text, Condition::CommonName),
        ("organization", &config.organization, Kind::Text, Condition::Organization),
        ("organizational_unit", &config.organizational_unit, Kind::Text, Condition::OrganizationalUnit),
        ("san_dns", &config.san_dns, Kind::Dns, Condition::SanDns),
        ("san_uri", &config.san_uri, Kind::Uri, Condition::SanUri),
        ("san_email", &config.san_email, Kind::Email, Condition::SanEmail),
    ];
    for (key, text, kind, make) in patterns {
        if let Some(text) = text {
            all.push(make(at(key, Pattern::new(kind, text))?));
        }
    }
    if let Some(network) = &config.san_ip {
        all.push(Condition::SanIp(at("san_ip", network.parse())?));
    }
    if let Some(fingerprint) = &config.fingerprint {
        all.push(Condition::Fingerprint(at("fingerprint", parse_sha256(fingerprint))?));
    }
    if !config.spki_sha256.is_empty() {
        all.push(Condition::Spki(hashes("spki_sha256", &config.spki_sha256)?));
    }
    all.extend(config.valid_days_max.map(|days| Condition::ValidDaysMax(days.into())));
    all.extend(config.valid_days_left_min.map(|days| Condition::ValidDaysLeftMin(days.into())));
    Ok(all)
}

fn then(config: &RuleConfig) -> Result<Then, String> {
    match (config.reject, config.next, config.grants.is_empty()) {
        (false, false, true) => {
            return Err("grants: there are none; give some, or reject = true, or next = true".into());
        }
        (true, false, true) | (false, true, true) | (false, false, false) => {}
        _ => return Err("grants, reject, next: give exactly one of them".into()),
    }
    if config.reason.is_some() && !config.reject {
        return Err("reason: is for reject = true".into());
    }
    let admits = [
        ("user", config.user.is_some()),
        ("client_id", config.client_id.is_some()),
        ("client_id_required", config.client_id_required.is_some()),
        ("limits", !config.limits.is_empty()),
        ("exclusive", config.exclusive != ExclusiveName::No),
    ];
    match admits.iter().find(|(_, given)| *given && (config.reject || config.next)) {
        Some((key, _)) => Err(format!("{key}: is for a rule with grants")),
        None if config.next => Ok(Then::Next),
        None if config.reject => {
            Ok(Then::Reject(config.reason.clone().unwrap_or_else(|| "refuses this certificate".into())))
        }
        None => Ok(Then::Admit(Box::new(admit(config)?))),
    }
}

fn admit(config: &RuleConfig) -> Result<Admit, String> {
    let template = |key: &str, text: &Option<String>| at(key, text.as_deref().map(Template::new).transpose());
    let user = at("user", Template::new(config.user.as_deref().unwrap_or(USER)))?;
    if user.names().any(|name| name == "client_id") {
        return Err("user: ${client_id} is what the client says, and no authority has certified it".into());
    }
    if user.names().filter(|name| name.starts_with("cert.")).count() > 1 {
        return Err(
            "user: give one value of the certificate; with two, different certificates could make the same user".into(),
        );
    }
    let (client_id, client_id_required) =
        (template("client_id", &config.client_id)?, template("client_id_required", &config.client_id_required)?);
    if client_id.is_some() && client_id_required.is_some() {
        return Err("client_id, client_id_required: give one of them".into());
    }
    let mut limits = Limits::default();
    for (name, value) in &config.limits {
        if !limits.set_named(name, *value) {
            return Err(format!("limits: there is no limit {name:?}"));
        }
    }
    let grants = at("grants", config.grants.iter().map(GrantConfig::grant).collect())?;
    Ok(Admit { user, client_id, client_id_required, grants, limits, exclusive: config.exclusive })
}

#[cfg(test)]
mod model;
