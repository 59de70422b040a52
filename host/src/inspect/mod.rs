//! `gatemq plugin check` and `gatemq plugin try`: one library, looked at and called as the broker does, without a broker.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@check`] | what a library is, why it would be refused, its configuration, a self test |
//! | [`mod@attempt`] | a client's CONNECT, PUBLISH or SUBSCRIBE: what plugin and broker make of it |
//! | [`client`] | the client, from the command line |
//! | [`answer`] | outcomes and verdicts in JSON |
//! | [`services`] | what the plugin may ask meanwhile |

mod answer;
mod attempt;
mod check;
mod client;
mod services;

pub(crate) use attempt::attempt;
pub(crate) use check::check;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use gatemq_plugin_loader::{Instance, Library, LibraryFile, Options};
use serde_json::Value;

use services::Alone;

/// How long a library may take to be mapped: its constructors run.
const LOAD_WAIT: Duration = Duration::from_secs(30);
/// How long a plugin may take to become ready, and to stop.
const READY_WAIT: Duration = Duration::from_secs(30);
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Maps a library, on a thread of its own.
async fn map(file: LibraryFile) -> Result<Library, String> {
    let mapping = tokio::task::spawn_blocking(move || Library::map(file, &AtomicU32::new(0)));
    match tokio::time::timeout(LOAD_WAIT, mapping).await {
        Ok(Ok(Ok(library))) => Ok(library),
        Ok(Ok(Err(refusal))) => Err(refusal.reason.to_string()),
        Ok(Err(_)) => Err("it panicked while it was loaded".into()),
        Err(_) => Err(format!("it is not loaded within {LOAD_WAIT:?}: its constructors do not return")),
    }
}

/// Starts an instance under the broker's own deadlines, and waits until it is ready.
async fn start(library: Library, name: &str, config: String) -> Result<Arc<Instance>, String> {
    let started = Instance::start(library, name, config, Arc::new(Alone), Options::default()).await;
    let instance = started.map_err(|failure| format!("it does not start: {failure}"))?;
    if let Err(why) = instance.ready(READY_WAIT).await {
        // What it says of its end does not matter any more.
        let _ = instance.stop(STOP_WAIT).await;
        return Err(format!("it is not ready after {READY_WAIT:?}: {why}"));
    }
    Ok(instance)
}

/// The plugin's own configuration as JSON: a TOML file with what is under `[plugins.NAME.config]`; without a file, an empty one.
fn config(file: Option<&Path>) -> Result<String, String> {
    let Some(file) = file else { return Ok("{}".into()) };
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: cannot be read: {e}", file.display()))?;
    let table: toml::Table = text.parse().map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::to_string(&table).map_err(|e| format!("{}: {e}", file.display()))
}

/// Runs it to its end; threads that the plugin holds are left behind.
fn run(inspect: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(inspect);
            runtime.shutdown_background();
            code
        }
        Err(e) => {
            eprintln!("gatemq: the runtime cannot be started: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Prints it for programs, or for people.
fn print(json: bool, report: &Value, people: impl FnOnce(&Value) -> String) {
    use std::io::Write;
    let text = if json { format!("{report}\n") } else { people(report) };
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Name of the instance: the file's, as of a library in the drop-in directory.
fn name_of(file: &Path) -> String {
    crate::plugins::name_of(file).unwrap_or_else(|| "plugin".into())
}

/// Which library, with which configuration, and how the answer is shown.
pub(crate) struct Of {
    /// The library.
    pub(crate) file: PathBuf,
    /// Its configuration, TOML.
    pub(crate) config_file: Option<PathBuf>,
    /// JSON, for programs.
    pub(crate) json: bool,
}
