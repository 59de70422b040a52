//! The listeners of clients while the node runs: what a reload brings, takes away, or has otherwise.
//!
//! A reload first reads what is new and binds it ([`Listeners::plan`]), and changes nothing where that fails; then the listeners that
//! are gone accept no more, the new ones do, and whoever had come by one that is gone is disconnected ([`Listeners::exchange`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::{self, Config};
use crate::listen::{self, Accepting, Listener};
use crate::node::Node;
use crate::plugins::Plugins;

/// How long a worker may take until it accepts no more for a listener that is gone.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Name, and kind and address, of each that is bound.
pub(crate) type Bound = BTreeMap<String, (&'static str, SocketAddr)>;

/// See the module.
pub(crate) struct Listeners {
    node: Arc<Node>,
    /// Those in force, in the order of their names.
    all: ArcSwap<Vec<Arc<Listener>>>,
    open: Mutex<BTreeMap<String, Open>>,
    /// Of whoever opens and closes; true: the node stops, and none is opened any more.
    turn: tokio::sync::Mutex<bool>,
}

/// A listener, and what is needed to go on listening where it does.
struct Open {
    listener: Arc<Listener>,
    settings: config::Listener,
    socket: Option<socket2::Socket>,
    accepting: Option<Accepting>,
}

/// What a reload is to change.
pub(crate) struct Plan {
    coming: Vec<(Listener, config::Listener, socket2::Socket)>,
    /// Those that are gone, and those in whose place a new one comes.
    going: Vec<String>,
}

/// What became of one at a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It is new, and accepts.
    Opened,
    /// It is gone.
    Closed,
    /// It is another one under the same name.
    Replaced,
}

impl Turned {
    /// As operators read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Turned::Opened => "opened",
            Turned::Closed => "closed",
            Turned::Replaced => "replaced",
        }
    }
}

impl Plan {
    /// Whether this one stays, with other limits and files perhaps.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        !self.going.iter().any(|going| going == name)
    }
}

impl Listeners {
    /// Of these, each with its settings and its chain; they are not bound yet.
    pub(crate) fn new(node: &Arc<Node>, config: &Config, listeners: Vec<Listener>) -> Arc<Listeners> {
        let open = listeners.into_iter().filter_map(|listener| {
            let settings = config.listeners.get(&*listener.name)?.clone();
            let name = listener.name.to_string();
            Some((name, Open { listener: Arc::new(listener), settings, socket: None, accepting: None }))
        });
        let open: BTreeMap<_, _> = open.collect();
        let all = ArcSwap::from_pointee(of(&open));
        Arc::new(Listeners { node: node.clone(), all, open: Mutex::new(open), turn: tokio::sync::Mutex::default() })
    }

    /// Those in force.
    pub(crate) fn all(&self) -> Arc<Vec<Arc<Listener>>> {
        self.all.load_full()
    }

    /// Binds all, at the start.
    ///
    /// # Errors
    /// One that cannot be bound.
    pub(crate) fn bind(&self) -> Result<(), String> {
        for (name, open) in &mut *self.open.lock() {
            open.socket = Some(bind(name, open.settings.bind)?);
        }
        Ok(())
    }

    /// Has workers accept for all that are bound and not accepted for. Workers must have begun.
    ///
    /// # Errors
    /// One whose socket cannot be waited for.
    pub(crate) async fn accept(&self) -> Result<(), String> {
        let stops = self.turn.lock().await;
        if *stops { Ok(()) } else { self.accept_all() }
    }

    fn accept_all(&self) -> Result<(), String> {
        for (n, (name, open)) in self.open.lock().iter_mut().enumerate() {
            let (None, Some(socket)) = (&open.accepting, &open.socket) else { continue };
            let accepting = socket.try_clone().and_then(|socket| {
                Accepting::start(&self.node, n % self.node.workers(), open.listener.clone(), socket)
            });
            open.accepting =
                Some(accepting.map_err(|e| format!("listener {name}: its socket cannot be waited for: {e}"))?);
        }
        Ok(())
    }

    /// Where they are bound.
    pub(crate) fn bound(&self) -> Bound {
        let open = self.open.lock();
        let bound = open.iter().filter_map(|(name, open)| {
            let at = open.socket.as_ref()?.local_addr().ok()?.as_socket()?;
            Some((name.clone(), (open.listener.transport.name(), at)))
        });
        bound.collect()
    }

    /// What of `config` is new, read and bound; nothing changes yet.
    ///
    /// # Errors
    /// Everything that cannot be used or bound.
    pub(crate) fn plan(&self, config: &Config) -> Result<Plan, Vec<String>> {
        let open = self.open.lock();
        let stays = |name: &str| {
            let settings = config.listeners.get(name);
            open.get(name).zip(settings).is_some_and(|(open, settings)| is_same(&open.settings, settings))
        };
        let going: Vec<String> = open.keys().filter(|name| !stays(name)).cloned().collect();
        // Two sockets cannot have one address, so one that is to be given up is taken over.
        let taken_over = |name: &str, bind: SocketAddr| {
            let fits = |going: &&String| open[*going].settings.bind == bind && (bind.port() != 0 || *going == name);
            open[going.iter().find(fits)?].socket.as_ref()?.try_clone().ok()
        };
        let (mut coming, mut wrong) = (Vec::new(), Vec::new());
        for (name, settings) in config.listeners.iter().filter(|(name, _)| !stays(name)) {
            let listener = Listener::new(name, settings).map_err(|e| listen::told(name, &e));
            let socket = match taken_over(name, settings.bind) {
                Some(socket) => Ok(socket),
                None => bind(name, settings.bind),
            };
            let port = settings.bind.port();
            let has_its_port = |going: &&String| port != 0 && open[*going].settings.bind.port() == port;
            let socket = socket.map_err(|why| match going.iter().find(has_its_port) {
                Some(of) => format!(
                    "listeners.{name}.bind: {} cannot be bound while the listener {of} has the port on another address: take another \
                     port, or restart",
                    settings.bind
                ),
                None => why,
            });
            match (listener, socket) {
                (Ok(listener), Ok(socket)) => coming.push((listener, settings.clone(), socket)),
                (listener, socket) => wrong.extend([listener.err(), socket.err()].into_iter().flatten()),
            }
        }
        if wrong.is_empty() { Ok(Plan { coming, going }) } else { Err(wrong) }
    }

    /// Puts a plan in force; the chains of `plugins` are those of the same configuration. What became of each, or why it does not
    /// accept.
    pub(crate) async fn exchange(&self, plan: Plan, plugins: &Plugins) -> Vec<(String, Result<Turned, String>)> {
        let stops = self.turn.lock().await;
        if *stops || plan.coming.is_empty() && plan.going.is_empty() {
            return Vec::new();
        }
        let mut told: BTreeMap<String, Result<Turned, String>> = BTreeMap::new();
        let mut closed = Vec::new();
        for name in plan.going {
            let Some(Open { listener, accepting, socket, .. }) = self.open.lock().remove(&name) else { continue };
            if let Some(accepting) = accepting {
                accepting.stop(Instant::now() + CLOSE_WAIT).await;
            }
            drop(socket);
            listener.close();
            closed.push(listener);
            told.insert(name, Ok(Turned::Closed));
        }
        for (listener, settings, socket) in plan.coming {
            let name = listener.name.to_string();
            let listener = Arc::new(listener.guarded_by(plugins.guard(&name)));
            let turned = if told.contains_key(&name) { Turned::Replaced } else { Turned::Opened };
            told.insert(name.clone(), Ok(turned));
            self.open.lock().insert(name, Open { listener, settings, socket: Some(socket), accepting: None });
        }
        self.all.store(Arc::new(of(&self.open.lock())));
        if let Err(why) = self.accept_all() {
            told.insert("listeners".to_owned(), Err(why));
        }
        for (name, turned) in &told {
            match turned {
                Ok(turned) => tracing::info!(listener = name, "{}", turned.name()),
                Err(why) => tracing::error!("{why}"),
            }
        }
        closed.iter().for_each(|listener| self.node.end_refused(listener));
        told.into_iter().collect()
    }

    /// Has those that stay take their limits from now on.
    pub(crate) fn adjust(&self, config: &Config) {
        for (name, open) in &mut *self.open.lock() {
            if let Some(settings) = config.listeners.get(name) {
                open.listener.adjust(settings);
                open.settings = settings.clone();
            }
        }
    }

    /// Accepts no more, for any: the node stops.
    pub(crate) async fn stop(&self, deadline: Instant) {
        // Whoever has the turn has it for a moment, or for as long as a worker that does not answer.
        if let Ok(mut stops) = tokio::time::timeout_at(deadline.into(), self.turn.lock()).await {
            *stops = true;
        }
        let accepting: Vec<_> = self.open.lock().values_mut().filter_map(|open| open.accepting.take()).collect();
        for accepting in accepting {
            accepting.stop(deadline).await;
        }
        self.open.lock().values_mut().for_each(|open| open.socket = None);
    }
}

fn of(open: &BTreeMap<String, Open>) -> Vec<Arc<Listener>> {
    open.values().map(|open| open.listener.clone()).collect()
}

/// Whether a listener with these settings is the same, with other limits, files or providers perhaps.
fn is_same(was: &config::Listener, is: &config::Listener) -> bool {
    let kind = |of: &config::Listener| (of.tls.is_some(), of.web_socket.is_some());
    kind(was) == kind(is) && was.bind == is.bind && was.proxies == is.proxies && was.web_socket == is.web_socket
}

fn bind(name: &str, address: SocketAddr) -> Result<socket2::Socket, String> {
    listen::bind(address).map_err(|e| format!("listeners.{name}.bind: {}", listen::cannot_bind(address, &e)))
}
