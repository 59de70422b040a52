//! Auth provider for clients with a certificate: maps trust anchor, subject, names or fingerprint to tenant, user,
//! client id and grants.
//!
//! ```toml
//! [plugins.fleet]
//! library = "auth-certificate"
//! [plugins.fleet.config]
//! anchors = { acme = "/etc/gatemq/tls/acme-ca.crt" }     # tenant = file with its trust anchors
//! rules = [
//!     { common_name = "gateway-*", user = "${cert.cn}", grants = [{ allow = ["all"], filter = "sites/#" }] },
//!     { common_name = "*", client_id = "${cert.cn}", grants = [{ allow = ["all"], filter = "devices/${client_id}/#" }] },
//! ]
//! ```
//!
//! The tenant comes from the anchor, never from a name. Rules are walked in order; the first whose conditions all hold
//! decides. A client without a verified certificate, or with one of an anchor that is not in `anchors`, is not this plugin's
//! kind (`Next`); one that no rule matches is refused.
#![forbid(unsafe_code)]

mod anchors;
mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{Tls, tracing};
use sha2::{Digest, Sha256};

use anchors::Anchors;
use rules::{Rule, RuleConfig};

/// See the crate.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
struct Config {
    /// Tenant to file (PEM) with the certificates that are its trust anchors.
    anchors: BTreeMap<String, PathBuf>,
    /// Rules, in order.
    rules: Vec<RuleConfig>,
}

struct AuthCertificate {
    anchors: Anchors,
    rules: Vec<Rule>,
}

impl Plugin for AuthCertificate {
    type Config = Config;

    fn start(config: Config, _: Host) -> Result<Self, StartError> {
        let anchors = Anchors::load(&config.anchors)?;
        if config.rules.is_empty() {
            return Err(StartError("rules: there is none, so nobody would be admitted; give at least one".into()));
        }
        let tenants = |name: &str| config.anchors.contains_key(name);
        let rules = config
            .rules
            .into_iter()
            .enumerate()
            .map(|(n, r)| Rule::new(n + 1, r, &tenants))
            .collect::<Result<_, _>>()?;
        Ok(AuthCertificate { anchors, rules })
    }
}

impl AuthProvider for AuthCertificate {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        let Some(tls) = connect.tls.as_ref().filter(|t| t.verified) else { return AuthOutcome::Next };
        report(connect, tls);
        let (Some(anchor), Some(leaf)) = (&tls.anchor, tls.verified_leaf()) else { return AuthOutcome::Next };
        let Some(tenant) = self.anchors.tenant(&anchor.spki_sha256) else { return AuthOutcome::Next };
        let certificate = match Certificate::parse(leaf) {
            Ok(certificate) => certificate,
            Err(e) => return AuthOutcome::reject(e.to_string()),
        };
        let shown = rules::Shown::new(tenant, connect, &certificate, tls.leaf_sha256);
        match self.rules.iter().find(|rule| rule.matches(&shown)) {
            Some(rule) => rule.apply(&shown),
            None => AuthOutcome::reject("no rule matches this certificate"),
        }
    }
}

/// Puts down the chain as it arrived, for whoever sets up a PKI: target `auth_certificate`, level debug.
fn report(connect: &Connect, tls: &Tls) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for (n, der) in tls.chain.iter().enumerate() {
        let subject = Certificate::parse(der).map_or_else(|e| e.to_string(), |c| c.subject);
        let sha256 = hex(&Sha256::digest(der.as_bytes()));
        let verified = tls.path.contains(&u32::try_from(n).unwrap_or(u32::MAX));
        tracing::debug!(
            connection = connect.connection,
            n,
            subject,
            sha256,
            bytes = der.as_bytes().len(),
            verified,
            "certificate"
        );
    }
    let anchor = tls.anchor.as_ref().map_or("", |a| a.subject.as_str());
    let spki_sha256 = tls.anchor.as_ref().map_or_else(String::new, |a| hex(&a.spki_sha256));
    tracing::debug!(connection = connect.connection, path = ?tls.path, anchor, spki_sha256, "verified path");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

export_plugin!(AuthCertificate: auth);
