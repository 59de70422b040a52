//! A call of a client: may it be made, and how did it end.

use std::sync::Arc;
use std::time::Instant;

use gatemq_types::AuthOutcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Generation, Plugin};
use crate::breaker::{Admitted, Network};
use crate::{CallFailure, Health, Instance};

/// For whom a plugin is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Clients that are not admitted yet.
    Strangers = 0,
    /// Clients that are.
    Sessions = 1,
}

impl Lane {
    /// Both, in the order of their numbers.
    pub const ALL: [Lane; 2] = [Lane::Strangers, Lane::Sessions];

    /// `strangers` or `sessions`.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Strangers => "strangers",
            Lane::Sessions => "sessions",
        }
    }
}

/// A call under way. One that is dropped without an end was cancelled: it says nothing of the plugin.
pub(super) struct Call {
    plugin: Arc<Plugin>,
    generation: Arc<Generation>,
    lane: Lane,
    network: Network,
    admitted: Admitted,
    veto: bool,
    began: Instant,
    ended: bool,
    /// Given up after the call is not counted any more.
    _turn: Option<Turn>,
}

impl Plugin {
    /// Begins a call for a client of `network`, to `generation` or the one in force.
    ///
    /// # Errors
    /// It is not to be called now.
    pub(super) async fn enter(
        self: &Arc<Self>,
        lane: Lane,
        network: Network,
        generation: Option<&Arc<Generation>>,
    ) -> Result<Call, CallFailure> {
        let entered = match lane {
            Lane::Strangers => match self.turn(network).await {
                Ok(turn) => self.begin(lane, network, generation, turn),
                Err(busy) => Err(busy),
            },
            Lane::Sessions => self.begin(lane, network, generation, None),
        };
        entered.inspect_err(|_| self.counters.refused())
    }

    fn begin(
        self: &Arc<Self>,
        lane: Lane,
        network: Network,
        generation: Option<&Arc<Generation>>,
        turn: Option<Turn>,
    ) -> Result<Call, CallFailure> {
        let began = Instant::now();
        let mut state = self.lock();
        if let (Lane::Strangers, Health::NotReady(why)) = (lane, &state.health) {
            return Err(CallFailure::NotReady(why.clone()));
        }
        let generation = generation.or(state.generation.as_ref()).cloned();
        let generation = generation.ok_or(CallFailure::NotThere("it has not started"))?;
        let policy = state.policy;
        let calls_max = policy.options.calls_max;
        let kept = calls_max * usize::from(policy.calls_kept_percent) / 100;
        let strangers_max = calls_max.saturating_sub(kept).max(1);
        let is_full = state.in_flight.iter().sum::<usize>() >= calls_max
            || lane == Lane::Strangers && state.in_flight[lane as usize] >= strangers_max;
        if is_full {
            return Err(CallFailure::Busy {
                calls_max: if lane == Lane::Strangers { strangers_max } else { calls_max },
            });
        }
        // Last: who is let through as the probe has to make the call. An exchange goes on with the generation that began it,
        // of which the breaker says nothing.
        let admitted = match generation.number == state.number {
            true => state.breakers[lane as usize].admit(began).map_err(|left| {
                let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                CallFailure::BreakerOpen { left_ms }
            })?,
            false => Admitted::Call,
        };
        state.in_flight[lane as usize] += 1;
        drop(state);
        let (plugin, veto) = (self.clone(), policy.veto);
        Ok(Call { plugin, generation, lane, network, admitted, veto, began, ended: false, _turn: turn })
    }

    /// Waits until fewer calls than may be are under way for clients of that address.
    async fn turn(self: &Arc<Self>, network: Network) -> Result<Option<Turn>, CallFailure> {
        let (semaphore, policy) = {
            let mut state = self.lock();
            let policy = state.policy;
            if policy.address_calls_max == 0 {
                return Ok(None);
            }
            let new = || Arc::new(Semaphore::new(policy.address_calls_max as usize));
            (state.turns.entry(network).or_insert_with(new).clone(), policy)
        };
        let mut turn = Turn { plugin: self.clone(), network, semaphore: Some(semaphore.clone()), permit: None };
        turn.permit = match semaphore.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let waited = tokio::time::timeout(policy.options.timeout, semaphore.acquire_owned()).await;
                let busy = CallFailure::AddressBusy { calls_max: policy.address_calls_max as usize };
                Some(waited.ok().and_then(Result::ok).ok_or(busy)?)
            }
        };
        Ok(Some(turn))
    }
}

impl Call {
    pub(super) fn instance(&self) -> &Instance {
        &self.generation.instance
    }

    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// It ended with what a provider says of a client. "Not available" is a failure as well, and so is whatever else than a
    /// denial a plugin with a veto says.
    pub(super) fn outcome(self, answer: Result<AuthOutcome, CallFailure>) -> Result<AuthOutcome, CallFailure> {
        let more_than_a_veto = |outcome: &AuthOutcome| {
            self.veto && matches!(outcome, AuthOutcome::Accept(_) | AuthOutcome::Continue { .. })
        };
        let answer = match answer {
            Ok(outcome) if more_than_a_veto(&outcome) => {
                Err(CallFailure::Failed("it has a veto and may only deny, but it wants to admit the client".into()))
            }
            answer => answer,
        };
        self.ended(answer, |outcome| matches!(outcome, AuthOutcome::Unavailable { .. }))
    }

    /// It ended with an answer, of which some are failures all the same.
    pub(super) fn ended<A>(
        mut self,
        answer: Result<A, CallFailure>,
        is_failure: impl FnOnce(&A) -> bool,
    ) -> Result<A, CallFailure> {
        let failed = match &answer {
            Ok(answer) => is_failure(answer),
            Err(CallFailure::NotThere(_)) => return answer,
            Err(failure) if failure.is_busy() => {
                self.plugin.counters.refused();
                return answer;
            }
            Err(_) => true,
        };
        self.ended = true;
        self.plugin.counters.ended(self.began.elapsed(), failed, answer.as_ref().err());
        let mut state = self.plugin.lock();
        let change = match state.number == self.generation.number {
            true => {
                let failed = failed.then_some(self.network);
                state.breakers[self.lane as usize].ended(Instant::now(), self.admitted, failed)
            }
            // What was replaced says nothing of the one in force.
            false => None,
        };
        drop(state);
        if let Some(change) = change {
            (self.plugin.observer)(self.lane, change);
        }
        answer
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.plugin.lock();
        state.in_flight[self.lane as usize] -= 1;
        if !self.ended && state.number == self.generation.number {
            state.breakers[self.lane as usize].left(self.admitted);
        }
    }
}

/// One of the calls that may be under way for clients of an address.
struct Turn {
    plugin: Arc<Plugin>,
    network: Network,
    /// Only `None` while being dropped.
    semaphore: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop((self.permit.take(), self.semaphore.take()));
        let mut state = self.plugin.lock();
        // All others were taken under the lock: nobody has or waits for a turn of this address.
        if state.turns.get(&self.network).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            state.turns.remove(&self.network);
        }
    }
}
