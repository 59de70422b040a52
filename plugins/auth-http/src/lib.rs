//! Auth provider that asks a server over HTTPS who a client is, and what it may do. What may be in its configuration, and the
//! texts that are exchanged, are in `README.md` beside it.
//!
//! Whatever is not a whole and known answer in time grants nothing. Answers are kept only where the server says so.
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod config;
mod gate;
mod health;
mod question;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_http::{Answer, Client};

use cache::Cache;
use config::Config;
use gate::{Gate, NoTurn};
use health::Trouble;

/// Largest answer, in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// When it may be worth trying again where the server has not answered.
const RETRY_AFTER: Duration = Duration::from_secs(1);

struct AuthHttp {
    host: Host,
    state: RwLock<Arc<State>>,
    /// How long the broker waits for a call, in milliseconds, as it said last; 0: it has not.
    deadline_ms: AtomicU32,
}

/// What is in force.
struct State {
    client: Client,
    timeout: Duration,
    tenant: Option<String>,
    gate: Gate,
    cache: Cache,
    trouble: Trouble,
}

/// Why a question has no answer.
enum NoAnswer {
    /// As many are asked as may be.
    Busy(String),
    /// The server is at fault.
    Failed(String),
}

impl State {
    /// # Errors
    /// Every problem, a line each.
    fn new(config: &Config, host: &Host) -> Result<Arc<Self>, String> {
        let mut problems = config.problems();
        let client = config.server.client(BYTES_MAX, host);
        if let Err(more) = &client {
            problems.extend(more.iter().map(|problem| format!("server.{problem}")));
        }
        match client {
            Ok(client) if problems.is_empty() => Ok(Arc::new(State {
                client,
                timeout: config.server.timeout(),
                tenant: config.tenant.clone(),
                gate: Gate::new(config.requests_max, config.queue_max),
                cache: Cache::new(config.kept_max)?,
                trouble: Trouble::default(),
            })),
            _ => Err(problems.join("\n")),
        }
    }
}

impl Plugin for AuthHttp {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let state = RwLock::new(State::new(&config, &host)?);
        Ok(AuthHttp { host, state, deadline_ms: AtomicU32::new(0) })
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        let state = State::new(&config, &self.host)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    fn health(&self) -> Health {
        self.state().trouble.health()
    }
}

impl AuthProvider for AuthHttp {
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        self.deadline_ms.store(connect.deadline_ms, Ordering::Relaxed);
        let state = self.state();
        let mut question = question::Client::new(connect);
        let (Ok(json), Ok(in_common)) = (question.json(), question.in_common()) else {
            return AuthOutcome::reject("what is known of it cannot be written as JSON");
        };
        let key = state.cache.key(in_common.as_bytes());
        if let Some(kept) = state.cache.get(&key, Instant::now()) {
            self.host.count("answers_kept_used", 1);
            return self.who(&state, &kept).unwrap_or_else(|why| self.failed(&state, &why));
        }
        let answer = match self.ask(&state, json).await {
            Ok(answer) => answer,
            Err(no_answer) => return self.without(&state, no_answer),
        };
        match self.who(&state, &answer.body) {
            Ok(outcome) => {
                state.trouble.answered();
                if let (AuthOutcome::Accept(identity), Some(time)) = (&outcome, answer.max_age) {
                    let time = time.min(self.left(identity));
                    state.cache.put(key, &answer.body, time, Instant::now());
                }
                outcome
            }
            Err(why) => self.failed(&state, &why),
        }
    }

    async fn refresh(&self, session: &Session) -> AuthOutcome {
        let state = self.state();
        let connect = session.connect();
        let Ok(json) = question::Client::again(&connect, session).json() else {
            return AuthOutcome::reject("what is known of it cannot be written as JSON");
        };
        match self.ask(&state, json).await {
            Err(no_answer) => self.without(&state, no_answer),
            Ok(answer) => match self.who(&state, &answer.body) {
                Ok(outcome) => {
                    state.trouble.answered();
                    outcome
                }
                Err(why) => self.failed(&state, &why),
            },
        }
    }

    fn authorize(&self, _: &Session, _: &Action<'_>) -> Verdict {
        Verdict::Pending
    }

    async fn authorize_slow(&self, session: &Session, action: &Action<'_>) -> Verdict {
        let state = self.state();
        let Some(kind) = action.kind() else { return Verdict::deny("this plugin does not know such an action") };
        let json = match question::act(session, kind, action) {
            Ok(json) => json,
            Err(e) => return Verdict::deny(e),
        };
        let why = match self.ask(&state, json).await {
            Ok(answer) => match answer::may(&answer.body, answer.max_age) {
                Ok(verdict) => {
                    state.trouble.answered();
                    return verdict;
                }
                Err(why) => {
                    self.failed(&state, &why);
                    why
                }
            },
            Err(NoAnswer::Busy(why)) => {
                self.host.count("busy", 1);
                why
            }
            Err(NoAnswer::Failed(why)) => {
                self.failed(&state, &why);
                why
            }
        };
        undecided(kind, &why)
    }
}

/// Nothing is granted, and nothing is kept. A message that nobody has decided about ends its connection, so that the client
/// sends it again: acknowledged, it would be lost.
fn undecided(kind: ActionKind, why: &str) -> Verdict {
    Verdict::Deny {
        code: ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
        reason: format!("the server was asked and has not decided: {why}"),
        reason_string: None,
        disconnect: kind == ActionKind::Publish,
        ttl: Duration::ZERO,
    }
}

impl AuthHttp {
    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks, in turn and in time: before the broker has given up.
    async fn ask(&self, state: &State, json: Vec<u8>) -> Result<Answer, NoAnswer> {
        let began = Instant::now();
        let timeout = match self.deadline_ms.load(Ordering::Relaxed) {
            0 => state.timeout,
            ms => state.timeout.min(Duration::from_millis(u64::from(ms) * 9 / 10)),
        };
        let late = || NoAnswer::Failed("questions before it took too long".into());
        let _turn = match state.gate.turn(timeout).await {
            Ok(turn) => turn,
            Err(NoTurn::Full(why)) => return Err(NoAnswer::Busy(why)),
            Err(NoTurn::Late) => return Err(late()),
        };
        let left = timeout.checked_sub(began.elapsed()).ok_or_else(late)?;
        self.host.count("questions", 1);
        state.client.post(json, left).await.map_err(|e| NoAnswer::Failed(e.to_string()))
    }

    fn who(&self, state: &State, body: &[u8]) -> Result<AuthOutcome, String> {
        answer::who(body, state.tenant.as_deref())
    }

    /// How long an identity is good.
    fn left(&self, identity: &Identity) -> Duration {
        match identity.valid_until_ms {
            0 => Duration::MAX,
            until_ms => Duration::from_millis(until_ms.saturating_sub(self.host.now_ms())),
        }
    }

    fn without(&self, state: &State, no_answer: NoAnswer) -> AuthOutcome {
        match no_answer {
            NoAnswer::Failed(why) => self.failed(state, &why),
            NoAnswer::Busy(reason) => {
                self.host.count("busy", 1);
                let (code, delay) = (ReasonCode::SERVER_BUSY, Duration::ZERO);
                AuthOutcome::Reject { code, reason, reason_string: None, delay }
            }
        }
    }

    fn failed(&self, state: &State, why: &str) -> AuthOutcome {
        self.host.count("questions_failed", 1);
        state.trouble.failed(why, Instant::now());
        AuthOutcome::Unavailable { retry_after: RETRY_AFTER }
    }
}

export_plugin!(AuthHttp: auth);
