//! How the server has been lately.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::tracing;

/// The same trouble is told again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    /// Questions in a row without an answer.
    failures: u64,
    why: String,
    told_at: Option<Instant>,
}

impl Trouble {
    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answered(&self) {
        let mut lately = self.lock();
        if lately.failures > 0 {
            tracing::info!("the server answers again, after {} questions without an answer", lately.failures);
            *lately = Lately::default();
        }
    }

    pub(crate) fn failed(&self, why: &str, now: Instant) {
        let mut lately = self.lock();
        lately.failures += 1;
        let told = lately.told_at.is_some_and(|at| now.saturating_duration_since(at) < TOLD_AGAIN);
        if !told || lately.why != why {
            tracing::warn!("no answer, so nothing is granted: {why} ({} in a row)", lately.failures);
            (lately.why, lately.told_at) = (why.to_owned(), Some(now));
        }
    }

    pub(crate) fn health(&self) -> Health {
        let lately = self.lock();
        match lately.failures {
            0 => Health::Ready,
            n => Health::Degraded(format!("{n} questions in a row without an answer: {}", lately.why)),
        }
    }
}
