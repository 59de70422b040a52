//! Auth provider for clients with a JSON Web Token (RFC 7519). What may be in its configuration is in `README.md` beside it.
//!
//! A token is taken from the password, or from where `token_from` says. One that is not there, or a password that does not look
//! like a token, is some other provider's (`Next`); one that is not good is refused. The key's own type and the configuration's
//! `algorithms` decide how a signature is verified, never the token: a set of public keys holds no shared secrets, and `none`
//! is no algorithm.
#![forbid(unsafe_code)]

mod admit;
mod claims;
mod config;
mod key_set;
mod keys;
mod source;
mod template;
mod token;

use std::sync::{Arc, PoisonError, RwLock};

use gatemq_plugin_api::prelude::*;

use config::{Config, Rules};
use keys::Keys;
use token::{Presented, TokenFrom};

struct AuthJwt {
    host: Host,
    state: RwLock<Arc<State>>,
}

/// What is in force.
struct State {
    rules: Rules,
    keys: Keys,
}

impl Plugin for AuthJwt {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let rules = config.check()?;
        let keys = Keys::start(&config, &host)?;
        Ok(AuthJwt { host, state: RwLock::new(Arc::new(State { rules, keys })) })
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        let rules = config.check()?;
        let keys = self.state().keys.follow(&config, &self.host)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(State { rules, keys });
        Ok(())
    }

    fn health(&self) -> Health {
        self.state().keys.health()
    }
}

impl AuthProvider for AuthJwt {
    fn offers_method(&self, method: &str) -> bool {
        let state = self.state();
        state.rules.token_from == TokenFrom::AuthData && state.rules.auth_method == method
    }

    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        let state = self.state();
        match token::of(connect, &state.rules.token_from) {
            Presented::Nothing => AuthOutcome::Next,
            Presented::Unusable(why) => self.told(state.rules.refused(why)),
            Presented::Token(token) => self.told(admit::admit(&state, &self.host, token, connect).await),
        }
    }

    async fn exchange(&self, step: &AuthExchange) -> AuthOutcome {
        let state = self.state();
        if !step.reauthentication {
            return AuthOutcome::reject("a token is shown in CONNECT");
        }
        match std::str::from_utf8(step.data.as_bytes()) {
            Ok(token) => self.told(admit::admit(&state, &self.host, token, &step.connect).await),
            Err(_) => self.told(state.rules.refused(token::NO_TOKEN)),
        }
    }
}

impl AuthJwt {
    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn told(&self, outcome: AuthOutcome) -> AuthOutcome {
        match &outcome {
            AuthOutcome::Accept(_) => self.host.count("tokens_accepted", 1),
            _ => self.host.count("tokens_refused", 1),
        }
        outcome
    }
}

export_plugin!(AuthJwt: auth);
