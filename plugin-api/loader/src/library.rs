//! From a file to a checked root module.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use abi_stable::library::{AbiHeaderRef, LibraryError};
use abi_stable::std_types::{RStr, RString};
use gatemq_plugin_api::abi::ENTRY_SYMBOL;
use gatemq_plugin_api::abi::v1_0::{PluginInfo, PluginRoot_Ref};

use crate::call_thread::CallThread;
use crate::{CallFailure, LibraryFile, LibraryHash, Reason, Refusal, Wanted, platform, precheck};

/// What a library says of itself.
#[derive(Clone, Debug)]
pub struct Info {
    /// The file.
    pub file: PathBuf,
    /// Hash of the file.
    pub sha256: LibraryHash,
    /// Name of its crate.
    pub name: String,
    /// Version of its crate.
    pub version: String,
    /// Version of `gatemq-plugin-api` that it was built with.
    pub api_version: String,
    /// Version of the binary interface that it was built with.
    pub interface: String,
    /// Whether it is an auth provider.
    pub auth: bool,
    /// Whether it is an event collector.
    pub events: bool,
}

/// A mapped library. Each one is a mapping of its own, also of the same file, since panic hook, log and runtime are one a
/// mapping. It stays mapped for the life of the process.
pub struct Library {
    info: Info,
    root: PluginRoot_Ref,
}

impl Library {
    /// Reads, checks and maps a plugin file, whoever may write to it.
    ///
    /// # Errors
    /// Which file, what was wanted, what was found.
    pub fn open(file: &Path) -> Result<Library, Refusal> {
        Self::map(LibraryFile::read(file, &Wanted::default())?, &AtomicU32::new(0))
    }

    /// Checks a plugin file and maps a private copy of it, whose constructors then run: one more of its `copies`.
    ///
    /// # Errors
    /// Which file, what was wanted, what was found.
    pub fn map(file: LibraryFile, copies: &AtomicU32) -> Result<Library, Refusal> {
        let path = file.path.clone();
        Self::try_map(file, copies).map_err(|reason| Refusal { file: path, reason })
    }

    fn try_map(file: LibraryFile, copies: &AtomicU32) -> Result<Library, Reason> {
        precheck::check(&file.bytes)?;
        copies.fetch_add(1, Ordering::Relaxed);
        let header = map(&file.path, &file.bytes)?;
        let (path, sha256) = (file.path.clone(), file.sha256());
        drop(file);
        let lib_header = header.upgrade().map_err(|e| match e {
            LibraryError::InvalidAbiHeader(found) => {
                Reason::OtherAbi(format!("{}.{}", found.abi_major, found.abi_minor))
            }
            other => Reason::OtherAbi(one_line(&other.to_string())),
        })?;
        // The version first: a library of another version has another layout as well, and that says less.
        let found = lib_header.version_strings();
        let major = |v: &str| v.split('.').next().unwrap_or("").to_owned();
        if major(found.version.as_str()) != major(crate::INTERFACE_VERSION) {
            return Err(Reason::OtherInterface { found: found.version.as_str().to_owned() });
        }
        // abi_stable would take its word for it.
        if lib_header.layout().is_none() {
            return Err(Reason::LayoutDiffers("it does not say which it has".into()));
        }
        let root = lib_header.init_root_module::<PluginRoot_Ref>().map_err(|e| match e {
            LibraryError::AbiInstability(e) => Reason::LayoutDiffers(layout_difference(&e.to_string())),
            LibraryError::IncompatibleVersionNumber { actual_version, .. } => {
                Reason::OtherInterface { found: actual_version.to_string() }
            }
            other => Reason::RootFailed(one_line(&other.to_string())),
        })?;
        let said = (root.info())();
        if said.panic_aborts {
            return Err(Reason::PanicAborts);
        }
        Ok(Library { info: Info::new(&path, sha256, &said, root, found.version.as_str()), root })
    }

    /// Has it look at a configuration (JSON), without starting anything; the author's types run, within `timeout`.
    ///
    /// # Errors
    /// What is wrong with it: one line a problem, each with its key. Or a panic, or no answer.
    pub async fn check_config(&self, config: String, timeout: Duration) -> Result<(), CallFailure> {
        let (root, thread) = (self.root, CallThread::new("check", 1));
        let status = thread.call(timeout, move || (root.check())(RStr::from_str(&config))).await?;
        CallFailure::of(status).map_or(Ok(()), Err)
    }

    /// Which keys its configuration has, as JSON: a list of objects with `key` (such as `rules[].user`), `takes` and `needed`. The
    /// author's types run, within `timeout`.
    ///
    /// # Errors
    /// A panic, or no answer.
    pub async fn config_keys(&self, timeout: Duration) -> Result<String, CallFailure> {
        let (root, thread) = (self.root, CallThread::new("check", 1));
        let asked = thread.call(timeout, move || {
            let mut keys = RString::new();
            ((root.keys())(&mut keys), keys)
        });
        let (status, keys) = asked.await?;
        CallFailure::of(status).map_or(Ok(keys.into_string()), Err)
    }

    /// What it says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    pub(crate) fn root(&self) -> PluginRoot_Ref {
        self.root
    }
}

impl Info {
    fn new(file: &Path, sha256: LibraryHash, info: &PluginInfo, root: PluginRoot_Ref, interface: &str) -> Self {
        Info {
            file: file.to_owned(),
            sha256,
            name: info.name.to_string(),
            version: info.version.to_string(),
            api_version: info.api_version.to_string(),
            interface: interface.to_owned(),
            auth: root.auth().is_some(),
            events: root.events().is_some(),
        }
    }

    /// `auth`, `events`, `auth, events` or `none`.
    pub fn roles(&self) -> &'static str {
        match (self.auth, self.events) {
            (true, true) => "auth, events",
            (true, false) => "auth",
            (false, true) => "events",
            (false, false) => "none",
        }
    }
}

/// Maps a private copy and finds the header. The mapping is left behind on purpose.
fn map(file: &Path, bytes: &[u8]) -> Result<AbiHeaderRef, Reason> {
    let library = platform::load(file, bytes).map_err(|e| Reason::NotLoadable(one_line(&e)))?;
    // SAFETY: the symbol is a static of at least the size of a header (checked before); whether it is one is told by its
    // magic string, which is read first (`AbiHeaderRef::upgrade`).
    let header = unsafe { library.get::<AbiHeaderRef>(ENTRY_SYMBOL.as_bytes()).map(|symbol| *symbol) };
    // Never unmapped: thread-local destructors and threads of the library would run into nothing.
    std::mem::forget(library);
    header.map_err(|_| Reason::NoEntrySymbol)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if line.len() > 300 {
        let end = line.char_indices().map(|(at, _)| at).take_while(|at| *at <= 300).last().unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The first difference that abi_stable's report of several pages names.
fn layout_difference(report: &str) -> String {
    let lines = report.lines().map(str::trim).filter(|l| !l.is_empty());
    let from = |what: &'static str| lines.clone().skip_while(move |l| !l.starts_with(what)).take(6).collect::<Vec<_>>();
    let errors = from("Error:");
    one_line(&if errors.is_empty() { report.to_owned() } else { errors.join(" ") })
}
