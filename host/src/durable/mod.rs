//! What survives a restart: the node's store, what is put into it, and what a start gets back.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@open`] | opens the store that the configuration names |
//! | [`translate`] | changes of the broker become operations of the store |
//! | [`mod@recover`] | sessions, their queues and retained messages come back |
//!
//! A worker submits what changed in a turn as one batch (`worker/commits.rs`); the store's committer puts together what comes
//! from all workers meanwhile, and each worker is woken once.

mod open;
mod recover;
mod translate;

pub(crate) use open::{advice, directory, open};
pub(crate) use recover::{recover, restored_session};
pub(crate) use translate::{EPOCH, batch, comes, queue_record, restored_retained, retained, with_past};
