//! The configuration: see the table on the crate's page.

use gatemq_plugin_api::config::GrantConfig;
use gatemq_plugin_api::{Actions, Grant, Limits};
use serde::Deserialize;

use crate::fault::Fault;
use crate::refresh::RefreshConfig;

#[derive(Deserialize, Clone, Debug)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) tenant: String,
    pub(crate) tenant_by_address: bool,
    pub(crate) limits: LimitsConfig,
    pub(crate) grants: Option<Vec<GrantConfig>>,
    pub(crate) refresh: Option<RefreshConfig>,
    pub(crate) late_ms: u64,
    pub(crate) response_info: Option<String>,
    pub(crate) keep_alive_s_max: Option<u64>,
    pub(crate) record_file: Option<String>,
    pub(crate) events_file: Option<String>,
    pub(crate) dropped_file: Option<String>,
    pub(crate) start: Fault,
    pub(crate) reconfigure: Fault,
    pub(crate) health: Fault,
    pub(crate) stop: Fault,
    pub(crate) drop: Fault,
    pub(crate) interest: Fault,
    pub(crate) collect: Fault,
}

/// Limits of everybody, those that tests need.
#[derive(Deserialize, Clone, Copy, Debug, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsConfig {
    qos_max: Option<u64>,
    retain_allowed: Option<u64>,
    will_allowed: Option<u64>,
    wildcard_subscriptions_allowed: Option<u64>,
    shared_subscriptions_allowed: Option<u64>,
    topic_alias_max: Option<u64>,
}

impl LimitsConfig {
    pub(crate) fn limits(self) -> Limits {
        Limits {
            qos_max: self.qos_max,
            retain_allowed: self.retain_allowed,
            will_allowed: self.will_allowed,
            wildcard_subscriptions_allowed: self.wildcard_subscriptions_allowed,
            shared_subscriptions_allowed: self.shared_subscriptions_allowed,
            topic_alias_max: self.topic_alias_max,
            ..Limits::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            tenant: "test".into(),
            tenant_by_address: false,
            limits: LimitsConfig::default(),
            grants: None,
            refresh: None,
            late_ms: 10_000,
            response_info: None,
            keep_alive_s_max: None,
            record_file: None,
            events_file: None,
            dropped_file: None,
            start: Fault::Ok,
            reconfigure: Fault::Ok,
            health: Fault::Ok,
            stop: Fault::Ok,
            drop: Fault::Ok,
            interest: Fault::Ok,
            collect: Fault::Ok,
        }
    }
}

impl Config {
    /// The grants of everybody.
    ///
    /// # Errors
    /// A grant that is none.
    pub(crate) fn grants(&self) -> Result<Vec<Grant>, String> {
        match &self.grants {
            Some(grants) => grants.iter().map(GrantConfig::grant).collect(),
            None => {
                let mut all = Grant::allow(Actions::ALL, "#");
                all.constraints.share_groups = vec!["*".into()];
                Ok(vec![Grant::ask(Actions::ALL, "ask/#"), all])
            }
        }
    }
}
