//! Auth provider for clients with user name and password: users, groups and grants from a TOML file of its own.
//!
//! ```toml
//! [plugins.people]
//! library = "auth-file"
//! [plugins.people.config]
//! users_file = "/etc/gatemq/users.toml"
//! tenant = "acme"          # of users that name none
//! queue_max = 256          # verifications that may wait for a core; further clients are told to come back
//! cache_s = 300            # how long a right password is remembered; 0: not at all
//! ```
//!
//! The users file, which must not be writable by others; it is read again within seconds when it changes, and one with a
//! mistake changes nothing. A change holds for who is connected too: their rules are replaced, and who is gone or disabled is
//! disconnected:
//!
//! ```toml
//! [users.pump]
//! password = "$argon2id$v=19$…"             # gatemq passwd --users-file /etc/gatemq/users.toml pump
//! groups = ["sensors"]                      # their rules come after the user's own, in this order
//! grants = [{ deny = ["publish"], filter = "devices/${client_id}/firmware" }]
//! [users.console]
//! password = "$argon2id$v=19$…"
//! tenant = "acme-staff"
//! client_id = ["console", "console-*"]      # only these; one without * is given to a client that has none
//! disabled = true
//! [groups.sensors]
//! grants = [{ allow = ["all"], filter = "devices/${client_id}/#" }]
//! [anonymous]                               # clients without user name; without it they are not this plugin's
//! user = "anonymous"
//! grants = [{ allow = ["subscribe"], filter = "public/#" }]
//! ```
//!
//! A password may also be a hash of `mosquitto_passwd` (`$6$…`, `$7$…`), as `gatemq import mosquitto` brings them.
//!
//! A user name that does not exist is refused with the same words as a wrong password, after the same work. That work,
//! argon2id, is done once per core at a time. A client without user name, with a password alone, or with an authentication
//! method is not this plugin's kind (`Next`), but for what `[anonymous]` says of those without user name and password.
#![forbid(unsafe_code)]

mod cache;
mod file;
mod gate;
mod mosquitto;
mod parse;
mod password;
mod platform;
mod state;
mod users;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::tokio::sync::OwnedSemaphorePermit;
use gatemq_plugin_api::{Secret, tokio, tracing};

use password::Hash;
use state::{Config, Loaded, State};
use users::Wanted;

/// When it is worth trying again after the queue was full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

struct AuthFile(Arc<State>);

/// Why a password was not verified.
struct NotNow;

impl Plugin for AuthFile {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let state = State::start(config, host)?;
        watch::watch(&state);
        Ok(AuthFile(state))
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        let (changed, state) = (self.0.reconfigure(config)?, self.0.clone());
        self.0.host.spawn(async move { watch::ask_again(&state, changed).await });
        Ok(())
    }

    fn health(&self) -> Health {
        watch::watch(&self.0);
        let trouble = self.0.trouble();
        trouble.map_or(Health::Ready, |why| Health::Degraded(format!("the users of before stay in force: {why}")))
    }
}

impl AuthProvider for AuthFile {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        watch::watch(&self.0);
        if connect.auth_method.is_some() {
            return AuthOutcome::Next;
        }
        match (&connect.user_name, &connect.password) {
            (Some(name), Some(password)) => self.with_password(name, password, connect).await,
            // MQTT-3.1.2: a user name may come alone. It shows nothing.
            (Some(_), None) => wrong(),
            // A password alone (5.0) is some other provider's token.
            (None, Some(_)) => AuthOutcome::Next,
            (None, None) => self.anonymous(),
        }
    }

    async fn refresh(&self, session: &Session) -> AuthOutcome {
        self.0.loaded().users.renew(session.tenant(), session.user(), session.client_id())
    }
}

/// The same for names that do not exist and passwords that are wrong (2.4, 0x86).
fn wrong() -> AuthOutcome {
    AuthOutcome::Reject {
        code: ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        reason: "the user name or the password is wrong".into(),
        reason_string: None,
        delay: Duration::ZERO,
    }
}

impl AuthFile {
    fn anonymous(&self) -> AuthOutcome {
        self.0.loaded().users.anonymous.as_ref().map_or(AuthOutcome::Next, users::Anonymous::admit)
    }

    async fn with_password(&self, name: &str, password: &Secret, connect: &Connect) -> AuthOutcome {
        let hash = match self.verify(name, password).await {
            Ok(Some(hash)) => hash,
            Ok(None) => return wrong(),
            Err(NotNow) => return AuthOutcome::Unavailable { retry_after: RETRY_AFTER },
        };
        let wanted = Wanted { client_id: &connect.client_id, assigned: connect.client_id_assigned };
        let loaded = self.0.loaded();
        // The file may have changed while the client waited, and the name may not exist: the user's hash must be the one that
        // was verified.
        let user = loaded.users.named.get(name).filter(|user| user.hash == hash);
        user.map_or_else(wrong, |user| user.admit(name, &wanted))
    }

    /// The user's hash if that is its password; for a name that does not exist, a hash that is nobody's of that name.
    async fn verify(&self, name: &str, password: &Secret) -> Result<Option<Hash>, NotNow> {
        let (state, loaded) = (&self.0, self.0.loaded());
        let (hash, known) = loaded.hash(name);
        let key = loaded.cache.key(name, &hash, password.as_bytes());
        let remembered = || loaded.cache.has(&key, Instant::now());
        if !remembered() {
            let Some(turn) = state.gate.turn(loaded.config.queue_max).await else {
                state.host.count("queue_full", 1);
                return Err(NotNow);
            };
            // Of many clients of one user that come at once, the first may have been right meanwhile.
            if !remembered() {
                let remember = known.then(|| (loaded.clone(), key));
                if !self.compute(hash.clone(), password.clone(), turn, remember).await? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(hash))
    }

    /// Computes the hash on a thread of its own, to its end, and its turn lasts as long, also where the client has left. A
    /// success is remembered before the next one's turn.
    async fn compute(
        &self,
        hash: Hash,
        password: Secret,
        turn: OwnedSemaphorePermit,
        remember: Option<(Arc<Loaded>, cache::Key)>,
    ) -> Result<bool, NotNow> {
        self.0.host.count("verifications", 1);
        let verified = tokio::task::spawn_blocking(move || {
            let verified = hash.verify(password.as_bytes());
            if let (Ok(true), Some((loaded, key))) = (&verified, remember) {
                loaded.cache.put(key, Instant::now());
            }
            drop(turn);
            verified
        });
        let verified = verified.await.unwrap_or_else(|e| Err(e.to_string()));
        verified.map_err(|why| {
            tracing::error!("a password could not be verified: {why}");
            NotNow
        })
    }
}

export_plugin!(AuthFile: auth);
