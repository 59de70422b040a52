//! What is in force: the configuration, the users of the last good file, and what is wrong with the present one.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::tracing;
use sha2::{Digest, Sha256};

use crate::cache::{self, Cache};
use crate::file::{self, Stamp};
use crate::gate::Gate;
use crate::parse::{self, Problem};
use crate::password::Hash;
use crate::users::Users;

/// Longest time that a success may be kept, in seconds.
const CACHE_S_MAX: u64 = 24 * 60 * 60;
/// Longest queue.
const QUEUE_MAX_MAX: usize = 65_536;
/// Problems of a file that are told; more are counted.
const TOLD_MAX: usize = 50;

/// See the crate.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
pub(crate) struct Config {
    /// The users file.
    users_file: PathBuf,
    /// Tenant of users that name none.
    tenant: Option<String>,
    /// Verifications that may wait for a core.
    #[serde(default = "default_queue_max")]
    pub(crate) queue_max: usize,
    /// How long a right password is remembered, in seconds; 0: not at all.
    #[serde(default = "default_cache_s")]
    cache_s: u64,
}

fn default_queue_max() -> usize {
    256
}

fn default_cache_s() -> u64 {
    300
}

impl Config {
    fn check(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        if self.tenant.as_deref() == Some("") {
            problems.push("tenant: is empty".to_owned());
        }
        if self.queue_max > QUEUE_MAX_MAX {
            problems.push(format!("queue_max: is {}; at most {QUEUE_MAX_MAX}", self.queue_max));
        }
        if self.cache_s > CACHE_S_MAX {
            problems.push(format!("cache_s: is {}; at most {CACHE_S_MAX}", self.cache_s));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

/// One reading of the users file.
pub(crate) struct Loaded {
    pub(crate) config: Arc<Config>,
    pub(crate) users: Users,
    /// What was right under these users.
    pub(crate) cache: Cache,
    /// Hashes that names which do not exist are verified against.
    decoys: Vec<Hash>,
    sha256: [u8; 32],
}

impl Loaded {
    /// The hash to verify against: the user's own, or for a name that does not exist that of some user, so that both take
    /// the same time; whether it is the user's own.
    pub(crate) fn hash(&self, name: &str) -> (Hash, bool) {
        match self.users.named.get(name) {
            Some(user) => (user.hash.clone(), true),
            None => {
                let decoy = self.decoys.get(self.cache.pick(name, self.decoys.len())).cloned();
                (decoy.unwrap_or_else(Hash::of_nobody), false)
            }
        }
    }
}

/// See the module.
pub(crate) struct State {
    pub(crate) host: Host,
    pub(crate) gate: Gate,
    loaded: RwLock<Arc<Loaded>>,
    /// Of the file when it was last read. Held while it is read: one reader at a time.
    seen: Mutex<Option<Stamp>>,
    /// What is wrong with the file as it is now.
    trouble: Mutex<Option<String>>,
    pub(crate) watched: AtomicBool,
}

impl State {
    /// # Errors
    /// Every problem of configuration and file.
    pub(crate) fn start(config: Config, host: Host) -> Result<Arc<Self>, String> {
        let (loaded, stamp) = load(&Arc::new(config))?;
        told(&host, &loaded);
        Ok(Arc::new(State {
            host,
            gate: Gate::new(),
            loaded: RwLock::new(Arc::new(loaded)),
            seen: Mutex::new(stamp),
            trouble: Mutex::default(),
            watched: AtomicBool::new(false),
        }))
    }

    /// What is in force.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong with the file as it is now, if something is.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Takes another configuration, and the file as it is now. Answers whose grants changed.
    ///
    /// # Errors
    /// Every problem; the old ones stay in force.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<Vec<(String, String)>, String> {
        let mut seen = lock(&self.seen);
        let (loaded, stamp) = load(&Arc::new(config))?;
        *seen = stamp;
        *lock(&self.trouble) = None;
        Ok(self.swap(loaded))
    }

    /// Looks whether the file has changed, and if so takes it, or says why not. Answers whose grants changed. Blocks.
    pub(crate) fn look(&self) -> Vec<(String, String)> {
        let mut seen = lock(&self.seen);
        let loaded = self.loaded();
        let stamp = Stamp::now(&loaded.config.users_file).ok();
        if stamp.is_some() && stamp == *seen {
            return Vec::new();
        }
        let (new, stamp) = reload(&loaded);
        *seen = stamp;
        match new {
            Ok(new) => {
                let mended = lock(&self.trouble).take().is_some();
                match new {
                    Some(new) => return self.swap(new),
                    None if mended => told(&self.host, &loaded),
                    None => {}
                }
            }
            Err(problems) => {
                let mut trouble = lock(&self.trouble);
                if trouble.as_ref() != Some(&problems) {
                    tracing::error!("the users of before stay in force: {}", problems.replace('\n', "; "));
                    self.host.count("reloads_refused", 1);
                }
                *trouble = Some(problems);
            }
        }
        Vec::new()
    }

    fn swap(&self, loaded: Loaded) -> Vec<(String, String)> {
        told(&self.host, &loaded);
        let mut current = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let changed = current.users.changed(&loaded.users);
        *current = Arc::new(loaded);
        changed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(host: &Host, loaded: &Loaded) {
    let users = loaded.users.named.len();
    let (file, groups) = (loaded.config.users_file.display(), loaded.users.groups);
    let anonymous = if loaded.users.anonymous.is_some() { ", and clients without user name" } else { "" };
    tracing::info!("{file}: {users} users, {groups} groups{anonymous}");
    host.gauge("users", i64::try_from(users).unwrap_or(i64::MAX));
}

fn load(config: &Arc<Config>) -> Result<(Loaded, Option<Stamp>), String> {
    let in_configuration = config.check();
    let read = file::read(&config.users_file).map_err(|e| problems(config, &[Problem::of_file(e)]));
    let loaded = read.and_then(|contents| Ok((build(config, &contents)?, contents.stamp)));
    match (in_configuration, loaded) {
        (Ok(()), loaded) => loaded,
        (Err(wrong), Ok(_)) => Err(wrong),
        (Err(wrong), Err(more)) => Err(format!("{wrong}\n{more}")),
    }
}

/// What the file says now, `None` if that is what `old` says; and its stamp.
fn reload(old: &Loaded) -> (Result<Option<Loaded>, String>, Option<Stamp>) {
    let config = &old.config;
    let contents = match file::read(&config.users_file) {
        Ok(contents) => contents,
        Err(e) => return (Err(problems(config, &[Problem::of_file(e)])), None),
    };
    let new = if old.sha256 == sha256(&contents.text) { Ok(None) } else { build(config, &contents).map(Some) };
    (new, contents.stamp)
}

fn build(config: &Arc<Config>, contents: &file::Contents) -> Result<Loaded, String> {
    if contents.world_readable {
        let file = config.users_file.display();
        tracing::warn!("{file} may be read by everybody, who can then try passwords on its hashes; chmod o-r");
    }
    let users = parse::parse(&contents.text, config.tenant.as_deref()).map_err(|e| problems(config, &e))?;
    let mut decoys: Vec<Hash> = users.named.values().map(|user| user.hash.clone()).collect();
    if decoys.is_empty() {
        decoys.push(Hash::of_nobody());
    }
    let cache = Cache::new(Duration::from_secs(config.cache_s), cache::ENTRIES_MAX)?;
    Ok(Loaded { config: config.clone(), users, cache, decoys, sha256: sha256(&contents.text) })
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// One line each, with the file's name.
fn problems(config: &Config, problems: &[Problem]) -> String {
    let file = config.users_file.display();
    let mut lines: Vec<String> = problems.iter().take(TOLD_MAX).map(|p| format!("{file}:{p}")).collect();
    if problems.len() > TOLD_MAX {
        lines.push(format!("{file}: and {} more", problems.len() - TOLD_MAX));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::cheap;

    fn loaded(text: &str) -> Loaded {
        let config = Config { users_file: "users.toml".into(), tenant: Some("t".into()), queue_max: 0, cache_s: 0 };
        let contents = file::Contents { text: text.into(), stamp: None, world_readable: false };
        build(&Arc::new(config), &contents).unwrap()
    }

    /// Guards that a name which does not exist cannot be told by the time that it takes: it costs what some user costs, the
    /// same each time, and which one is not known outside.
    #[test]
    fn a_name_that_does_not_exist_costs_what_some_user_does() {
        let (a, b) = (cheap("p"), cheap("q"));
        let text = format!("[users.a]\npassword = \"{a}\"\n[users.b]\npassword = \"{b}\"\n");
        let (one, other) = (loaded(&text), loaded(&text));
        let names: Vec<String> = (0..64).map(|n| format!("name-{n}")).collect();
        let picked = |loaded: &Loaded| names.iter().map(|name| loaded.hash(name)).collect::<Vec<_>>();
        for hash in [Hash::new(&a).unwrap(), Hash::new(&b).unwrap()] {
            assert!(picked(&one).contains(&(hash.clone(), false)));
            assert!(one.hash("a") == (hash.clone(), true) || one.hash("b") == (hash, true));
        }
        assert!(
            picked(&one).iter().all(|(hash, known)| !known && [&a, &b].iter().any(|h| h.as_bytes() == hash.as_bytes()))
        );
        assert_eq!(picked(&one), picked(&one));
        assert_ne!(picked(&one), picked(&other));
        let (nobody, known) = loaded("").hash("a");
        assert!(nobody.as_bytes().starts_with(b"$argon2id$v=19$m=19456,t=2,p=1$") && !known);
    }
}
