//! Auth provider for clients with a certificate: trust anchor, names, key and validity become tenant, user, client identifier and
//! grants, by rules in order; what is revoked is in a file. What may be in its configuration is in `README.md` beside it.
//!
//! The tenant comes from the anchor that verified the path, never from a name: names are unique only within an anchor.
#![forbid(unsafe_code)]

mod anchors;
mod network;
mod pattern;
mod revoked;
mod rules;
mod state;
mod template;

use std::sync::Arc;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{Der, Tls, tracing};
use sha2::{Digest, Sha256};

use revoked::Entry;
use state::{Config, State, watch};
use template::Shown;

struct AuthCertificate(Arc<State>);

impl Plugin for AuthCertificate {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let state = State::start(config, host)?;
        watch(&state);
        Ok(AuthCertificate(state))
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        self.0.reconfigure(config)?;
        let state = self.0.clone();
        self.0.host.spawn(async move { state.revoke().await });
        Ok(())
    }

    fn health(&self) -> Health {
        watch(&self.0);
        let trouble = self.0.trouble();
        trouble.map_or(Health::Ready, |why| Health::Degraded(format!("the certificates of before stay revoked: {why}")))
    }
}

impl AuthProvider for AuthCertificate {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        watch(&self.0);
        let Some(tls) = connect.tls.as_ref().filter(|t| t.verified) else { return AuthOutcome::Next };
        report(connect, tls);
        self.decide(connect, tls).unwrap_or_else(AuthOutcome::reject)
    }
}

/// A certificate of the verified path.
struct OfPath {
    certificate: Certificate,
    fingerprint: [u8; 32],
}

impl AuthCertificate {
    /// # Errors
    /// Why nobody is admitted with these certificates, whatever the rules say.
    fn decide(&self, connect: &Connect, tls: &Tls) -> Result<AuthOutcome, String> {
        let in_force = self.0.in_force();
        let known = |anchor: &[u8; 32]| in_force.policy.anchors.tenant(anchor).map(|tenant| (*anchor, tenant));
        let anchor = tls.anchor.as_ref().and_then(|anchor| known(&anchor.spki_sha256));
        let Some((anchor, tenant)) = anchor else { return Ok(AuthOutcome::Next) };
        let path = path(tls)?;
        let Some(leaf) = path.first() else { return Err("the verified path has no certificate".into()) };
        let mut tags = Vec::new();
        for of_path in &path {
            for entry in Entry::of(tenant, of_path.fingerprint, &of_path.certificate) {
                if in_force.revoked.has(&entry) {
                    self.0.host.count("revoked_refused", 1);
                    return Err(format!(
                        "certificate {:?} is revoked, as {}",
                        of_path.certificate.subject,
                        entry.tag()
                    ));
                }
                if in_force.revoked.has_serial_of_another(&entry) {
                    tracing::info!("revoked is this serial number of another issuer, and so not {}", entry.tag());
                }
                tags.push(entry.tag());
            }
        }
        let ends_s = path.iter().map(|of_path| of_path.certificate.not_after_s).min().unwrap_or(0);
        let valid_until_ms = u64::try_from(ends_s).unwrap_or(0).saturating_mul(1000);
        let now_ms = self.0.host.now_ms();
        if valid_until_ms <= now_ms {
            return Err("the time of its certificate is over, or of one above it".into());
        }
        let shown = Shown {
            tenant,
            anchor,
            listener: &connect.listener,
            client_id: &connect.client_id,
            client_id_assigned: connect.client_id_assigned,
            certificate: &leaf.certificate,
            fingerprint: leaf.fingerprint,
            spki: sha256(&leaf.certificate.spki),
            valid_until_ms,
            now_ms,
        };
        match in_force.policy.rules.iter().find(|rule| rule.matches(&shown)) {
            Some(rule) => Ok(rule.apply(&shown, tags)),
            None => Err("no rule matches this certificate".into()),
        }
    }
}

/// The certificates that the verifier went through, the client's own first; what else the client sent does not count.
///
/// # Errors
/// One of them cannot be read.
fn path(tls: &Tls) -> Result<Vec<OfPath>, String> {
    let at = |n: &u32| {
        let der: Option<&Der> = usize::try_from(*n).ok().and_then(|n| tls.chain.get(n));
        let der = der.ok_or("the verified path is not in the chain")?;
        let certificate = Certificate::parse(der).map_err(|e| e.to_string())?;
        Ok(OfPath { certificate, fingerprint: sha256(der.as_bytes()) })
    };
    match tls.path.first() {
        Some(0) => tls.path.iter().map(at).collect(),
        _ => Err("the verified path does not begin with the client's certificate".into()),
    }
}

/// Puts down the chain as it arrived, for whoever sets up a PKI: target `auth_certificate`, level debug.
fn report(connect: &Connect, tls: &Tls) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for (n, der) in tls.chain.iter().enumerate() {
        let (subject, issuer, serial) = Certificate::parse(der)
            .map_or_else(|e| (e.to_string(), String::new(), String::new()), |c| (c.subject, c.issuer, hex(&c.serial)));
        let sha256 = hex(&sha256(der.as_bytes()));
        let verified = tls.path.contains(&u32::try_from(n).unwrap_or(u32::MAX));
        tracing::debug!(
            connection = connect.connection,
            n,
            subject,
            issuer,
            serial,
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

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A SHA-256 as `openssl` and others write it.
fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ':').collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[char; 2]| u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let sha256 = bytes.filter(|_| rest.is_empty()).and_then(|bytes| bytes.try_into().ok());
    sha256.ok_or_else(|| format!("{text:?}: wanted are the 64 hexadecimal digits of a SHA-256"))
}

export_plugin!(AuthCertificate: auth);
