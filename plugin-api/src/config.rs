//! Forms of configuration that several plugins share.

use gatemq_types::{Actions, Constraints, Effect, Exclusive, Grant, QoS};
use serde::Deserialize;

/// An action by its name in configuration files.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    /// To publish.
    Publish,
    /// To subscribe.
    Subscribe,
    /// To unsubscribe.
    Unsubscribe,
    /// To be sent a message, where delivery is checked.
    Receive,
    /// To leave a will.
    Will,
    /// All of them.
    All,
}

/// An [`Exclusive`] by its name in configuration files.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum ExclusiveName {
    /// Several connections.
    #[default]
    No,
    /// One of a user.
    User,
    /// One of a certificate.
    Certificate,
}

impl From<ExclusiveName> for Exclusive {
    fn from(name: ExclusiveName) -> Self {
        match name {
            ExclusiveName::No => Exclusive::No,
            ExclusiveName::User => Exclusive::User,
            ExclusiveName::Certificate => Exclusive::Certificate,
        }
    }
}

/// A grant in a configuration file: exactly one of `allow`, `deny` and `ask`.
///
/// ```toml
/// grants = [
///     { deny = ["publish"], filter = "devices/${client_id}/firmware/#" },
///     { allow = ["publish", "subscribe"], filter = "devices/${client_id}/#", qos_max = 1 },
/// ]
/// ```
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct GrantConfig {
    /// Actions that are allowed.
    #[serde(default)]
    pub allow: Vec<ActionName>,
    /// Actions that are denied.
    #[serde(default)]
    pub deny: Vec<ActionName>,
    /// Actions that the provider is asked about.
    #[serde(default)]
    pub ask: Vec<ActionName>,
    /// Topic filter with `${…}`, see [`Grant`].
    pub filter: String,
    /// Highest QoS, 2 by default.
    pub qos_max: Option<u8>,
    /// Only messages with, or only those without retain.
    pub retain: Option<bool>,
    /// Largest payload in bytes.
    #[serde(default)]
    pub payload_bytes_max: u32,
    /// Share groups that may be named; `*` is any.
    #[serde(default)]
    pub share_groups: Vec<String>,
}

impl GrantConfig {
    /// The grant.
    ///
    /// # Errors
    /// Not exactly one effect, or a QoS that does not exist.
    pub fn grant(&self) -> Result<Grant, String> {
        let effects = [(Effect::Allow, &self.allow), (Effect::Deny, &self.deny), (Effect::Ask, &self.ask)];
        let mut given = effects.into_iter().filter(|(_, actions)| !actions.is_empty());
        let (effect, actions) = match (given.next(), given.next()) {
            (Some(one), None) => one,
            _ => return Err(format!("grant on {:?}: give exactly one of allow, deny and ask", self.filter)),
        };
        let set = actions.iter().fold(Actions::default(), |set, name| {
            set | match name {
                ActionName::Publish => Actions::PUBLISH,
                ActionName::Subscribe => Actions::SUBSCRIBE,
                ActionName::Unsubscribe => Actions::UNSUBSCRIBE,
                ActionName::Receive => Actions::RECEIVE,
                ActionName::Will => Actions::WILL,
                ActionName::All => Actions::ALL,
            }
        });
        let qos_max = match self.qos_max {
            None => QoS::ExactlyOnce,
            Some(bits) => QoS::from_bits(bits)
                .ok_or_else(|| format!("grant on {:?}: qos_max is {bits}; give 0, 1 or 2", self.filter))?,
        };
        Ok(Grant {
            effect,
            actions: set,
            filter: self.filter.clone(),
            constraints: Constraints {
                qos_max,
                retain: self.retain,
                payload_bytes_max: self.payload_bytes_max,
                share_groups: self.share_groups.clone(),
            },
        })
    }
}

/// Whether `pattern` matches the whole of `text`: `*` stands for any text, all else for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a pattern matches the whole text: `sensor-*` must not match `x-sensor-1`.
    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, yes) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), yes, "{pattern} {text}");
        }
    }

    /// Guards that a grant with two effects, or none, is an error and never a guess.
    #[test]
    fn a_grant_has_exactly_one_effect() {
        let parse = |json: &str| serde_json::from_str::<GrantConfig>(json).unwrap().grant();
        assert_eq!(
            parse(r#"{"allow": ["publish", "will"], "filter": "a/#"}"#),
            Ok(Grant::allow(Actions::PUBLISH | Actions::WILL, "a/#"))
        );
        assert!(parse(r#"{"filter": "a"}"#).is_err());
        assert!(parse(r#"{"allow": ["all"], "deny": ["all"], "filter": "a"}"#).is_err());
        assert!(parse(r#"{"allow": ["all"], "filter": "a", "qos_max": 3}"#).is_err());
    }
}
