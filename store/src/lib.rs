//! What must outlive the process: sessions with their queues, retained messages, denials, what plugins keep.
//!
//! A [`Store`] takes batches of operations and answers each once, when it is on stable storage; it gives queues back a page
//! at a time, and everything else in one scan when a node starts. [`Embedded`] keeps it in a directory, [`Memory`] in
//! memory; both run the same code over another place.
//!
//! | module | what it says |
//! |---|---|
//! | `store` | the trait, and what it answers |
//! | `op` | what can be changed, and what comes of it |
//! | `types` | what is kept: messages, sessions, retained messages, denials, and their bytes |
//! | `error` | refusals, and damage with its file |
//! | `engine` | what an operation means, over any ordered map |
//! | `memory`, `embedded` | where it is kept |
//! | `report` | what `gatemq store check` and `stats` print |
//!
//! The store knows no tokio and no time of day: answers are callbacks, and moments are whatever the caller says they are.

mod embedded;
mod engine;
mod error;
mod memory;
mod op;
mod report;
mod store;
mod types;

pub use embedded::{Embedded, Options, SyncMode};
pub use error::{Damage, OpenError, StoreError};
pub use memory::Memory;
pub use op::{Append, Batch, Epoch, Limit, Op, OpResult, Outcome, Seq, SessionId};
pub use report::{Checked, CheckedFile, Stats, check};
pub use store::{Answer, Capabilities, Content, Entry, Health, Page, PageLimit, Recovery, Store, wait};
pub use types::{
    Delivery, DenialBytes, KeptValue, Message, Owner, Record, Retained, StoredSession, Subscription, Will,
};
