//! A gatekeeper: admits clients that have a user name or a certificate, and decides who may raise an alarm.
#![forbid(unsafe_code)]

use std::sync::RwLock;
use std::time::Duration;

use gatemq_plugin_api::config::GrantConfig;
use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::tracing;

/// `[plugins.NAME.config]`. An unknown key, or one of the wrong type, keeps the broker from starting and is named.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
struct Config {
    /// Whose topics they are.
    tenant: String,
    /// Who is not admitted.
    #[serde(default)]
    denied_users: Vec<String>,
    /// What who is admitted may do. The broker evaluates it by itself for each message.
    grants: Vec<GrantConfig>,
}

/// A configuration that makes sense.
struct Rules {
    tenant: String,
    denied_users: Vec<String>,
    grants: Vec<Grant>,
}

impl Rules {
    /// What is wrong is said in one line, with the key, what was wanted, and what was found.
    fn new(config: Config) -> Result<Rules, String> {
        if config.tenant.is_empty() {
            return Err("tenant: is empty; give the name of your site".into());
        }
        let grants = config.grants.iter().map(GrantConfig::grant).collect::<Result<_, _>>()?;
        Ok(Rules { tenant: config.tenant, denied_users: config.denied_users, grants })
    }
}

struct Gate {
    rules: RwLock<Rules>,
    host: Host,
}

impl Gate {
    /// A panic while it was held would have poisoned the lock: the rules are whole all the same.
    fn rules(&self) -> std::sync::RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Plugin for Gate {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        Ok(Gate { rules: RwLock::new(Rules::new(config)?), host })
    }

    /// Without this the broker would start another instance for a new configuration.
    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        let rules = Rules::new(config)?;
        *self.rules.write().unwrap_or_else(std::sync::PoisonError::into_inner) = rules;
        Ok(())
    }
}

impl AuthProvider for Gate {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        // Only a certificate that was verified says who somebody is.
        let leaf = connect.tls.as_ref().and_then(|tls| tls.verified_leaf());
        let named = leaf.and_then(|leaf| Certificate::parse(leaf).ok()?.common_name().map(str::to_owned));
        let Some(user) = named.or_else(|| connect.user_name.clone()) else {
            // Not our kind of client: the next provider is asked. If there is none, the client is refused.
            return AuthOutcome::Next;
        };
        let rules = self.rules();
        if user.is_empty() || rules.denied_users.contains(&user) {
            self.host.count("refused", 1);
            return AuthOutcome::reject(format!("user {user:?} is not admitted"));
        }
        tracing::debug!(user, "admitted");
        AuthOutcome::accept(Identity::new(&rules.tenant, user).with_grants(rules.grants.clone()))
    }

    /// Only where a grant says Ask. The broker keeps the answer for a minute for this client and this topic.
    fn authorize(&self, session: &Session, action: &Action<'_>) -> Verdict {
        match action.kind() {
            Some(ActionKind::Publish) if action.topic() == format!("alarms/{}", session.user()) => {
                Verdict::allow(Duration::from_secs(60))
            }
            _ => Verdict::deny("alarms are raised below one's own name"),
        }
    }
}

export_plugin!(Gate: auth);
