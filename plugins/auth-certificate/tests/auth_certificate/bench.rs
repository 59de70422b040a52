//! A host without a broker, two authorities of the same names, and files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gatemq_plugin_testkit::rcgen::{CertificateParams, SanType};
use gatemq_plugin_testkit::{AuthOutcome, Authority, Chain, Connect, Identity, Started, TestHost, build, connect};
use serde_json::{Value, json};

/// In this time whatever is well must have happened, also on a machine with other things to do.
const SOON: Duration = Duration::from_secs(20);

/// Tenants `acme` and `umbra`, whose authorities have the same names, and a stranger's.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) acme: Authority,
    pub(crate) umbra: Authority,
    pub(crate) stranger: Authority,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let [acme, umbra, stranger] = [(); 3].map(|()| Authority::new("Acme"));
        let bench = Bench { dir: tempfile::tempdir().unwrap(), acme, umbra, stranger };
        bench.write("acme.crt", &bench.acme.root_pem());
        bench.write("umbra.crt", &bench.umbra.root_pem());
        bench
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file in one step.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.file("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, Permissions::from_mode(0o640)).unwrap();
        std::fs::rename(&new, self.file(name)).unwrap();
    }

    /// A configuration with these rules.
    pub(crate) fn config(&self, rules: Value) -> Value {
        json!({"anchors": {"acme": self.file("acme.crt"), "umbra": self.file("umbra.crt")}, "rules": rules})
    }

    /// The same, with the file `revoked`.
    pub(crate) fn revoking(&self, rules: Value) -> Value {
        let mut config = self.config(rules);
        config["revoked_file"] = json!(self.file("revoked"));
        config
    }

    pub(crate) fn start(&self, config: Value) -> Started {
        TestHost::new(build!()).start(config).unwrap()
    }

    /// Why it does not start.
    pub(crate) fn refused(&self, config: Value) -> String {
        TestHost::new(build!()).start(config).err().expect("it must not start")
    }
}

/// A rule that admits whoever it holds for, with more keys.
pub(crate) fn admits(more: Value) -> Value {
    let mut rule = json!({"grants": [{"allow": ["all"], "filter": "#"}]});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

/// With these alternative names.
pub(crate) fn names(params: &mut CertificateParams, uris: &[&str], dns: &[&str]) {
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    let dns = dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
    params.subject_alt_names = uris.chain(dns).collect();
}

/// The client `c-1` with this chain.
pub(crate) fn with(chain: &Chain) -> Connect {
    chain.shown_by(connect("c-1"))
}

pub(crate) fn ask(plugin: &Started, connect: &Connect) -> AuthOutcome {
    plugin.authenticate(connect).expect("an answer")
}

pub(crate) fn accepted(plugin: &Started, connect: &Connect) -> Identity {
    match ask(plugin, connect) {
        AuthOutcome::Accept(identity) => *identity,
        other => panic!("{} gets {other:?}", connect.client_id),
    }
}

/// Why it is refused.
pub(crate) fn rejected(plugin: &Started, connect: &Connect) -> String {
    match ask(plugin, connect) {
        AuthOutcome::Reject { reason, .. } => reason,
        other => panic!("{} gets {other:?}", connect.client_id),
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
