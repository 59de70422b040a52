//! The TLS side of a listener that is in force. A reload reads and checks its files, and exchanges all of it or nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatemq_broker::denials::Proven;
use gatemq_types::Tls;
use rustls::ServerConnection;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::error::{HandshakeError, TlsConfigError};
use super::handshake::Loaded;
use super::trust::{Trust, sha256};
use crate::config::{ClientAuth, ListenerTls};

/// See the module.
pub(crate) struct Acceptor {
    current: ArcSwap<Current>,
    clock: Arc<dyn TimeProvider>,
    /// What is spoken besides MQTT's own; `None`: MQTT.
    protocol: Option<&'static [u8]>,
}

/// What is in force, and of which settings and files it was made.
struct Current {
    loaded: Loaded,
    settings: ListenerTls,
    /// Contents of the files about the server.
    server: [u8; 32],
    /// Contents of the files about clients.
    clients: [u8; 32],
}

/// What was read and checked, to be [put in force](Acceptor::exchange).
pub(crate) struct Prepared(Arc<Current>);

/// What a reload has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Certificates, keys or settings.
    pub(crate) server: bool,
    /// Authorities, revocation lists, or whether a certificate is wanted: no session from before can be resumed.
    pub(crate) clients: bool,
}

impl Acceptor {
    /// Reads certificates, keys, authorities and revocation lists.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub(crate) fn new(tls: &ListenerTls) -> Result<Acceptor, TlsConfigError> {
        Acceptor::with_clock(tls, Arc::new(DefaultTimeProvider), None)
    }

    /// As [`new`](Self::new), speaking another application protocol than MQTT.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn speaking(protocol: &'static [u8], tls: &ListenerTls) -> Result<Acceptor, TlsConfigError> {
        Acceptor::with_clock(tls, Arc::new(DefaultTimeProvider), Some(protocol))
    }

    /// As [`new`](Self::new), with a clock for what is valid when.
    pub(super) fn with_clock(
        tls: &ListenerTls,
        clock: Arc<dyn TimeProvider>,
        protocol: Option<&'static [u8]>,
    ) -> Result<Acceptor, TlsConfigError> {
        let current = ArcSwap::new(Arc::new(read(tls, &clock, protocol)?));
        Ok(Acceptor { current, clock, protocol })
    }

    /// As [`Loaded::accept`], with what is in force when it begins.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Result<(TcpStream, ServerConnection, Tls), HandshakeError> {
        let current = self.current.load_full();
        current.loaded.accept(tcp).await
    }

    /// As [`accept`](Self::accept), with the stream whole.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn accept_stream(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, Tls), HandshakeError> {
        let current = self.current.load_full();
        current.loaded.accept_stream(tcp).await
    }

    /// Reads the files again; `None`: nothing has changed. The lists must be of now: those in force stay rather than be replaced by
    /// such that refuse everybody.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub(crate) fn prepare(&self, tls: &ListenerTls) -> Result<Option<Prepared>, TlsConfigError> {
        let current = self.current.load();
        let next = read(tls, &self.clock, self.protocol)?;
        let changed = changed(&current, &next);
        if !changed.server && !changed.clients {
            return Ok(None);
        }
        let lists = next.loaded.client.as_ref().and_then(|client| client.trust.lists());
        if let (true, Some(lists), Some(now_s)) = (changed.clients, lists, next.loaded.now_s())
            && let Some(problem) = lists.out_of_date(now_s)
        {
            return Err(TlsConfigError::new(&lists.file, problem).below("client_crl_file"));
        }
        let keeps_sessions = !changed.clients && current.settings.resumption && tls.resumption;
        let loaded = match keeps_sessions {
            true => next.loaded.with_sessions_of(&current.loaded),
            false => next.loaded,
        };
        Ok(Some(Prepared(Arc::new(Current { loaded, ..next }))))
    }

    /// Puts it in force for every handshake that begins from here on.
    pub(crate) fn exchange(&self, prepared: Prepared) -> Changed {
        let before = self.current.swap(prepared.0.clone());
        changed(&before, &prepared.0)
    }

    /// Why a client that was let in before would not be now; `None` has shown no certificate.
    pub(crate) fn refuses(&self, peer: Option<&Proven>) -> Option<&'static str> {
        let current = self.current.load();
        match peer {
            Some(peer) => current.loaded.client.as_ref()?.trust.refuses(peer),
            None => matches!(current.settings.client_auth, ClientAuth::Required { .. })
                .then_some("it has no certificate, and one is required"),
        }
    }

    /// How clients are verified now; `None`: they show no certificate.
    pub(crate) fn trust(&self) -> Option<Arc<Trust>> {
        self.current.load().loaded.client.as_ref().map(|client| client.trust.clone())
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> ListenerTls {
        self.current.load().settings.clone()
    }

    /// What a reload must never do: other authorities over the old sessions. Verifying again catches even that.
    #[cfg(test)]
    pub(super) fn exchange_trust(&self, trust: Arc<Trust>) -> Arc<Trust> {
        let current = self.current.load_full();
        let mut loaded = current.loaded.clone();
        let before = std::mem::replace(&mut loaded.client.as_mut().unwrap().trust, trust);
        let (settings, server, clients) = (current.settings.clone(), current.server, current.clients);
        self.current.store(Arc::new(Current { loaded, settings, server, clients }));
        before
    }
}

fn changed(before: &Current, now: &Current) -> Changed {
    let (was, is) = (&before.settings, &now.settings);
    let clients = before.clients != now.clients || was.client_auth != is.client_auth || was.client_crl != is.client_crl;
    Changed { server: before.server != now.server || !clients && was != is, clients }
}

/// The contents first: where a file changes meanwhile, the next look finds it changed.
fn read(tls: &ListenerTls, clock: &Arc<dyn TimeProvider>, protocol: Option<&[u8]>) -> Result<Current, TlsConfigError> {
    let (server, clients) = (digest(&server_files(tls)), digest(&client_files(tls)));
    let loaded = Loaded::new(tls, clock.clone())?;
    let loaded = match protocol {
        Some(protocol) => loaded.speaking(protocol),
        None => loaded,
    };
    Ok(Current { loaded, settings: tls.clone(), server, clients })
}

/// Certificates and keys.
fn server_files(tls: &ListenerTls) -> Vec<PathBuf> {
    let own = [&tls.certificate_file, &tls.private_key_file].into_iter();
    let others = tls.sni.values().flat_map(|files| [&files.certificate_file, &files.private_key_file]);
    own.chain(others).cloned().collect()
}

/// Authorities and revocation lists.
fn client_files(tls: &ListenerTls) -> Vec<PathBuf> {
    let authorities = match &tls.client_auth {
        ClientAuth::None => None,
        ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file } => Some(ca_file),
    };
    authorities.into_iter().chain(tls.client_crl.as_ref().map(|crl| &crl.file)).cloned().collect()
}

/// All files of a listener's TLS.
pub(crate) fn files(tls: &ListenerTls) -> impl Iterator<Item = PathBuf> {
    server_files(tls).into_iter().chain(client_files(tls))
}

/// Of the contents. One that cannot be read is as one that is empty: reading it in earnest says what is wrong.
fn digest<F: AsRef<Path>>(files: &[F]) -> [u8; 32] {
    let each = files.iter().map(|file| sha256(&std::fs::read(file).unwrap_or_default()));
    sha256(&each.collect::<Vec<_>>().concat())
}
