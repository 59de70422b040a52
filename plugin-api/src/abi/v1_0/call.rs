//! How calls answer: a status, or a completer that may be used from any thread.

use abi_stable::StableAbi;
use abi_stable::std_types::RString;

use super::{OutcomeRecord, ReplyRecord, VerdictRecord};

/// Result of a synchronous call. Any number that is not named here is a failure.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusCode(pub u32);

impl StatusCode {
    pub const OK: StatusCode = StatusCode(1);
    pub const FAILED: StatusCode = StatusCode(2);
    /// The plugin's code panicked; the panic was contained on its side of the border.
    pub const PANICKED: StatusCode = StatusCode(3);
    pub const NOT_SUPPORTED: StatusCode = StatusCode(4);
    /// Of `reconfigure`: only another instance can take this configuration.
    pub const LOAD_AGAIN: StatusCode = StatusCode(5);
}

/// A status with its message.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct Status {
    pub code: StatusCode,
    pub message: RString,
}

impl Status {
    pub fn ok() -> Self {
        Status { code: StatusCode::OK, message: RString::new() }
    }

    pub fn failed(message: impl Into<RString>) -> Self {
        Status { code: StatusCode::FAILED, message: message.into() }
    }

    pub fn panicked(message: impl Into<RString>) -> Self {
        Status { code: StatusCode::PANICKED, message: message.into() }
    }
}

macro_rules! completers {
    ($($(#[$doc:meta])* $name:ident($answer:ty);)*) => {$(
        $(#[$doc])*
        ///
        /// `context` stays valid for the life of the process and `token` carries a generation, so an answer that comes
        /// late, twice or never is harmless. Exactly one of `complete` and `abandon` should be called.
        #[repr(C)]
        #[derive(StableAbi, Clone, Copy)]
        pub struct $name {
            context: *const (),
            token: u64,
            complete: extern "C" fn(*const (), u64, $answer),
            abandon: extern "C" fn(*const (), u64, Status),
            cancelled: extern "C" fn(*const (), u64) -> bool,
        }

        // SAFETY: `new` demands that the functions may be called with this context from any thread.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}

        impl $name {
            /// # Safety
            /// The three functions must accept `context` from any thread for the life of the process, with any token.
            pub unsafe fn new(
                context: *const (),
                token: u64,
                complete: extern "C" fn(*const (), u64, $answer),
                abandon: extern "C" fn(*const (), u64, Status),
                cancelled: extern "C" fn(*const (), u64) -> bool,
            ) -> Self {
                $name { context, token, complete, abandon, cancelled }
            }

            /// Answers. Only the first answer counts.
            pub fn complete(&self, answer: $answer) {
                (self.complete)(self.context, self.token, answer)
            }

            /// Says that no answer will come, and why.
            pub fn abandon(&self, why: Status) {
                (self.abandon)(self.context, self.token, why)
            }

            /// Whether nobody waits any more.
            pub fn is_cancelled(&self) -> bool {
                (self.cancelled)(self.context, self.token)
            }
        }
    )*};
}

completers! {
    /// Answers `authenticate`, `exchange` and `refresh`.
    OutcomeCompleter(OutcomeRecord);
    /// Answers `authorize_slow`.
    VerdictCompleter(VerdictRecord);
    /// Answers a request to the host.
    ServiceCompleter(ReplyRecord);
}
