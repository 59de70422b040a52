//! What signatures are verified with: a shared secret, or public keys, and never both.

use std::sync::Arc;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_http::file;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::Config;
use crate::key_set::NoKey;
use crate::source::Source;

/// See the module.
pub(crate) enum Keys {
    Secret(DecodingKey),
    Public(Arc<Source>),
}

/// Why a token has no key.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Without {
    /// There is none for it.
    Key(NoKey),
    /// There are no keys at all now.
    Keys(String),
}

impl Keys {
    /// # Errors
    /// What is wrong with the file, or with how the server is written.
    pub(crate) fn start(config: &Config, host: &Host) -> Result<Self, String> {
        match secret(config)? {
            Some(key) => Ok(Keys::Secret(key)),
            None => Source::start(config, host).map(Keys::Public),
        }
    }

    /// As [`Keys::start`], after these: a server that is still the same need not answer before it can go on.
    ///
    /// # Errors
    /// As [`Keys::start`], and no answer of another server.
    pub(crate) fn follow(&self, config: &Config, host: &Host) -> Result<Self, String> {
        match (secret(config)?, self) {
            (Some(key), _) => Ok(Keys::Secret(key)),
            (None, Keys::Public(before)) => before.follow(config, host).map(Keys::Public),
            (None, Keys::Secret(_)) => Source::start(config, host).map(Keys::Public),
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self {
            Keys::Secret(_) => Health::Ready,
            Keys::Public(source) => source.health(),
        }
    }

    /// The key for a token that names `id`, or none. One that is missing is looked for once more.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, Without> {
        let source = match self {
            Keys::Secret(key) => return Ok(key.clone()),
            Keys::Public(source) => source,
        };
        let find = || {
            let set = source.set().map_err(Without::Keys)?;
            set.find(id, algorithm).cloned().map_err(Without::Key)
        };
        match find() {
            Err(Without::Key(NoKey::Missing)) => {
                source.look_again().await;
                find()
            }
            found => found,
        }
    }
}

/// The shared secret. RFC 7518, 3.2: at least as long as what the algorithms make.
fn secret(config: &Config) -> Result<Option<DecodingKey>, String> {
    let Some(path) = &config.secret_file else { return Ok(None) };
    let secret = file::read_secret(path).map_err(|e| format!("secret_file: {e}"))?;
    let wanted = config.algorithms.iter().map(|algorithm| match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    });
    let (wanted, found) = (wanted.max().unwrap_or(64), secret.as_bytes().len());
    if found < wanted {
        let path = path.display();
        return Err(format!("secret_file: {path}: has {found} bytes; wanted at least {wanted} for these algorithms"));
    }
    DecodingKey::from_secret(secret.as_bytes()).map(Some).map_err(|e| format!("secret_file: {e}"))
}
