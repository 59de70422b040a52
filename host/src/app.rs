//! Puts the node together, runs it, and takes it apart.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gatemq_store::Store;
use gatemq_types::event::Fact;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Desk;
use crate::config::{self, Config, Sources};
use crate::durable;
use crate::events::Events;
use crate::listen::{self, Accepting, Listener};
use crate::node::Node;
use crate::plugins::{self, PluginSet, Problem};
use crate::{log, ready, worker};

/// Exit code: a plugin, a listener or the system does not do what it should (sysexits: EX_UNAVAILABLE).
pub(crate) const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code: the configuration is wrong (EX_CONFIG).
pub(crate) const EXIT_CONFIG: u8 = 78;
/// How long stopping may take in all: less than the ten seconds after which supervisors kill.
const STOP_MAX: Duration = Duration::from_secs(9);

/// Loads the configuration or prints every problem.
///
/// # Errors
/// The exit code.
pub(crate) fn load(sources: &Sources, dev: bool) -> Result<Config, ExitCode> {
    let config = config::load(sources);
    let problems = match &config {
        Ok(config) if dev => config::check_dev(config),
        Ok(_) => Vec::new(),
        Err(problems) => problems.clone(),
    };
    match config {
        Ok(config) if problems.is_empty() => Ok(config),
        _ => Err(refused(&problems)),
    }
}

fn refused(problems: &[config::Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::from(EXIT_CONFIG)
}

/// Prints the configuration in effect.
pub(crate) fn show(sources: &Sources, origin: bool) -> ExitCode {
    match config::show(sources, origin) {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("gatemq: the configuration cannot be printed: {e}");
                ExitCode::FAILURE
            }
        },
        Err(problems) => refused(&problems),
    }
}

/// Checks what the configuration names: the log's filter and the listeners' TLS files. Plugins are not loaded: their code would
/// run.
pub(crate) fn check(config: &Config) -> ExitCode {
    let filter = log::filter(&config.log).inspect_err(|e| eprintln!("{e}"));
    match (filter, listeners(config)) {
        (Ok(_), Ok(_)) => {
            println!("the configuration is good; plugins look at theirs when the broker starts");
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(EXIT_CONFIG),
    }
}

/// Runs the node until it is told to stop.
pub(crate) fn run(config: &Config, dev: bool) -> ExitCode {
    if let Err(e) = log::init(&config.log) {
        eprintln!("{e}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return unavailable(&format!("the runtime cannot be started: {e}")),
    };
    runtime.block_on(serve(config, dev))
}

/// Says why the node does not run: in the log, which is stderr, or there without it where the log leaves errors out.
fn fatal(why: &str) {
    match tracing::enabled!(tracing::Level::ERROR) {
        true => tracing::error!("{}", why.escape_debug()),
        false => eprintln!("gatemq: {}", why.escape_debug()),
    }
}

fn unavailable(why: &str) -> ExitCode {
    fatal(why);
    ExitCode::from(EXIT_UNAVAILABLE)
}

async fn serve(config: &Config, dev: bool) -> ExitCode {
    let events = Events::new(&config.node.name);
    // Before anything that takes time: a stop while starting must not be lost.
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut term), Ok(mut int)) = (term, int) else { return unavailable("signals cannot be received") };
    let listeners = match listeners(config) {
        Ok(listeners) => listeners,
        Err(e) => return e,
    };
    let store = match durable::open(config, dev) {
        Ok(store) => store,
        Err(e) => return unavailable(&format!("node.data_dir: {}: {e}", durable::directory(config).display())),
    };
    let desk = Desk::new();
    let plugins = tokio::select! {
        plugins = plugins::start(config, &events, &desk, dev) => plugins,
        () = told_to_stop(&mut term, &mut int) => {
            // Whatever a plugin is doing, it may take half a minute; nothing has been served.
            tracing::info!("told to stop while plugins start: they are left behind");
            return ExitCode::SUCCESS;
        }
    };
    let plugins = match plugins {
        Ok(plugins) => plugins,
        Err(problems) => return plugin_problems(&problems),
    };
    let PluginSet { auth, running } = plugins;
    let node = match recovered(config, &events, store, &desk) {
        Ok(node) => node,
        Err(e) => return unavailable(&e),
    };
    let guarded = |(listener, at): (Listener, SocketAddr)| {
        // One without a chain, of which there is none, admits nobody.
        let chain = auth.get(&*listener.name).cloned().unwrap_or_default();
        (Arc::new(listener.guarded_by(chain)), at)
    };
    let listeners = listeners.into_iter().map(guarded).collect();
    let started = start(config, &node, listeners);
    let code = match &started {
        Ok((_, bound)) => {
            let listeners: Vec<_> = bound.iter().map(|(name, (kind, at))| format!("{name}={kind} {at}")).collect();
            let listeners = listeners.join(", ");
            if dev {
                tracing::warn!("--dev, on loopback: without an auth provider everybody is admitted, to everything");
            }
            let version = env!("CARGO_PKG_VERSION").into();
            events.emit(None, Fact::NodeStarted { version, listeners: listeners.into() });
            tokio::select! {
                () = told_to_stop(&mut term, &mut int) => stopping(&events, "signal", ExitCode::SUCCESS),
                () = node.failed.notified() => {
                    let code = unavailable("the store failed: what must be kept cannot be acknowledged any more");
                    stopping(&events, "the store failed", code)
                }
            }
        }
        Err(e) => unavailable(e),
    };
    let deadline = Instant::now() + STOP_MAX;
    if let Ok((running, _)) = started {
        running.stop(&node, deadline).await;
    }
    desk.stop();
    let code = close(&node, code);
    for (kind, n) in events.counts() {
        tracing::info!(target: "gatemq::total", event = kind.name(), n);
    }
    running.stop(&events, deadline).await;
    code
}

/// The node with everything that outlived the last one, before anybody is served.
fn recovered(
    config: &Config,
    events: &Arc<Events>,
    store: Option<Box<dyn Store>>,
    desk: &Arc<Desk>,
) -> Result<Arc<Node>, String> {
    let denials_max = config.denials.per_raiser_max;
    let node = Node::new(&config.node, config.limits.clone(), denials_max, events.clone(), store);
    let proxies = config.listeners.values().flat_map(|listener| listener.proxies.clone());
    node.denials.spare_proxies(proxies.collect());
    node.recover().map_err(|e| format!("{}: {e}", durable::directory(config).display()))?;
    desk.begin(&node)?;
    Ok(node)
}

/// The node stops.
fn stopping(events: &Events, reason: &'static str, code: ExitCode) -> ExitCode {
    events.emit(None, Fact::NodeStopping { reason: reason.into() });
    code
}

/// Closes the store, which nobody uses any more.
fn close(node: &Node, code: ExitCode) -> ExitCode {
    match node.store.as_ref().map(|store| store.close()) {
        Some(Err(e)) if code == ExitCode::SUCCESS => unavailable(&format!("the store: {e}")),
        _ => code,
    }
}

async fn told_to_stop(term: &mut Signal, int: &mut Signal) {
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}

fn plugin_problems(problems: &[Problem]) -> ExitCode {
    let mut code = EXIT_CONFIG;
    for problem in problems {
        let why = match problem {
            Problem::Configuration(why) => why,
            Problem::Plugin(why) => {
                code = EXIT_UNAVAILABLE;
                why
            }
        };
        fatal(why);
    }
    ExitCode::from(code)
}

/// The listeners with their TLS files read: a wrong one is found before anything starts.
fn listeners(config: &Config) -> Result<Vec<(Listener, SocketAddr)>, ExitCode> {
    let (mut listeners, mut wrong) = (Vec::new(), false);
    for (name, settings) in &config.listeners {
        match Listener::new(name, settings) {
            Ok(listener) => listeners.push((listener, settings.bind)),
            Err(e) => {
                let dot = if e.key.is_empty() { "" } else { "." };
                eprintln!("listeners.{name}.tls{dot}{}: {e}", e.key);
                wrong = true;
            }
        }
    }
    if wrong { Err(ExitCode::from(EXIT_CONFIG)) } else { Ok(listeners) }
}

/// Threads that serve.
struct Running {
    accepting: Vec<Accepting>,
    workers: Vec<JoinHandle<()>>,
}

type Bound = BTreeMap<String, (&'static str, SocketAddr)>;

/// Binds everything first, then starts the workers, then accepts.
fn start(
    config: &Config,
    node: &Arc<Node>,
    listeners: Vec<(Arc<Listener>, SocketAddr)>,
) -> Result<(Running, Bound), String> {
    let (mut sockets, mut bound) = (Vec::new(), Bound::new());
    for (listener, address) in listeners {
        let cannot = |e: std::io::Error| format!("listener {}: {address} cannot be bound: {e}", listener.name);
        let socket = listen::bind(address).map_err(cannot)?;
        let at = socket.local_addr().map_err(cannot)?.as_socket().unwrap_or(address);
        bound.insert(listener.name.to_string(), (listener.transport.name(), at));
        sockets.push((listener, socket));
    }
    let mut running = Running { accepting: Vec::new(), workers: Vec::new() };
    for id in 0..config.node.workers {
        running.workers.push(start_worker(id, node)?);
    }
    for (listener, socket) in sockets {
        let accepting = Accepting::start(node.clone(), listener, socket);
        running.accepting.push(accepting.map_err(|e| format!("an accept thread cannot be started: {e}"))?);
    }
    if let Some(file) = &config.node.ready_file {
        ready::write(file, &bound).map_err(|e| format!("node.ready_file: {}: {e}", file.display()))?;
    }
    Ok((running, bound))
}

fn start_worker(id: usize, node: &Arc<Node>) -> Result<JoinHandle<()>, String> {
    let cannot = |e: &dyn std::fmt::Display| format!("worker {id} cannot be started: {e}");
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let (number, node) = (u32::try_from(id).map_err(|e| cannot(&e))?, node.clone());
    let thread = std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
        // The receiver waits until then.
        let tell = ready.clone();
        if let Err(e) = worker::run(number, node, move || drop(tell.send(Ok(())))) {
            let _ = ready.try_send(Err(e));
        }
    });
    let thread = thread.map_err(|e| cannot(&e))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(e)) => Err(cannot(&e)),
        Err(e) => Err(cannot(&e)),
    }
}

impl Running {
    /// Accepts no more, says goodbye to every client, ends the workers.
    async fn stop(self, node: &Node, deadline: Instant) {
        for accepting in self.accepting {
            accepting.stop();
        }
        for worker in 0..node.workers() {
            node.send(worker, |mail| mail.stop = true);
        }
        while self.workers.iter().any(|w| !w.is_finished()) {
            if Instant::now() >= deadline {
                tracing::warn!(connections = node.load(), "connections are left behind");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
