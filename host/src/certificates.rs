//! TLS files of listeners and of the cluster while the node runs: read again at a reload or when they change, and told of before they
//! end. What was wrong changes nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatemq_types::CloseReason;
use gatemq_types::event::Fact;
use tokio::sync::{Mutex, MutexGuard};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::api::http;
use crate::clock;
use crate::cluster::ClusterTlsReload;
use crate::config::{ClusterTls, Config, ListenerTls};
use crate::connection::{Client, Ending};
use crate::listen::tls::acceptor::files;
use crate::listen::tls::trust::read_certificates;
use crate::listen::tls::{Changed, Prepared};
use crate::listen::{self, Listener};
use crate::listeners::{Listeners, Plan};
use crate::node::Node;
use crate::platform;
use crate::worker::scan::Kick;

/// How long before its end a certificate is told of.
pub(crate) const EXPIRING_S: i64 = 30 * 86_400;
const DAY_MS: u64 = 86_400_000;
/// How often it is looked what ends.
const LOOK: Duration = Duration::from_secs(3600);
/// Of a list's time what is left when it is told of, as one part of so many; and at most so much.
const LIST_PART: i64 = 5;
const LIST_EXPIRING_S_MAX: i64 = 3 * 86_400;

/// See the module.
pub(crate) struct Certificates {
    node: Arc<Node>,
    listeners: Arc<Listeners>,
    /// That of the API over HTTP.
    http: OnceLock<Arc<Listener>>,
    cluster: OnceLock<(ClusterTlsReload, ClusterTls)>,
    /// Of whoever reads files and puts in force what was in them: what was read first must not come last.
    turn: Mutex<()>,
}

/// What was read for each listener.
pub(crate) type AllPrepared = Vec<(Arc<Listener>, Prepared)>;

/// File and name of what ends, and when it was told.
type Told = HashMap<(PathBuf, String), u64>;

impl Certificates {
    /// Of these listeners.
    pub(crate) fn new(node: Arc<Node>, listeners: Arc<Listeners>) -> Arc<Certificates> {
        let (http, cluster) = (OnceLock::new(), OnceLock::new());
        Arc::new(Certificates { node, listeners, http, cluster, turn: Mutex::default() })
    }

    /// And of the API over HTTP, which is served.
    pub(crate) fn with_http(&self, listener: Arc<Listener>) {
        // Once, by the start.
        let _ = self.http.set(listener);
    }

    /// And of the cluster, which the node has joined.
    pub(crate) fn with_cluster(&self, reload: ClusterTlsReload, files: ClusterTls) {
        // Once, by the start.
        let _ = self.cluster.set((reload, files));
    }

    /// To be held from [`prepare`](Self::prepare) to [`exchange`](Self::exchange).
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Those whose files are looked after.
    fn looked_after(&self) -> Vec<Arc<Listener>> {
        self.listeners.all().iter().chain(self.http.get()).cloned().collect()
    }

    /// Reads the files of all listeners that stay, as `config` names them. Nothing changes yet.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub(crate) fn prepare(&self, config: &Config, plan: &Plan) -> Result<AllPrepared, Vec<String>> {
        let (mut all, mut wrong) = (Vec::new(), Vec::new());
        let all_now = self.listeners.all();
        let stay = all_now.iter().filter(|listener| plan.keeps(&listener.name));
        let of_clients =
            stay.map(|listener| (listener, config.listeners.get(&*listener.name).map(|of| of.tls.as_ref())));
        // One that is configured no more, or has no TLS any more, stays as it is until the next start.
        let of_http = self.http.get().map(|listener| (listener, config.http.as_ref().map(|of| of.tls.as_ref())));
        for (listener, settings) in of_clients.chain(of_http) {
            match settings.flatten().map_or(Ok(None), |settings| prepare(listener, settings)) {
                Ok(prepared) => all.extend(prepared.map(|prepared| (listener.clone(), prepared))),
                Err(problem) => wrong.push(problem),
            }
        }
        if wrong.is_empty() { Ok(all) } else { Err(wrong) }
    }

    /// Reads the cluster's files again and uses them, where the node is in one.
    ///
    /// # Errors
    /// What is wrong; nothing changes then.
    pub(crate) fn reload_cluster(&self, tls: Option<&ClusterTls>) -> Result<(), String> {
        match (self.cluster.get(), tls) {
            (Some((cluster, _)), Some(tls)) => self.reload_of(cluster, tls),
            _ => Ok(()),
        }
    }

    fn reload_of(&self, cluster: &ClusterTlsReload, tls: &ClusterTls) -> Result<(), String> {
        cluster.reload(tls)?;
        let what = "server and clients".into();
        self.node.events.emit(None, Fact::CertificateReloaded { of_listener: "cluster".into(), what });
        Ok(())
    }

    /// Puts in force what was read. Clients whose certificates are revoked now, or whose authority is gone, are disconnected.
    pub(crate) fn exchange(&self, all: AllPrepared) {
        for (listener, prepared) in all {
            let Some(acceptor) = &listener.tls else { continue };
            let changed = acceptor.exchange(prepared);
            self.tell(&listener, changed);
            if changed.clients {
                self.node.end_refused(&listener);
            }
        }
    }

    fn tell(&self, listener: &Listener, changed: Changed) {
        let of_listener = || listener.name.to_string().into();
        let what = match (changed.server, changed.clients) {
            (true, true) => "server and clients",
            (false, true) => "clients",
            _ => "server",
        };
        self.node.events.emit(None, Fact::CertificateReloaded { of_listener: of_listener(), what: what.into() });
        let trust = listener.tls.as_ref().and_then(|acceptor| acceptor.trust());
        if let (true, Some(lists)) = (changed.clients, trust.as_ref().and_then(|trust| trust.lists())) {
            let (count, revoked) = (lists.details.len() as u64, lists.revoked() as u64);
            let fact = Fact::RevocationListReloaded { of_listener: of_listener(), lists: count, revoked };
            self.node.events.emit(None, fact);
        }
    }

    /// Reads again what has changed, every `every`; does not end. A listener whose files are wrong keeps what it has, the others
    /// do not wait for it.
    pub(crate) async fn watch(self: Arc<Self>, every: Duration) {
        let mut seen = self.fingerprint();
        loop {
            tokio::time::sleep(every).await;
            let now = self.fingerprint();
            if now == seen {
                continue;
            }
            seen = now;
            let _turn = self.turn().await;
            self.look_again();
        }
    }

    fn look_again(&self) {
        for listener in &self.looked_after() {
            let Some(acceptor) = &listener.tls else { continue };
            match prepare(listener, &acceptor.settings()) {
                Ok(prepared) => self.exchange(prepared.map(|p| (listener.clone(), p)).into_iter().collect()),
                Err(why) => self.keeps(why),
            }
        }
        if let Some((cluster, files)) = self.cluster.get()
            && let Err(why) = self.reload_of(cluster, files)
        {
            self.keeps(why);
        }
    }

    fn keeps(&self, why: String) {
        tracing::error!("{}; what was read before stays in force", why.escape_debug());
        self.node.events.emit(None, Fact::ConfigRefused { why: why.into() });
    }

    /// What tells that a file is another one.
    fn fingerprint(&self) -> Vec<Option<[u64; 4]>> {
        let of_listeners = self.settings().flat_map(|settings| files(&settings).collect::<Vec<_>>());
        let of_cluster = self.cluster.get().into_iter().flat_map(|(_, tls)| {
            let files = [&tls.certificate_file, &tls.private_key_file, &tls.ca_file].into_iter();
            files.chain(&tls.crl_file).cloned().collect::<Vec<_>>()
        });
        let of_file = |file: PathBuf| Some(platform::fingerprint(&std::fs::metadata(file).ok()?));
        of_listeners.chain(of_cluster).map(of_file).collect()
    }

    fn settings(&self) -> impl Iterator<Item = ListenerTls> {
        self.looked_after().into_iter().filter_map(|listener| Some(listener.tls.as_ref()?.settings()))
    }

    /// Tells what ends soon, each once a day; does not end.
    pub(crate) async fn tell_expiring(self: Arc<Self>) {
        let mut told = Told::new();
        loop {
            self.look_expiring(&mut told, clock::now_ms());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn look_expiring(&self, told: &mut Told, now_ms: u64) {
        told.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < DAY_MS);
        let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let of_listeners = self.settings().flat_map(|settings| files(&settings).collect::<Vec<_>>());
        let of_cluster = self.cluster.get().map(|(_, tls)| [tls.certificate_file.clone(), tls.ca_file.clone()]);
        for file in of_listeners.chain(of_cluster.into_iter().flatten()) {
            // Keys and lists hold none.
            for Validity { subject, not_after_s, .. } in validities(&file) {
                if not_after_s - now_s > EXPIRING_S || !is_new(told, &file, &subject, now_ms) {
                    continue;
                }
                let not_after_ms = u64::try_from(not_after_s).unwrap_or(0).saturating_mul(1000);
                let days = not_after_ms.saturating_sub(now_ms) / DAY_MS;
                let (file, subject) = (file.display().to_string().into(), subject.into());
                self.node.events.emit(None, Fact::CertificateExpiring { file, subject, not_after_ms, days });
            }
        }
        let trusts = self.looked_after().into_iter().filter_map(|listener| listener.tls.as_ref()?.trust());
        for trust in trusts {
            let Some(lists) = trust.lists() else { continue };
            for list in &lists.details {
                let part_s = list.next_update_s.saturating_sub(list.this_update_s) / LIST_PART;
                let left_s = list.next_update_s.saturating_sub(now_s);
                if left_s > part_s.min(LIST_EXPIRING_S_MAX) || !is_new(told, &lists.file, &list.issuer, now_ms) {
                    continue;
                }
                let next_update_ms = u64::try_from(list.next_update_s).unwrap_or(0).saturating_mul(1000);
                let (file, issuer) = (lists.file.display().to_string().into(), list.issuer.clone().into());
                self.node.events.emit(None, Fact::RevocationListExpiring { file, issuer, next_update_ms });
            }
        }
    }
}

impl Listener {
    /// How a client ends that was let in before and would not be now: the listener is gone, or does not trust its certificate any more.
    pub(crate) fn refuses(&self, client: &Client) -> Option<Kick> {
        if self.is_closed() {
            let by = format!("reload: listener {}", self.name).into();
            let why = "the listener by which it came is gone, or another one";
            let fact = Some(Fact::ClientKicked { by, why: why.into() });
            return Some(Kick { ending: Ending::of(CloseReason::Kicked), fact, reason_string: why.to_owned() });
        }
        let why = self.tls.as_ref()?.refuses(client.proven())?;
        let by = format!("tls of listener {}", self.name).into();
        let fact = Some(Fact::ClientKicked { by, why: why.into() });
        Some(Kick { ending: Ending::of(CloseReason::Kicked), fact, reason_string: why.to_owned() })
    }
}

/// The problem says the file's key, too.
fn prepare(listener: &Listener, settings: &ListenerTls) -> Result<Option<Prepared>, String> {
    let Some(acceptor) = &listener.tls else { return Ok(None) };
    acceptor.prepare(settings).map_err(|e| match &*listener.name {
        http::NAME => format!("http.tls.{}: {e}", e.key),
        name => listen::told(name, &e),
    })
}

/// Whether it was not told today; it is then.
fn is_new(told: &mut Told, file: &Path, name: &str, now_ms: u64) -> bool {
    let key = (file.to_owned(), name.to_owned());
    let is_new = !told.contains_key(&key);
    told.entry(key).or_insert(now_ms);
    is_new
}

/// When a certificate is valid.
pub(crate) struct Validity {
    /// Of whom it is.
    pub(crate) subject: String,
    /// From when on, in seconds since 1970.
    pub(crate) not_before_s: i64,
    /// Until when, in seconds since 1970.
    pub(crate) not_after_s: i64,
}

/// Of each certificate in a file; of one that holds none, or cannot be read, nothing.
pub(crate) fn validities(file: &Path) -> Vec<Validity> {
    let certificates = read_certificates(file).unwrap_or_default();
    let read = certificates.iter().filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (validity, subject) = (certificate.validity(), certificate.subject().to_string());
        let (not_before_s, not_after_s) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Validity { subject, not_before_s, not_after_s })
    });
    read.collect()
}
