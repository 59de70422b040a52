//! Puts the node together, runs it, and takes it apart.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gatemq_store::Store;
use gatemq_types::event::Fact;

use crate::admin::Desk;
use crate::api::http;
use crate::api::{self, Api, Serving, Socket};
use crate::certificates::Certificates;
use crate::cluster::{self, NotStarted};
use crate::config::{self, Config, Sources};
use crate::durable;
use crate::events::Events;
use crate::listen::{self, Listener};
use crate::listeners::{Bound, Listeners};
use crate::node::{Node, Recovered};
use crate::platform::{self, Stop};
use crate::plugins::{self, Plugins, Problem};
use crate::reload::Reload;
use crate::{clock, log, ready, service, warnings, worker};

/// Exit code: the command line is wrong (sysexits: EX_USAGE).
pub(crate) const EXIT_USAGE: u8 = 64;
/// Exit code: a plugin, a listener or the system does not do what it should (sysexits: EX_UNAVAILABLE).
pub(crate) const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code: the configuration is wrong (EX_CONFIG).
pub(crate) const EXIT_CONFIG: u8 = 78;
/// Exit code: the members of the cluster refused this node (EX_NOPERM).
pub(crate) const EXIT_REFUSED: u8 = 77;
/// How long stopping may take besides `node.stop_spread_ms`: less than the ten seconds after which supervisors kill.
const STOP_MAX: Duration = Duration::from_secs(9);
/// How often a stop looks whether something has ended.
const STOP_LOOK: Duration = Duration::from_millis(5);
/// How long workers without connections may take to end.
const WORKERS_END_MAX: Duration = Duration::from_millis(500);

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

/// Checks what the configuration names: the log's filter, the listeners' TLS files, and the plugins, which are loaded and not
/// started.
pub(crate) fn check(config: &Config, sources: &Sources, with_plugins: bool) -> ExitCode {
    let filter = log::filter(&config.log).inspect_err(|e| eprintln!("{e}"));
    let listeners = listeners(config, sources);
    let http = config.http.as_ref().map_or(Ok(()), http::check);
    let http = http.inspect_err(|e| eprintln!("{}", config::located(sources, e)));
    let problems = match runtime() {
        Ok(runtime) if with_plugins => runtime.block_on(plugins::check(config, |plugin, told| {
            config::plugin_problems(sources, plugin, told).iter().map(config::Problem::to_string).collect()
        })),
        Ok(_) => Vec::new(),
        Err(e) => vec![Problem::Plugin(e)],
    };
    match (filter, listeners, &http) {
        (Ok(_), Ok(_), Ok(())) if problems.is_empty() => {
            warn(config, sources, |warning| eprintln!("warning: {warning}"));
            println!(
                "the configuration is good{}",
                if with_plugins { "" } else { "; no plugin has looked at its own" }
            );
            ExitCode::SUCCESS
        }
        (filter, listeners, _) => {
            problems.iter().for_each(|problem| eprintln!("{}", problem.why().escape_debug()));
            let of_plugins = problems.iter().all(|problem| matches!(problem, Problem::Plugin(_)));
            let is_good = filter.is_ok() && listeners.is_ok() && http.is_ok();
            ExitCode::from(if is_good && of_plugins { EXIT_UNAVAILABLE } else { EXIT_CONFIG })
        }
    }
}

/// What is no reason to refuse the configuration.
fn warn(config: &Config, sources: &Sources, tell: impl Fn(String)) {
    let now_s = i64::try_from(clock::now_ms() / 1000).unwrap_or(i64::MAX);
    warnings::of(config, now_s).iter().for_each(|warning| tell(config::located(sources, warning)));
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| format!("the runtime cannot be started: {e}"))
}

/// Runs the node until it is told to stop.
pub(crate) fn run(config: &Config, sources: Sources, dev: bool) -> ExitCode {
    if let Err(e) = log::init(&config.log) {
        eprintln!("{e}");
        return ExitCode::from(EXIT_CONFIG);
    }
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(config, sources, dev)),
        Err(e) => unavailable(&e),
    }
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

async fn serve(config: &Config, sources: Sources, dev: bool) -> ExitCode {
    let events = Events::new(&config.node.name);
    // Before anything that takes time: a stop while starting must not be lost.
    let Ok((mut stop, reloads)) = platform::signals() else {
        return unavailable("signals cannot be received");
    };
    let (listeners, store) = match opened(config, &sources, dev) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let desk = Desk::new();
    let plugins = match start_plugins(config, &events, &desk, dev, &mut stop).await {
        Ok(plugins) => plugins,
        Err(code) => return code,
    };
    let (node, recovered) = match recovered(config, &events, store, &desk) {
        Ok(node) => node,
        Err(e) => return unavailable(&config::located(&sources, &e)),
    };
    let listeners =
        listeners.into_iter().map(|of| (plugins.guard(&of.name), of)).map(|(guard, of)| of.guarded_by(guard));
    let listeners = Listeners::new(&node, config, listeners.collect());
    let certificates = Certificates::new(node.clone(), listeners.clone());
    let admin = match admin_socket(config).await {
        Ok(admin) => admin,
        Err(e) => return unavailable(&config::located(&sources, &e)),
    };
    let (started, tokens, of) = (config.clone(), Arc::default(), (plugins.clone(), node.clone(), listeners.clone()));
    let reload = Reload { sources, started, dev, plugins: of.0, certificates, node: of.1, listeners: of.2, tokens };
    let (serving, reload) = (Serving::default(), Arc::new(reload));
    let api = Api::new(&node, &desk, &reload, listeners.clone(), serving.clone());
    let http_at = match serve_http(config, &events, &api, &reload) {
        Ok(at) => at,
        Err(code) => return code,
    };
    let started = tokio::select! {
        started = start(config, &node, &desk, recovered, (&listeners, http_at)) => started,
        () = stop.told() => Err(NotStarted::Stopped),
    };
    let code = match &started {
        Ok((running, bound)) => {
            serving.set(true);
            tell_started(&events, bound, dev);
            look_after(config, running, &reload.certificates);
            plugins.watch_health(Duration::from_millis(config.plugin_host.health_interval_ms));
            // They end with the runtime, and the socket's file with it.
            let _serving = admin.map(|socket| tokio::spawn(socket.serve(api)));
            let reloading = tokio::spawn(reload.at_each(reloads));
            let _watched = tokio::spawn(service::watched(node.clone()));
            let code = until_stopped(&events, &node, &mut stop).await;
            serving.set(false);
            reloading.abort();
            code
        }
        Err(why) => not_started(why, &events, &reload.sources),
    };
    let deadline = Instant::now() + node.stop_spread + STOP_MAX;
    if let Ok((running, _)) = started {
        running.stop(&node, &listeners, deadline).await;
    }
    desk.stop();
    let code = close(&node, code);
    tell_totals(&events);
    plugins.stop(deadline).await;
    code
}

/// Listeners that are not bound yet, and the store.
type Opened = (Vec<Listener>, Option<Box<dyn Store>>);

/// Reads TLS files, and opens the store.
fn opened(config: &Config, sources: &Sources, dev: bool) -> Result<Opened, ExitCode> {
    warn(config, sources, |warning| tracing::warn!("{warning}"));
    let listeners = listeners(config, sources)?;
    let store = durable::open(config, dev).map_err(|e| {
        let why = format!("node.data_dir: {e}; {}", durable::advice(&e));
        unavailable(&config::located(sources, &why))
    })?;
    Ok((listeners, store))
}

/// Until it is told to stop, or cannot go on.
async fn until_stopped(events: &Events, node: &Node, stop: &mut Stop) -> ExitCode {
    tokio::select! {
        () = stop.told() => stopping(events, "signal", ExitCode::SUCCESS),
        () = node.failed.notified() => {
            let code = unavailable("the store failed, see StoreFailed: what must be kept cannot be acknowledged any more; what was is there at the next start");
            stopping(events, "the store failed", code)
        }
    }
}

fn not_started(why: &NotStarted, events: &Events, sources: &Sources) -> ExitCode {
    match why {
        NotStarted::Stopped => stopping(events, "signal", ExitCode::SUCCESS),
        NotStarted::Cannot(e) => unavailable(&config::located(sources, e)),
        NotStarted::Refused(e) => {
            fatal(e);
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn tell_totals(events: &Events) {
    events.look(u64::MAX);
    for (kind, n) in events.counts() {
        tracing::info!(target: "gatemq::total", event = kind.name(), n);
    }
}

/// Has the TLS files looked after as long as the runtime runs.
fn look_after(config: &Config, running: &Running, certificates: &Arc<Certificates>) {
    if let (Some(cluster), Some(settings)) = (&running.cluster, &config.cluster) {
        certificates.with_cluster(cluster.tls(), settings.tls.clone());
    }
    if config.node.tls_watch_s > 0 {
        let every = Duration::from_secs(config.node.tls_watch_s.into());
        tokio::spawn(certificates.clone().watch(every));
    }
    tokio::spawn(certificates.clone().tell_expiring());
}

/// The node serves.
fn tell_started(events: &Events, bound: &Bound, dev: bool) {
    let listeners: Vec<_> = bound.iter().map(|(name, (kind, at))| format!("{name}={kind} {at}")).collect();
    if dev {
        tracing::warn!("--dev, on loopback: without an auth provider everybody is admitted, to everything");
    }
    let version = env!("CARGO_PKG_VERSION").into();
    events.emit(None, Fact::NodeStarted { version, listeners: listeners.join(", ").into() });
    service::ready();
}

/// Has what happens handed on to those who follow it, and serves the API over HTTP where it is configured: before the node serves,
/// for whether it does is among what is asked. Both end with the runtime. Returns where it is served.
fn serve_http(
    config: &Config,
    events: &Arc<Events>,
    api: &Api,
    reload: &Reload,
) -> Result<Option<SocketAddr>, ExitCode> {
    tokio::spawn(events.clone().serve_readers());
    let Some(http) = &config.http else { return Ok(None) };
    http::check(http).map_err(|e| {
        fatal(&config::located(&reload.sources, &e));
        ExitCode::from(EXIT_CONFIG)
    })?;
    let http = http::bind(http).map_err(|e| unavailable(&config::located(&reload.sources, &e)))?;
    let at = http.address();
    reload.certificates.with_http(http.listener().clone());
    tokio::spawn(http.serve(api.clone()));
    Ok(at)
}

/// The socket for commands. Where none is configured and its default place is not there (nothing is kept), there is none.
async fn admin_socket(config: &Config) -> Result<Option<Socket>, String> {
    let path = config.node.admin_socket();
    match api::bind(&path).await {
        Ok(socket) => Ok(Some(socket)),
        Err(e) if config.node.admin_socket.is_none() && !config.node.data_dir.exists() => {
            tracing::warn!(path = %path.display(), "no admin socket: {e}; commands that talk to the broker will not find it");
            Ok(None)
        }
        Err(e) => Err(format!("admin.socket: {}: {e}", path.display())),
    }
}

/// Starts the plugins, unless it is told to stop or one of them does not work.
async fn start_plugins(
    config: &Config,
    events: &Arc<Events>,
    desk: &Arc<Desk>,
    dev: bool,
    stop: &mut Stop,
) -> Result<Arc<Plugins>, ExitCode> {
    tokio::select! {
        plugins = plugins::start(config, events, desk, dev) => plugins.map_err(|problems| plugin_problems(&problems)),
        () = stop.told() => {
            // Whatever a plugin is doing, it may take half a minute; nothing has been served.
            tracing::info!("told to stop while plugins start: they are left behind");
            Err(ExitCode::SUCCESS)
        }
    }
}

/// The node with everything that outlived the last one, before anybody is served.
fn recovered(
    config: &Config,
    events: &Arc<Events>,
    store: Option<Box<dyn Store>>,
    desk: &Arc<Desk>,
) -> Result<(Arc<Node>, Recovered), String> {
    let denials_max = config.denials.per_raiser_max;
    let node =
        Node::new(&config.node, config.limits.clone(), denials_max, config.cluster.is_some(), events.clone(), store);
    node.overload.adjust(config.overload);
    let proxies = config.listeners.values().flat_map(|listener| listener.proxies.clone());
    node.denials.spare_proxies(proxies.collect());
    let recovered = node.recover().map_err(|e| format!("{}: {e}", durable::directory(config).display()))?;
    desk.begin(&node)?;
    Ok((node, recovered))
}

/// The node stops.
fn stopping(events: &Events, reason: &'static str, code: ExitCode) -> ExitCode {
    service::stopping();
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

fn plugin_problems(problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(|problem| fatal(problem.why()));
    let of_plugins = problems.iter().any(|problem| matches!(problem, Problem::Plugin(_)));
    ExitCode::from(if of_plugins { EXIT_UNAVAILABLE } else { EXIT_CONFIG })
}

/// The listeners with their TLS files read: a wrong one is found before anything starts.
fn listeners(config: &Config, sources: &Sources) -> Result<Vec<Listener>, ExitCode> {
    let (mut listeners, mut wrong) = (Vec::new(), false);
    for (name, settings) in &config.listeners {
        match Listener::new(name, settings) {
            Ok(listener) => listeners.push(listener),
            Err(e) => {
                eprintln!("{}", config::located(sources, &listen::told(name, &e)));
                wrong = true;
            }
        }
    }
    if wrong { Err(ExitCode::from(EXIT_CONFIG)) } else { Ok(listeners) }
}

/// Threads that serve.
struct Running {
    workers: Vec<JoinHandle<()>>,
    cluster: Option<cluster::Running>,
}

/// Binds everything first, then starts the workers, then joins the cluster, then accepts.
async fn start(
    config: &Config,
    node: &Arc<Node>,
    desk: &Arc<Desk>,
    recovered: Recovered,
    (listeners, http): (&Listeners, Option<SocketAddr>),
) -> Result<(Running, Bound), NotStarted> {
    listeners.bind()?;
    let bound = listeners.bound();
    let mut running = Running { workers: Vec::new(), cluster: None };
    for id in 0..config.node.workers {
        running.workers.push(start_worker(id, node)?);
    }
    if let Some(cluster) = &config.cluster {
        running.cluster = Some(cluster::start(config, cluster, node, desk, recovered).await?);
    }
    listeners.accept().await?;
    if let Some(file) = &config.node.ready_file {
        let cluster = running.cluster.as_ref().and_then(cluster::Running::addresses);
        ready::write(file, &bound, cluster, http).map_err(|e| format!("node.ready_file: {}: {e}", file.display()))?;
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
    /// Accepts no more, says goodbye to every client, then to the other nodes, which get the sessions before, and ends the workers.
    async fn stop(self, node: &Node, listeners: &Listeners, deadline: Instant) {
        listeners.stop(deadline).await;
        for worker in 0..node.workers() {
            node.send(worker, |mail| mail.stop = true);
        }
        while node.load() > 0 && Instant::now() < deadline {
            tokio::time::sleep(STOP_LOOK).await;
        }
        if let Some(cluster) = self.cluster {
            cluster.hand_over(node).await;
            cluster.stop().await;
        }
        for worker in 0..node.workers() {
            node.send(worker, |mail| mail.end = true);
        }
        // They have nothing to wait for, if no connection is left.
        let deadline = deadline.max(Instant::now() + WORKERS_END_MAX);
        while self.workers.iter().any(|w| !w.is_finished()) {
            if Instant::now() >= deadline {
                tracing::warn!(connections = node.load(), "connections are left behind");
                break;
            }
            tokio::time::sleep(STOP_LOOK).await;
        }
    }
}
