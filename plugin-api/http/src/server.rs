//! A server in a plugin's configuration.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use gatemq_plugin_api::Host;
use gatemq_plugin_api::serde::Deserialize;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Url};

use crate::{Client, file};

/// Largest file with certificates, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Longest time that a server may be given, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 60_000;
/// Connections that are kept for the next question, and for how long.
const IDLE_MAX: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// A server that a plugin asks, as it is written in the plugin's configuration.
///
/// ```toml
/// server.url = "https://auth.example.com/mqtt"             # http:// only for addresses like 127.0.0.1
/// server.ca_file = "/etc/gatemq/auth-ca.crt"               # its authorities, instead of the system's
/// server.certificate_file = "/etc/gatemq/auth-client.crt"  # shown to it
/// server.private_key_file = "/etc/gatemq/auth-client.key"
/// server.authorization_file = "/etc/gatemq/auth.secret"    # value of the Authorization header
/// server.timeout_ms = 3000                                 # of a whole exchange
/// ```
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(crate = "gatemq_plugin_api::serde")]
pub struct Server {
    /// Where it is.
    pub url: String,
    /// Authorities that sign its certificate, PEM; by default those of the system.
    pub ca_file: Option<PathBuf>,
    /// Certificate chain to show, PEM, the own one first.
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    pub private_key_file: Option<PathBuf>,
    /// Holds the value of the Authorization header, such as `Bearer …`.
    pub authorization_file: Option<PathBuf>,
    /// How long an exchange may take, connecting included, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    3000
}

impl Server {
    /// How long an exchange may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// A client that takes answers of at most `bytes_max` bytes. Reads the files; connects to nobody.
    ///
    /// # Errors
    /// Every problem, each with its key.
    pub fn client(&self, bytes_max: usize, host: &Host) -> Result<Client, Vec<String>> {
        let mut problems = Vec::new();
        let url = problem_of("url", self.checked_url(), &mut problems);
        if self.timeout_ms == 0 || self.timeout_ms > TIMEOUT_MS_MAX {
            problems.push(format!("timeout_ms: is {}; wanted 1 to {TIMEOUT_MS_MAX}", self.timeout_ms));
        }
        let headers = problem_of("authorization_file", self.headers(), &mut problems);
        let roots = problem_of("ca_file", self.roots(), &mut problems);
        let identity = problem_of("certificate_file", self.identity(), &mut problems);
        let (Some(url), Some(headers), Some(roots), Some(identity), true) =
            (url, headers, roots, identity, problems.is_empty())
        else {
            return Err(problems);
        };
        let mut builder = reqwest::Client::builder()
            .https_only(url.scheme() == "https")
            .redirect(Policy::none())
            // The environment is no place for a decision about who may read passwords.
            .no_proxy()
            .referer(false)
            .default_headers(headers)
            .user_agent("gatemq")
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME);
        if let Some(roots) = roots {
            builder = builder.tls_certs_only(roots);
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|e| vec![format!("url: {}", crate::client::told(&e))])?;
        Ok(Client::new(http, url, bytes_max, host.clone()))
    }

    fn checked_url(&self) -> Result<Url, String> {
        let url = Url::parse(&self.url).map_err(|e| format!("is not a URL: {e}"))?;
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match url.scheme() {
            "https" => {}
            "http" if address.is_ok_and(|address| address.is_loopback()) => {}
            "http" => {
                return Err(format!(
                    "{host:?} is asked over http, which others can read and answer; wanted https, or an address of this \
                     machine such as 127.0.0.1"
                ));
            }
            other => return Err(format!("is {other}; wanted https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or password; use authorization_file".into());
        }
        match url.fragment() {
            Some(_) => Err("has a fragment (#…), which no server sees".into()),
            None => Ok(url),
        }
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        if let Some(path) = &self.authorization_file {
            let secret = file::read_secret(path)?;
            let mut value = HeaderValue::from_bytes(secret.as_bytes())
                .map_err(|_| format!("{}: holds more than one line, or what a header cannot hold", path.display()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    fn roots(&self) -> Result<Option<Vec<Certificate>>, String> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let roots = Certificate::from_pem_bundle(&file::read(path, PEM_BYTES_MAX)?).map_err(|e| wrong(&e))?;
        match roots.is_empty() {
            true => Err(wrong(&"no certificate in it; wanted PEM blocks named CERTIFICATE")),
            false => Ok(Some(roots)),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, String> {
        let (certificate, key) = match (&self.certificate_file, &self.private_key_file) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            _ => return Err("give certificate_file and private_key_file, or neither".into()),
        };
        let mut pem = file::read(certificate, PEM_BYTES_MAX)?;
        pem.push(b'\n');
        pem.extend_from_slice(file::read_secret(key)?.as_bytes());
        // Wiped when it is dropped.
        let pem = gatemq_plugin_api::Secret::new(pem);
        let identity = Identity::from_pem(pem.as_bytes());
        identity.map(Some).map_err(|_| {
            format!(
                "{} and {}: wanted certificates and one key, PEM, not encrypted",
                certificate.display(),
                key.display()
            )
        })
    }
}

fn problem_of<T>(key: &str, result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|e| problems.push(format!("{key}: {e}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that passwords and tokens cross no network in the clear, and stand in no URL.
    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (url, good) in [
            ("https://auth.example.com/mqtt?x=1", true),
            ("https://192.0.2.1/", true),
            ("http://127.0.0.1:8080/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://0.0.0.0/", false),
            ("http://192.168.1.1/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("http://127.0.0.1@example.com/", false),
            ("https://user:secret@example.com/", false),
            ("https://user@example.com/", false),
            ("https://example.com/#x", false),
            ("ftp://127.0.0.1/", false),
            ("file:///etc/passwd", false),
            ("127.0.0.1:80", false),
            ("", false),
        ] {
            let server = Server {
                url: url.into(),
                ca_file: None,
                certificate_file: None,
                private_key_file: None,
                authorization_file: None,
                timeout_ms: 1,
            };
            assert_eq!(server.checked_url().is_ok(), good, "{url}: {:?}", server.checked_url());
        }
    }
}
