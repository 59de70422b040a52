//! One library to a started instance, at the start of the node and at a reload.

use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Health, Instance, Interest, Library, LibraryFile, Plugin, Services, Wanted};
use gatemq_types::event::Fact;

use super::find::Found;
use crate::config::PluginHost;
use crate::events::Events;

/// How long a plugin may take to become ready.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long one may take to stop that is not wanted after all.
pub(super) const GIVE_UP_WAIT: Duration = Duration::from_secs(5);

/// Says why a library is refused, once as an event.
pub(super) fn tell_refused(events: &Events, found: &Found, why: &str) {
    let (plugin, file) = (found.name.clone().into(), found.file.display().to_string().into());
    events.emit(None, Fact::PluginRefused { plugin, file, why: why.to_owned().into() });
}

/// Reads a library, if it is what the configuration wants. None of its code runs.
///
/// # Errors
/// Why not; an event has said so.
pub(super) fn read(found: &Found, host: &PluginHost, events: &Events) -> Result<LibraryFile, String> {
    let wanted = Wanted { owner_checked: host.owner_checked, sha256: found.settings.sha256 };
    LibraryFile::read(&found.file, &wanted).map_err(|refusal| {
        tell_refused(events, found, &refusal.reason.to_string());
        format!("plugin {} refused: {refusal}", found.name)
    })
}

/// Maps a library, on a thread of its own: its constructors run, and nobody knows for how long.
///
/// # Errors
/// Why it is refused; an event has said so.
pub(super) async fn map(
    file: LibraryFile,
    plugin: &Arc<Plugin>,
    found: &Found,
    events: &Events,
) -> Result<Library, String> {
    let (sender, mapped) = tokio::sync::oneshot::channel();
    let of = plugin.clone();
    let thread = std::thread::Builder::new().name(format!("load-{}", found.name));
    let spawned = thread.spawn(move || drop(sender.send(Library::map(file, of.copies()))));
    let deadline = found.settings.policy.options.start_timeout;
    let (why, whole) = match (spawned, tokio::time::timeout(deadline, mapped).await) {
        (Ok(_), Ok(Ok(Ok(library)))) => return Ok(library),
        (Ok(_), Ok(Ok(Err(refusal)))) => (refusal.reason.to_string(), format!("refused: {refusal}")),
        (Err(e), _) => (e.to_string(), format!("cannot be loaded: {e}")),
        (_, Ok(Err(_))) => ("it panicked".to_owned(), "refused: it panicked while it was loaded".to_owned()),
        (_, Err(_)) => {
            let why = format!("it is not loaded within {} ms: its constructors do not return", deadline.as_millis());
            (why.clone(), format!("refused: {why}"))
        }
    };
    tell_refused(events, found, &why);
    Err(format!("plugin {} {whole}", found.name))
}

/// Starts an instance and waits until it is ready.
///
/// # Errors
/// Why it does not serve; an event has said so, and it is stopped.
pub(super) async fn start(
    library: Library,
    found: &Found,
    services: Arc<dyn Services>,
    events: &Events,
) -> Result<Arc<Instance>, String> {
    let (config, options) = (found.settings.config_json.clone(), found.settings.policy.options);
    let instance = Instance::start(library, &found.name, config, services, options).await.map_err(|failure| {
        tell_refused(events, found, &failure.to_string());
        let problems = failure.to_string().replace('\n', "; ");
        format!("plugin {} ({}) does not start: {problems}", found.name, found.file.display())
    })?;
    if let Err(why) = ready(&instance).await {
        tell_refused(events, found, &why);
        give_up(&instance).await;
        return Err(why);
    }
    Ok(instance)
}

/// What a collector wants to see.
///
/// # Errors
/// Why it does not say; an event has said so, and it is stopped.
pub(super) async fn interest(instance: &Instance, found: &Found, events: &Events) -> Result<Interest, String> {
    match instance.interest().await {
        Ok(interest) => Ok(interest),
        Err(failure) => {
            give_up(instance).await;
            let why = format!("it does not say what it wants to see: {failure}");
            tell_refused(events, found, &why);
            Err(format!("plugin {}: {why}", found.name))
        }
    }
}

/// Waits until it is ready: nobody is served before.
async fn ready(instance: &Instance) -> Result<(), String> {
    match instance.ready(READY_WAIT).await {
        Ok(Health::Degraded(why)) => tracing::warn!("plugin {} is degraded: {}", instance.name(), why.escape_debug()),
        Ok(_) => {}
        Err(why) => return Err(format!("plugin {} is not ready: {}", instance.name(), why.escape_debug())),
    }
    Ok(())
}

/// Stops an instance that is not wanted: it must not go on by itself.
pub(super) async fn give_up(instance: &Instance) {
    // Half for `stop`, half for the destructor.
    tell_stop(instance.name(), instance.stop(GIVE_UP_WAIT / 2).await);
}

/// Says how it stopped, if it did not do so well; it may have been stopped before.
pub(super) fn tell_stop(plugin: &str, stopped: Result<(), CallFailure>) {
    match stopped {
        Ok(()) | Err(CallFailure::NotThere(_)) => {}
        Err(failure) => {
            tracing::warn!("plugin {plugin} did not stop well: {}", failure.to_string().escape_debug());
        }
    }
}
