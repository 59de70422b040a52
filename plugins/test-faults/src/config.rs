//! The configuration: see the table on the crate's page.

use std::collections::BTreeMap;

use gatemq_plugin_api::config::{ExclusiveName, GrantConfig};
use gatemq_plugin_api::{Actions, Grant, Limits};
use serde::Deserialize;

use crate::fault::Fault;
use crate::refresh::RefreshConfig;

#[derive(Deserialize, Clone, Debug)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) tenant: String,
    pub(crate) tenant_by_address: bool,
    pub(crate) limits: BTreeMap<String, u64>,
    pub(crate) grants: Option<Vec<GrantConfig>>,
    pub(crate) tags: Vec<String>,
    pub(crate) refresh: Option<RefreshConfig>,
    pub(crate) exclusive: ExclusiveName,
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

impl Default for Config {
    fn default() -> Self {
        Config {
            tenant: "test".into(),
            tenant_by_address: false,
            limits: BTreeMap::new(),
            grants: None,
            tags: Vec::new(),
            refresh: None,
            exclusive: ExclusiveName::No,
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
    /// The limits of everybody.
    ///
    /// # Errors
    /// A name that is none.
    pub(crate) fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        let unknown = self.limits.iter().find(|(name, value)| !limits.set_named(name, **value));
        unknown.map_or(Ok(limits), |(name, _)| Err(format!("there is no limit {name}")))
    }

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
