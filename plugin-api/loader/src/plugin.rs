//! A plugin that a host serves with: by its name, whichever generation of it is in force.
//!
//! What must hold over all generations is here: bounds, breakers, counters, health. A call takes the generation of the moment
//! it begins, and keeps it until it has ended; what an exchange has begun it keeps until the exchange has ended ([`Pinned`]).

mod calls;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatemq_types::event::Event;
use gatemq_types::{Action, AuthOutcome, Connect, Verdict};
use tokio::sync::Semaphore;

pub use calls::Lane;

use crate::breaker::{Breaker, BreakerChange, BreakerOptions, BreakerState, Network};
use crate::counters::{Counters, Counts};
use crate::{CallFailure, Health, Info, Instance, Options, Session};

/// How often it is looked whether the last call of a retired generation has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// Bounds and rules of a plugin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Deadlines, and calls at a time: of everybody together. Further ones are refused.
    pub options: Options,
    /// Percent of `options.calls_max` that are kept for clients that are admitted already.
    pub calls_kept_percent: u8,
    /// Calls at a time for clients of one address that are not admitted yet: the next one waits its turn, no longer than
    /// `options.timeout`, and is refused then. 0: no bound.
    pub address_calls_max: u32,
    /// When it is not called any more.
    pub breaker: BreakerOptions,
    /// It may deny, and nothing else.
    pub veto: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            options: Options::default(),
            calls_kept_percent: 25,
            address_calls_max: 16,
            breaker: BreakerOptions::default(),
            veto: false,
        }
    }
}

/// One started instance of a plugin, and which one it is.
pub struct Generation {
    number: u32,
    instance: Arc<Instance>,
}

impl Generation {
    /// From 1 on.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The instance.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

type Observer = Box<dyn Fn(Lane, BreakerChange) + Send + Sync>;

/// See the module.
pub struct Plugin {
    name: Arc<str>,
    state: Mutex<State>,
    counters: Counters,
    copies: AtomicU32,
    observer: Observer,
}

struct State {
    generation: Option<Arc<Generation>>,
    /// Of the last generation.
    number: u32,
    policy: Policy,
    health: Health,
    /// By lane.
    in_flight: [usize; 2],
    /// By lane: what strangers make it fail at does not keep it from those who are admitted.
    breakers: [Breaker; 2],
    /// Turns of addresses that have calls under way or waiting; no more of them than connections.
    turns: HashMap<Network, Arc<Semaphore>>,
}

/// What is known of a plugin.
#[derive(Clone, Debug)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// The library in force; `None` if it did not start.
    pub library: Option<Info>,
    /// Which generation is in force, from 1 on; 0: none.
    pub generation: u32,
    /// Copies of libraries that are mapped for it. Each reload maps one more, and none is ever unmapped.
    pub copies: u32,
    /// What it said of itself when it was last asked.
    pub health: Health,
    /// Whether it may only deny.
    pub veto: bool,
    /// Breaker of the calls for clients that are not admitted yet, and of those for clients that are.
    pub breakers: [BreakerState; 2],
    /// Calls under way.
    pub in_flight: usize,
    /// Calls since the node started.
    pub counts: Counts,
}

impl Plugin {
    /// One that has not started: every call is refused until it is [replaced](Plugin::replace). `observer` is told what
    /// becomes of the breakers; it must not wait.
    pub fn new(
        name: &str,
        policy: Policy,
        observer: impl Fn(Lane, BreakerChange) + Send + Sync + 'static,
    ) -> Arc<Plugin> {
        let state = State {
            generation: None,
            number: 0,
            policy,
            health: Health::NotReady("it has not started".into()),
            in_flight: [0; 2],
            breakers: [Breaker::new(policy.breaker), Breaker::new(policy.breaker)],
            turns: HashMap::new(),
        };
        Arc::new(Plugin {
            name: name.into(),
            state: Mutex::new(state),
            counters: Counters::default(),
            copies: AtomicU32::new(0),
            observer: Box::new(observer),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, for whoever keeps it.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Copies of libraries that were mapped for it.
    pub fn copies(&self) -> &AtomicU32 {
        &self.copies
    }

    /// The generation in force.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.lock().generation.clone()
    }

    /// Bounds and rules in force.
    pub fn policy(&self) -> Policy {
        self.lock().policy
    }

    /// Says why it does not work, while there is no generation.
    pub fn missing(&self, why: &str) {
        let mut state = self.lock();
        if state.generation.is_none() {
            state.health = Health::NotReady(why.to_owned());
        }
    }

    /// Has calls go to `instance`, which is ready, from now on. Calls under way stay with the one before, which is returned.
    pub fn replace(&self, instance: Arc<Instance>, policy: Policy) -> (u32, Option<Retired>) {
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        let before = state.generation.replace(Arc::new(Generation { number, instance }));
        (state.policy, state.health) = (policy, Health::Ready);
        // What the one before failed at says nothing of this one.
        let fresh = [Breaker::new(policy.breaker), Breaker::new(policy.breaker)];
        let breakers = std::mem::replace(&mut state.breakers, fresh);
        drop(state);
        for (lane, breaker) in Lane::ALL.into_iter().zip(breakers) {
            if breaker.state() != BreakerState::Closed {
                (self.observer)(lane, BreakerChange::Closed);
            }
        }
        (number, before.map(Retired))
    }

    /// Takes the generation in force away: no call reaches it from now on, until another one [takes its place](Plugin::replace).
    /// Calls under way stay with it.
    pub fn retire(&self, why: &str) -> Option<Retired> {
        let mut state = self.lock();
        state.health = Health::NotReady(why.to_owned());
        state.generation.take().map(Retired)
    }

    /// Asks it how it is, and keeps the answer: what it was, and what it is now. `None` if there is nobody to ask, or another
    /// generation came meanwhile.
    pub async fn ask_health(&self) -> Option<(Health, Health)> {
        let generation = self.current()?;
        let health = generation.instance.health().await;
        let mut state = self.lock();
        if state.number != generation.number || state.generation.is_none() {
            return None;
        }
        let before = std::mem::replace(&mut state.health, health.clone());
        Some((before, health))
    }

    /// Why it does not work, if it says so.
    pub fn not_ready(&self) -> Option<CallFailure> {
        match &self.lock().health {
            Health::NotReady(why) => Some(CallFailure::NotReady(why.clone())),
            Health::Ready | Health::Degraded(_) => None,
        }
    }

    /// Asks who a client is; an exchange that begins with it goes on with what is returned besides. Dropping the future
    /// cancels the call.
    ///
    /// # Errors
    /// No answer, for whatever reason: nobody is admitted.
    pub async fn authenticate(self: &Arc<Self>, connect: &Connect) -> Result<(AuthOutcome, Pinned), CallFailure> {
        let call = self.enter(Lane::Strangers, Network::of(connect.remote.ip()), None).await?;
        let answer = call.instance().authenticate(connect).await;
        let generation = call.generation().clone();
        let outcome = call.outcome(answer)?;
        Ok((outcome, Pinned { plugin: self.clone(), generation }))
    }

    /// Asks about an action of an admitted client.
    ///
    /// # Errors
    /// No answer, for whatever reason: nothing is granted.
    pub async fn authorize(self: &Arc<Self>, session: &Arc<Session>, action: Action) -> Result<Verdict, CallFailure> {
        let call = self.enter(Lane::Sessions, session.network, None).await?;
        let answer = call.instance().authorize(session, action).await;
        call.ended(answer, |_| false)
    }

    /// Asks for the grants of an admitted client again.
    ///
    /// # Errors
    /// No answer, for whatever reason: nothing is granted.
    pub async fn refresh(self: &Arc<Self>, session: &Session) -> Result<AuthOutcome, CallFailure> {
        let call = self.enter(Lane::Sessions, session.network, None).await?;
        let answer = call.instance().refresh(session).await;
        call.outcome(answer)
    }

    /// Hands events to the collector of a generation and waits until it has taken them, as [`Instance::collect`].
    ///
    /// # Errors
    /// It is not a collector, or it panicked.
    pub fn collect(&self, generation: &Generation, batch: &[&Event]) -> Result<(), CallFailure> {
        let began = Instant::now();
        let answer = generation.instance.collect(batch);
        self.counters.ended(began.elapsed(), answer.is_err(), answer.as_ref().err());
        answer
    }

    /// The generation in force, for an exchange that begins now.
    ///
    /// # Errors
    /// There is none.
    pub fn pin(self: &Arc<Self>) -> Result<Pinned, CallFailure> {
        let generation = self.current().ok_or(CallFailure::NotThere("it has not started"))?;
        Ok(Pinned { plugin: self.clone(), generation })
    }

    /// What is known of it.
    pub fn status(&self) -> PluginStatus {
        let state = self.lock();
        PluginStatus {
            name: self.name.to_string(),
            library: state.generation.as_ref().map(|generation| generation.instance.info().clone()),
            generation: state.generation.as_ref().map_or(0, |generation| generation.number),
            copies: self.copies.load(Ordering::Relaxed),
            health: state.health.clone(),
            veto: state.policy.veto,
            breakers: [state.breakers[0].state(), state.breakers[1].state()],
            in_flight: state.in_flight.iter().sum(),
            counts: self.counters.read(),
        }
    }
}

/// A plugin in the generation that began an exchange: the next steps are its own.
#[derive(Clone)]
pub struct Pinned {
    plugin: Arc<Plugin>,
    generation: Arc<Generation>,
}

impl Pinned {
    /// The plugin.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Hands on what a client sent in an AUTH, as [`Instance::exchange`].
    ///
    /// # Errors
    /// No answer, for whatever reason: nobody is admitted.
    pub async fn exchange(
        &self,
        connect: &Connect,
        data: &[u8],
        state: u64,
        reauthentication: bool,
    ) -> Result<AuthOutcome, CallFailure> {
        let lane = if reauthentication { Lane::Sessions } else { Lane::Strangers };
        let call = self.plugin.enter(lane, Network::of(connect.remote.ip()), Some(&self.generation)).await?;
        let answer = call.instance().exchange(connect, data, state, reauthentication).await;
        call.outcome(answer)
    }
}

/// A generation that gets no new calls.
pub struct Retired(Arc<Generation>);

impl Retired {
    /// Which one it is.
    pub fn generation(&self) -> &Generation {
        &self.0
    }

    /// Waits until its last call, and its last exchange, has ended. False: some had not at `until`.
    pub async fn drained(&self, until: Instant) -> bool {
        // Whoever calls it holds it.
        while Arc::strong_count(&self.0) > 1 {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        true
    }

    /// Stops it, as [`Instance::stop`].
    ///
    /// # Errors
    /// As there.
    pub async fn stop(&self, deadline: Duration) -> Result<(), CallFailure> {
        self.0.instance.stop(deadline).await
    }
}
