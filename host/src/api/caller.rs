//! Who asks.

use std::fmt;
use std::sync::Arc;

/// Who is at the other end, as events name them.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A process at the other end of the admin socket.
    Process {
        /// User; `None` where the kernel does not say.
        uid: Option<u32>,
        /// Process.
        pid: Option<i32>,
    },
    /// Whoever has a token of the token file.
    Token(Arc<str>),
    /// Whoever has the key of a certificate: its subject.
    Certificate(Arc<str>),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Process { uid: Some(uid), pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Caller::Process { uid: Some(uid), pid: None } => write!(f, "uid {uid}"),
            Caller::Process { .. } => f.write_str("unknown"),
            Caller::Token(name) => write!(f, "token {name}"),
            Caller::Certificate(subject) => write!(f, "certificate {subject}"),
        }
    }
}
