//! Enhanced authentication whose client says in its Authentication Data what is to happen.

use std::time::Duration;

use gatemq_plugin_api::{Actions, AuthExchange, AuthOutcome, Connect, Grant, Identity, ReasonCode, Secret};

use crate::fault::Fault;
use crate::plugin::TestFaults;

/// Methods that are offered: those that begin so.
pub(crate) const METHODS: &str = "TEST";

/// Another one: it asks once and takes the answer `ok`.
pub(crate) const ROUNDS: &str = "rounds";

impl TestFaults {
    /// The answer to a CONNECT with one of our methods.
    pub(crate) async fn begun(&self, connect: &Connect) -> AuthOutcome {
        if connect.auth_method.as_deref() == Some(ROUNDS) {
            return AuthOutcome::Continue { data: b"go on".to_vec(), state: 1 };
        }
        self.step(connect, connect.auth_data.as_ref(), 0).await
    }

    /// The answer to an AUTH.
    pub(crate) async fn went_on(&self, step: &AuthExchange) -> AuthOutcome {
        if step.connect.auth_method.as_deref() == Some(ROUNDS) {
            return match (step.data.as_bytes(), step.state) {
                (b"ok", 1) => AuthOutcome::accept(self.identity(&step.connect).with_grants(self.grants.clone())),
                (b"begin", _) => AuthOutcome::Continue { data: b"go on".to_vec(), state: 1 },
                _ => AuthOutcome::reject("wrong answer"),
            };
        }
        self.step(&step.connect, Some(&step.data), step.state).await
    }

    async fn step(&self, connect: &Connect, data: Option<&Secret>, state: u64) -> AuthOutcome {
        let data = data.map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned()).unwrap_or_default();
        let (word, rest) = data.split_once(' ').unwrap_or((&data, ""));
        match word {
            "continue" => AuthOutcome::Continue { data: format!("round {}", state + 1).into(), state: state + 1 },
            "accept" => match self.somebody(connect, rest) {
                Ok(identity) => {
                    AuthOutcome::accept(Identity { auth_data: format!("after {state}").into(), ..identity })
                }
                Err(why) => AuthOutcome::reject(why),
            },
            "reject" => AuthOutcome::Reject {
                code: ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                reason: "for the log".into(),
                reason_string: Some("for the client".into()),
                delay: Duration::ZERO,
            },
            "redirect" => AuthOutcome::redirect(rest),
            "next" => AuthOutcome::Next,
            "unavailable" => AuthOutcome::Unavailable { retry_after: Duration::from_secs(1) },
            "panic" => match Fault::Panic.commit() {
                Ok(()) => AuthOutcome::Next,
                Err(why) => AuthOutcome::reject(why),
            },
            "hang" => std::future::pending().await,
            _ => AuthOutcome::reject(format!("no such step: {word}")),
        }
    }

    /// The client as itself, with what `changes` say, such as `user=bob allow=a/# deny=b`.
    fn somebody(&self, connect: &Connect, changes: &str) -> Result<Identity, String> {
        let mut identity = self.identity(connect);
        let mut grants = Vec::new();
        for change in changes.split_whitespace() {
            let (name, value) = change.split_once('=').ok_or("name=value")?;
            let number = || value.parse::<u64>().map_err(|e| format!("{change}: {e}"));
            match name {
                "tenant" => identity.tenant = value.into(),
                "user" => identity.user = value.into(),
                "client_id" => identity.client_id = Some(value.into()),
                "valid_ms" => identity.valid_until_ms = self.host.now_ms() + number()?,
                "valid_until_ms" => identity.valid_until_ms = number()?,
                "qos_max" => identity.limits.qos_max = Some(number()?),
                "retain" => identity.limits.retain_allowed = Some(number()?),
                "levels" => identity.limits.topic_levels_max = Some(number()?),
                "keep_alive" => identity.limits.keep_alive_s_max = Some(number()?),
                "allow" => grants.push(Grant::allow(Actions::ALL, value)),
                "deny" => grants.push(Grant::deny(Actions::ALL, value)),
                "ask" => grants.push(Grant::ask(Actions::ALL, value)),
                _ => return Err(format!("no such change: {name}")),
            }
        }
        if grants.is_empty() {
            grants.clone_from(&self.grants);
        }
        Ok(identity.with_grants(grants))
    }
}
