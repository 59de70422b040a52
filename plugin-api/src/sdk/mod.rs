//! What authors use: traits, the host's services, views of sessions and events.

mod completion;
pub(crate) mod config;
mod contain;
mod event;
mod export;
mod host;
mod log;
mod running;
mod runtime;
pub(crate) mod schema;
mod session;
mod traits;

pub use event::{Event, Fields, Value};
pub use host::Host;
pub use session::{Action, AuthExchange, Session};
pub use traits::{AuthProvider, EventCollector, Health, Interest, Plugin, ReconfigureError, StartError};

pub(crate) use contain::contained;
pub(crate) use running::Running;
pub(crate) use session::OwnedAction;
