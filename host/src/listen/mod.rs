//! Listeners: sockets are accepted here and given to workers.
//!
//! | module | what it does |
//! |---|---|
//! | [`accept`] | accepts, refuses what is above a limit, and hands over |
//! | [`addresses`] | connections of each address |
//! | [`network`], [`proxy`] | who is a proxy, and whom it carries |
//! | [`tls`], [`ws`] | what a connection speaks below MQTT |

mod accept;
mod addresses;
mod network;
mod proxy;
pub(crate) mod tls;
pub(crate) mod ws;

pub(crate) use accept::{Accept, Accepting, peer};
pub(crate) use network::Network;
pub(crate) use proxy::{NoHeader, Proxied, read_header};

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatemq_types::Transport;
use tokio::net::TcpStream;

use crate::config;
use crate::plugins::Guard;
use addresses::{Addresses, Counted, Rate};
use tls::{Acceptor, TlsConfigError};
use ws::WebSocketSettings;

/// What of a listener's settings a reload changes, for whoever connects from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    connections_max: usize,
    connections_per_s_max: u32,
    address_connections_max: u32,
    address_connections_per_s_max: u32,
    connect_timeout: Duration,
    acknowledges_denied: bool,
    handshakes_max: usize,
}

impl Limits {
    fn of(settings: &config::Listener) -> Limits {
        Limits {
            connections_max: settings.connections_max,
            connections_per_s_max: settings.connections_per_s_max,
            address_connections_max: settings.address_connections_max,
            address_connections_per_s_max: settings.address_connections_per_s_max,
            connect_timeout: Duration::from_millis(settings.connect_ms_max),
            acknowledges_denied: settings.acknowledges_denied,
            handshakes_max: settings.handshakes_max,
        }
    }
}

/// A listener's settings, and how many connections it has.
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What it speaks.
    pub(crate) transport: Transport,
    /// TLS, where it speaks it.
    pub(crate) tls: Option<Acceptor>,
    /// WebSocket, where it speaks it.
    pub(crate) web_socket: Option<WebSocketSettings>,
    /// It is gone from the configuration: who came by it ends.
    closed: AtomicBool,
    limits: ArcSwap<Limits>,
    /// Who is asked at CONNECT.
    pub(crate) auth: Guard,
    connections: AtomicUsize,
    rate: Rate,
    addresses: Addresses,
    proxies: Vec<Network>,
    /// Its only address. `None`: it listens on several.
    local: OnceLock<SocketAddr>,
    began: Instant,
}

impl Listener {
    /// From its checked settings. Nobody is admitted before it is [guarded](Listener::guarded_by).
    ///
    /// # Errors
    /// A certificate, key or CA file that cannot be used.
    pub(crate) fn new(name: &str, settings: &config::Listener) -> Result<Self, TlsConfigError> {
        let tls = settings.tls.as_ref().map(Acceptor::new).transpose()?;
        Ok(Listener::with(name, settings, tls))
    }

    /// As [`Listener::new`], of HTTP.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn for_http(name: &str, settings: &config::Listener) -> Result<Self, TlsConfigError> {
        let tls = settings.tls.as_ref().map(|tls| Acceptor::speaking(b"http/1.1", tls)).transpose()?;
        Ok(Listener::with(name, settings, tls))
    }

    fn with(name: &str, settings: &config::Listener, tls: Option<Acceptor>) -> Self {
        Listener {
            name: name.into(),
            transport: match (tls.is_some(), settings.web_socket.is_some()) {
                (false, false) => Transport::Tcp,
                (true, false) => Transport::Tls,
                (false, true) => Transport::WebSocket,
                (true, true) => Transport::SecureWebSocket,
            },
            tls,
            web_socket: settings.web_socket.clone(),
            closed: AtomicBool::new(false),
            limits: ArcSwap::from_pointee(Limits::of(settings)),
            auth: Arc::default(),
            connections: AtomicUsize::new(0),
            rate: Rate::default(),
            addresses: Addresses::default(),
            proxies: settings.proxies.clone(),
            local: OnceLock::new(),
            began: Instant::now(),
        }
    }

    /// With the chain of auth providers that is in force.
    pub(crate) fn guarded_by(self, auth: Guard) -> Self {
        Listener { auth, ..self }
    }

    /// Has other limits from now on; who is here stays.
    pub(crate) fn adjust(&self, settings: &config::Listener) {
        self.limits.store(Arc::new(Limits::of(settings)));
    }

    /// Until TLS is established and CONNECT is whole.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.limits.load().connect_timeout
    }

    /// Handshakes at a time, per worker.
    pub(crate) fn handshakes_max(&self) -> usize {
        self.limits.load().handshakes_max
    }

    /// It is gone: whoever came by it is refused from here on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether it is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether an MQTT 3 client's message that is denied is acknowledged; else its connection is closed.
    pub(crate) fn acknowledges_denied(&self) -> bool {
        self.limits.load().acknowledges_denied
    }

    /// Whether `ip` is a proxy's: it says with a header whom it carries, and is believed.
    pub(crate) fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(ip))
    }

    /// It accepts at this address.
    fn note_local(&self, address: std::io::Result<SocketAddr>) {
        if let Some(address) = address.ok().filter(|address| !address.ip().is_unspecified()) {
            // It is bound once.
            let _ = self.local.set(address);
        }
    }

    /// Our end of an accepted socket. The system is asked only where the listener has several addresses.
    pub(crate) fn local_of(&self, socket: &TcpStream) -> SocketAddr {
        let asked = || socket.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        // That fails only for a socket that is dead, which the next step tells.
        self.local.get().copied().unwrap_or_else(asked)
    }

    /// Counts one more connection, if there may be. One of a proxy is not yet its client's.
    ///
    /// # Errors
    /// The key of the limit that it would exceed.
    pub(crate) fn enter(self: &Arc<Self>, remote: SocketAddr) -> Result<Seat, &'static str> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let seat = Seat { listener: self.clone(), counted: Cell::new(None) };
        let limits = self.limits.load();
        if before >= limits.connections_max {
            return Err("connections_max");
        }
        // Its own limits first: who is refused by them takes nothing of what all have.
        if !self.is_proxy(remote.ip()) {
            seat.enter_address(remote.ip())?;
        }
        match self.rate.admits(self.now_s(), limits.connections_per_s_max) {
            true => Ok(seat),
            false => Err("connections_per_s_max"),
        }
    }

    /// Connections that it has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections that it may have.
    pub(crate) fn connections_max(&self) -> usize {
        self.limits.load().connections_max
    }

    /// Seconds since this listener was made, from 1 on.
    fn now_s(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// A connection's place among those of its listener, and among those of its address; given back when it is dropped.
pub(crate) struct Seat {
    listener: Arc<Listener>,
    counted: Cell<Option<Counted>>,
}

impl Seat {
    /// Whose connection it is.
    pub(crate) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Counts it as one of `ip`, once.
    ///
    /// # Errors
    /// The key of the limit that it would exceed.
    pub(crate) fn enter_address(&self, ip: IpAddr) -> Result<(), &'static str> {
        let (listener, limits) = (&self.listener, self.listener.limits.load());
        let most = (limits.address_connections_max, limits.address_connections_per_s_max);
        let counted = listener.addresses.enter(ip, listener.now_s(), most)?;
        if let Some(before) = self.counted.replace(counted) {
            self.listener.addresses.leave(before);
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(counted) = self.counted.take() {
            self.listener.addresses.leave(counted);
        }
        self.listener.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A problem with a listener's TLS files, with its key.
pub(crate) fn told(listener: &str, e: &TlsConfigError) -> String {
    let dot = if e.key.is_empty() { "" } else { "." };
    format!("listeners.{listener}.tls{dot}{}: {e}", e.key)
}

/// Why an address cannot be bound, and what to do.
pub(crate) fn cannot_bind(address: SocketAddr, e: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let next = match e.kind() {
        ErrorKind::AddrInUse => format!("another process has it: `ss -ltnp sport = :{}` names it", address.port()),
        ErrorKind::AddrNotAvailable => "this machine has no such address: `ip address` lists them".to_owned(),
        ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: take a higher one, or give the service that".to_owned()
        }
        _ => "try another address".to_owned(),
    };
    format!("{address} cannot be bound: {e}; {next}")
}

/// Binds an address. Options set here are inherited by accepted sockets.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    crate::platform::bind_again(&socket)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}
