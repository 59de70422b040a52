//! What `refresh` does: see the table on the crate's page.

use gatemq_plugin_api::config::GrantConfig;
use gatemq_plugin_api::{AuthOutcome, Expiry, Grant, Identity, Session};
use serde::Deserialize;

use crate::plugin::TestFaults;

/// What everybody's identity says of being asked for again, and what the answer is then.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshConfig {
    /// How long each answer holds; 0 is for ever.
    #[serde(default)]
    valid_ms: u64,
    #[serde(default)]
    answer: Answer,
    /// The grants of then; those of before where absent.
    grants: Option<Vec<GrantConfig>>,
}

#[derive(Deserialize, Clone, Copy, Debug, Default)]
#[serde(rename_all = "snake_case")]
enum Answer {
    #[default]
    Accept,
    Another,
    Reject,
    Next,
    Unavailable,
    Panic,
    Hang,
}

impl RefreshConfig {
    /// An identity that may be asked for again.
    pub(crate) fn limit(&self, identity: &mut Identity, now_ms: u64) {
        identity.on_expiry = Expiry::Refresh;
        identity.valid_until_ms = match self.valid_ms {
            0 => 0,
            ms => now_ms + ms,
        };
    }
}

impl TestFaults {
    pub(crate) async fn refreshed(&self, session: &Session) -> AuthOutcome {
        let Some(config) = self.refresh_config() else { return AuthOutcome::reject("grants are not renewed") };
        let user = Identity::new(session.tenant(), session.user());
        let mut identity = Identity { exclusive: self.exclusive(), ..user };
        match config.answer {
            Answer::Accept => {}
            Answer::Another => identity.user = "another".into(),
            Answer::Reject => return AuthOutcome::reject("it is gone"),
            Answer::Next => return AuthOutcome::Next,
            Answer::Unavailable => {
                return AuthOutcome::Unavailable { retry_after: std::time::Duration::from_secs(1) };
            }
            Answer::Panic => panic!("a panic on demand"),
            Answer::Hang => std::future::pending().await,
        }
        identity.tags.clone_from(&self.tags);
        config.limit(&mut identity, self.host.now_ms());
        let given = config.grants.as_ref().map(|grants| grants.iter().map(GrantConfig::grant).collect());
        let grants: Result<Vec<Grant>, String> = given.unwrap_or_else(|| Ok(self.grants.clone()));
        match grants {
            Ok(grants) => AuthOutcome::accept(identity.with_grants(grants)),
            Err(why) => AuthOutcome::reject(why),
        }
    }
}
