//! From a token to an identity.

use std::time::Duration;

use gatemq_plugin_api::prelude::*;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};

use crate::State;
use crate::claims;
use crate::config::Rules;
use crate::key_set::NoKey;
use crate::keys::Without;
use crate::template::{Claims, attributes, texts};
use crate::token::{BYTES_MAX, NO_TOKEN, TokenFrom};

/// When it may be worth trying again where there are no keys.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Characters of a key's name that a reason shows.
const SHOWN_MAX: usize = 64;

/// Who a client with this token is. Nothing of the token gets into a reason but the name of its key.
pub(crate) async fn admit(state: &State, host: &Host, token: &str, connect: &Connect) -> AuthOutcome {
    let rules = &state.rules;
    let header = match header(token, rules) {
        Ok(header) => header,
        Err(why) => return rules.refused(why),
    };
    let key = match state.keys.find(header.kid.as_deref(), header.alg).await {
        Ok(key) => key,
        Err(Without::Key(NoKey::Missing)) => return rules.refused(&missing(&header)),
        Err(Without::Key(NoKey::Several)) => {
            return rules.refused("several keys fit; wanted a token that names its key (kid)");
        }
        Err(Without::Keys(_)) => return AuthOutcome::Unavailable { retry_after: RETRY_AFTER },
    };
    match verify(token, &key, header.alg) {
        Ok(claims) => rules.admit(&claims, connect, host.now_ms()),
        Err(why) => rules.refused(why),
    }
}

/// What the token says of itself, if that is what the configuration lets it.
fn header(token: &str, rules: &Rules) -> Result<Header, &'static str> {
    if token.len() > BYTES_MAX {
        return Err("its token is too large");
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| NO_TOKEN)?;
    match rules.algorithms.contains(&header.alg) {
        true => Ok(header),
        false => Err("its token is signed by an algorithm that is not in algorithms"),
    }
}

fn missing(header: &Header) -> String {
    let id: Option<String> = header.kid.as_ref().map(|id| id.chars().take(SHOWN_MAX).collect());
    match id {
        Some(id) => format!("there is no key {id:?} for {:?}", header.alg),
        None => format!("there is no key for {:?}", header.alg),
    }
}

/// The claims of a token whose signature is good. They are checked later: [`claims::check`].
fn verify(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<Claims, &'static str> {
    let mut validation = Validation::new(algorithm);
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.required_spec_claims.clear();
    let verified = jsonwebtoken::decode::<Claims>(token, key, &validation);
    verified.map(|token| token.claims).map_err(|e| match e.kind() {
        ErrorKind::InvalidSignature => "the signature of its token is wrong",
        // What serde says may hold pieces of the token.
        _ => NO_TOKEN,
    })
}

impl Rules {
    /// Refuses what is no good token: as a wrong password is, where the token takes its place (2.4, 0x86).
    pub(crate) fn refused(&self, why: &str) -> AuthOutcome {
        let code = match self.token_from {
            TokenFrom::Password => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            TokenFrom::AuthData | TokenFrom::UserProperty(_) => ReasonCode::NOT_AUTHORIZED,
        };
        AuthOutcome::Reject { code, reason: why.into(), reason_string: None, delay: Duration::ZERO }
    }

    /// Who somebody with these claims is.
    fn admit(&self, claims: &Claims, connect: &Connect, now_ms: u64) -> AuthOutcome {
        let valid_until_ms = match claims::check(claims, self, now_ms) {
            Ok(until_ms) => until_ms,
            Err(why) => return self.refused(why),
        };
        let (tenant, user) = match (self.tenant.fill(claims), self.user.fill(claims)) {
            (Ok(tenant), Ok(user)) => (tenant, user),
            (Err(why), _) | (_, Err(why)) => return AuthOutcome::reject(why),
        };
        let client_id = match self.client_id.as_ref().map(|template| template.fill(claims)).transpose() {
            Ok(client_id) => client_id,
            Err(why) => return AuthOutcome::reject(why),
        };
        // Who asked for no identifier is given the token's.
        if client_id.as_ref().is_some_and(|id| !connect.client_id_assigned && *id != connect.client_id) {
            return AuthOutcome::Reject {
                code: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                reason: "its token is for another client identifier".into(),
                reason_string: None,
                delay: Duration::ZERO,
            };
        }
        AuthOutcome::accept(Identity {
            client_id,
            attributes: attributes(claims, &self.claims),
            valid_until_ms,
            ..Identity::new(tenant, user).with_grants(self.grants_of(claims))
        })
    }

    /// Everybody's grants, then those of the groups that the token names, in the configuration's order.
    fn grants_of(&self, claims: &Claims) -> Vec<Grant> {
        let named = self.groups_claim.as_ref().map(|claim| texts(claims, claim)).unwrap_or_default();
        // OAuth's scope (RFC 8693, 4.2) is one text with spaces.
        let named: Vec<&str> = match named.as_slice() {
            [one] => one.split(' ').collect(),
            several => several.iter().map(String::as_str).collect(),
        };
        let groups = self.groups.iter().filter(|(name, _)| named.contains(&name.as_str()));
        self.grants.iter().chain(groups.flat_map(|(_, grants)| grants)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
