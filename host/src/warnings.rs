//! What is no reason to refuse a configuration, and is told by `gatemq check` and at a start: certificates and revocation lists that are
//! not of now, and secrets that everybody on the machine may read.

use std::path::Path;

use crate::certificates::{EXPIRING_S, validities};
use crate::config::{ClientAuth, Config, ListenerTls};
use crate::listen::tls::RevocationLists;
use crate::platform;

const DAY_S: i64 = 86_400;

/// What is found, a line each that begins with its key.
struct Found {
    lines: Vec<String>,
    /// Since 1970.
    now_s: i64,
}

/// Looks at the files that a configuration names. What cannot be read is left to whoever needs it. `now_s`: since 1970.
pub(crate) fn of(config: &Config, now_s: i64) -> Vec<String> {
    let mut found = Found { lines: Vec::new(), now_s };
    for (name, listener) in &config.listeners {
        if let Some(tls) = &listener.tls {
            found.listener(&format!("listeners.{name}.tls"), tls);
        }
    }
    if let Some(http) = config.http.as_ref().and_then(|http| http.tls.as_ref()) {
        found.listener("http.tls", http);
    }
    if let Some(cluster) = &config.cluster {
        found.secret("cluster.secret_file", &cluster.secret_file);
        found.certificates("cluster.tls.certificate_file", &cluster.tls.certificate_file);
        found.secret("cluster.tls.private_key_file", &cluster.tls.private_key_file);
        found.certificates("cluster.tls.ca_file", &cluster.tls.ca_file);
        if let Some(file) = &cluster.tls.crl_file {
            found.lists("cluster.tls.crl_file", file);
        }
    }
    if config.overload.memory_bytes_max > 0 && platform::resident_bytes().is_none() {
        let what = "this system does not tell how much memory the process has: it is no limit here";
        found.lines.push(format!("overload.memory_bytes_max: {what}"));
    }
    found.lines
}

impl Found {
    fn listener(&mut self, at: &str, tls: &ListenerTls) {
        self.certificates(&format!("{at}.certificate_file"), &tls.certificate_file);
        self.secret(&format!("{at}.private_key_file"), &tls.private_key_file);
        for (host, files) in &tls.sni {
            self.certificates(&format!("{at}.sni.{host:?}.certificate_file"), &files.certificate_file);
            self.secret(&format!("{at}.sni.{host:?}.private_key_file"), &files.private_key_file);
        }
        match &tls.client_auth {
            ClientAuth::None => {}
            ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file } => {
                self.certificates(&format!("{at}.client_ca_file"), ca_file);
            }
        }
        if let Some(crl) = &tls.client_crl {
            self.lists(&format!("{at}.client_crl_file"), &crl.file);
        }
    }

    fn say(&mut self, key: &str, file: &Path, what: &str) {
        self.lines.push(format!("{key}: {}: {what}", file.display()));
    }

    fn certificates(&mut self, key: &str, file: &Path) {
        for of in validities(file) {
            let subject = of.subject.escape_debug();
            let left_s = of.not_after_s - self.now_s;
            if of.not_before_s > self.now_s {
                let wait_s = of.not_before_s - self.now_s;
                let next = "whoever verifies it refuses it until then; is this clock right?";
                self.say(key, file, &format!("the certificate `{subject}` is valid in {wait_s} s only: {next}"));
            } else if left_s <= 0 {
                let next = "whoever verifies it refuses it; renew it, then `gatemq reload`";
                self.say(
                    key,
                    file,
                    &format!("the certificate `{subject}` expired {} days ago: {next}", -left_s / DAY_S),
                );
            } else if left_s <= EXPIRING_S {
                let next = "renew it, then `gatemq reload`";
                self.say(key, file, &format!("the certificate `{subject}` ends in {} days; {next}", left_s / DAY_S));
            }
        }
    }

    fn lists(&mut self, key: &str, file: &Path) {
        let Ok(lists) = RevocationLists::load(file, false) else { return };
        let now_s = self.now_s;
        for list in lists.details.iter().filter(|list| list.next_update_s <= now_s) {
            let (issuer, ago_s) = (list.issuer.escape_debug(), now_s - list.next_update_s);
            let next = "whoever its authority has certified is refused; fetch a new one, then `gatemq reload`";
            self.say(key, file, &format!("the list of `{issuer}` is out of date since {ago_s} s: {next}"));
        }
    }

    fn secret(&mut self, key: &str, file: &Path) {
        let Ok(about) = std::fs::metadata(file) else { return };
        match platform::mode(&about) {
            Some(mode) if mode & 0o007 != 0 => {
                let next = "chmod 640, or 600, and renew what was in it";
                self.say(key, file, &format!("everybody on this machine may read it (mode {mode:o}); {next}"));
            }
            Some(_) => {}
            None => {
                let next = "see to it that its access control list names the broker's user and administrators alone";
                self.say(key, file, &format!("this system does not tell who may read it; {next}"));
            }
        }
    }
}
