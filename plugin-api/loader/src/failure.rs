//! What can go wrong in a call. Nothing is granted by any of it.

use gatemq_plugin_api::abi::convert::{UnknownCode, let_go};
use gatemq_plugin_api::abi::v1_0::{Status, StatusCode};

/// Why a call gave no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallFailure {
    /// It did not answer in time.
    #[error("no answer within {timeout_ms} ms")]
    TimedOut {
        /// How long it was waited.
        timeout_ms: u64,
    },
    /// It panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// It says itself that it failed, or dropped the call.
    #[error("{0}")]
    Failed(String),
    /// It answered with a number that has no meaning.
    #[error("{0}")]
    UnknownCode(UnknownCode),
    /// As many calls as allowed are under way.
    #[error("{calls_max} calls are under way already")]
    Busy {
        /// The bound.
        calls_max: usize,
    },
    /// As many calls as allowed are under way for clients of the same address, for as long as it was waited.
    #[error("{calls_max} calls for clients of its address are under way already")]
    AddressBusy {
        /// The bound.
        calls_max: usize,
    },
    /// It keeps failing, so it is not called for a while.
    #[error("its breaker is open, because its calls kept failing; it is tried again in {left_ms} ms")]
    BreakerOpen {
        /// For how long.
        left_ms: u64,
    },
    /// It says that it does not work.
    #[error("not ready: {0}")]
    NotReady(String),
    /// It takes a new configuration only when it is loaded again.
    #[error("it takes that only when it is loaded again: {0}")]
    LoadAgain(String),
    /// As many of its call threads as may be are away: it is not called until one comes back.
    #[error("fenced: {0} of its call threads did not come back")]
    Fenced(usize),
    /// It was stopped, or does not have this role.
    #[error("not available: {0}")]
    NotThere(&'static str),
}

impl CallFailure {
    /// Whether the caller may try again: too many calls were under way.
    pub fn is_busy(&self) -> bool {
        matches!(self, CallFailure::Busy { .. } | CallFailure::AddressBusy { .. })
    }

    /// Whether the plugin was called at all.
    pub fn was_called(&self) -> bool {
        !self.is_busy() && !matches!(self, CallFailure::BreakerOpen { .. } | CallFailure::NotReady(_))
    }

    /// From a status that is not OK; `None` for OK.
    #[inline]
    pub(crate) fn of(status: Status) -> Option<CallFailure> {
        if status.code == StatusCode::OK {
            let_go(status.message);
            return None;
        }
        let message = status.message.into_string();
        Some(match status.code {
            StatusCode::PANICKED => CallFailure::Panicked(message),
            StatusCode::FAILED => CallFailure::Failed(message),
            StatusCode::LOAD_AGAIN => CallFailure::LoadAgain(message),
            StatusCode::NOT_SUPPORTED => CallFailure::Failed("it does not support that".into()),
            StatusCode(number) => CallFailure::UnknownCode(UnknownCode { what: "status", number }),
        })
    }

    /// The status of an abandoned call: whatever it says, there is no answer.
    pub(crate) fn abandoned(status: Status) -> CallFailure {
        CallFailure::of(status).unwrap_or_else(|| CallFailure::Failed("dropped without an answer".into()))
    }
}
