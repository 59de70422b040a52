//! The plugin: its life, and which method commits which fault.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gatemq_plugin_api::Exclusive;
use gatemq_plugin_api::prelude::*;

use crate::config::Config;
use crate::exchange::{METHODS, ROUNDS};
use crate::fault::Fault;
use crate::record::{Appended, line_of};
use crate::refresh::RefreshConfig;

pub(crate) struct TestFaults {
    pub(crate) host: Host,
    pub(crate) tenant: String,
    pub(crate) tenant_by_address: bool,
    pub(crate) limits: gatemq_plugin_api::Limits,
    pub(crate) grants: Vec<Grant>,
    pub(crate) tags: Vec<String>,
    pub(crate) late: Duration,
    pub(crate) response_info: Option<String>,
    pub(crate) keep_alive_s_max: Option<u64>,
    record: Option<Appended>,
    events: Option<Appended>,
    faults: Mutex<Config>,
}

impl TestFaults {
    fn fault(&self, of: impl FnOnce(&Config) -> Fault) -> Fault {
        of(&self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is configured now.
    pub(crate) fn refresh_config(&self) -> Option<RefreshConfig> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).refresh.clone()
    }

    /// What every identity is, as it is configured now.
    pub(crate) fn exclusive(&self) -> Exclusive {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).exclusive.into()
    }
}

impl Plugin for TestFaults {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        config.start.commit()?;
        let open = |file: &Option<String>| file.as_deref().map(Appended::open).transpose();
        Ok(TestFaults {
            host,
            tenant: config.tenant.clone(),
            tenant_by_address: config.tenant_by_address,
            limits: config.limits()?,
            grants: config.grants()?,
            tags: config.tags.clone(),
            late: Duration::from_millis(config.late_ms),
            response_info: config.response_info.clone(),
            keep_alive_s_max: config.keep_alive_s_max,
            record: open(&config.record_file)?,
            events: open(&config.events_file)?,
            faults: Mutex::new(config),
        })
    }

    /// Takes the faults of the new configuration; the rest stays.
    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        self.fault(|f| f.reconfigure).commit()?;
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn health(&self) -> Health {
        match self.fault(|f| f.health).commit() {
            Ok(()) => Health::Ready,
            Err(why) => Health::NotReady(why),
        }
    }

    fn stop(&self, _: Duration) {
        let _ = self.fault(|f| f.stop).commit();
    }
}

impl Drop for TestFaults {
    fn drop(&mut self) {
        if let Some(file) = self.faults.get_mut().unwrap_or_else(PoisonError::into_inner).dropped_file.take()
            && let Err(e) = std::fs::write(&file, "")
        {
            gatemq_plugin_api::tracing::error!("{file}: {e}");
        }
        let _ = self.fault(|f| f.drop).commit();
    }
}

impl AuthProvider for TestFaults {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        if let Some(record) = &self.record {
            record.append(|mut file| file.write_all(&line_of(connect)));
        }
        self.outcome(connect).await
    }

    fn offers_method(&self, method: &str) -> bool {
        method.starts_with(METHODS) || method == ROUNDS
    }

    async fn exchange(&self, step: &AuthExchange) -> AuthOutcome {
        self.went_on(step).await
    }

    async fn refresh(&self, session: &Session) -> AuthOutcome {
        self.refreshed(session).await
    }

    fn authorize(&self, _: &Session, action: &Action<'_>) -> Verdict {
        crate::authorize::verdict(action.topic())
    }

    async fn authorize_slow(&self, _: &Session, action: &Action<'_>) -> Verdict {
        crate::authorize::slow_verdict(action.topic()).await
    }
}

impl EventCollector for TestFaults {
    fn interest(&self) -> Interest {
        let _ = self.fault(|f| f.interest).commit();
        Interest::all_but_traffic()
    }

    fn collect(&self, batch: &[Event<'_>]) {
        if let Some(events) = &self.events {
            let names: String = batch.iter().map(|e| format!("{}\n", e.name())).collect();
            events.append(|mut file| file.write_all(names.as_bytes()));
        }
        let _ = self.fault(|f| f.collect).commit();
    }
}
