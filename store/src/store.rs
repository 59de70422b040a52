//! The trait, and what it answers.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use gatemq_types::Denial;

use crate::{
    Batch, Delivery, KeptValue, Message, OpResult, Retained, Seq, SessionId, Stats, StoreError, StoredSession,
};

/// Called once with what became of a request, on a thread of the store: it must not wait. All answers of one group commit
/// are called one after the other, so that whoever is woken by the first finds the others.
pub type Answer<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// What outlives a process.
///
/// Whoever submits operations keeps the order: batches are stored in the order of their [`Self::commit`] calls. No call
/// waits for the disk except the scans and [`Self::close`], which belong to start and stop.
pub trait Store: Send + Sync {
    /// What it promises.
    fn capabilities(&self) -> Capabilities;

    /// What was found when it was opened.
    fn recovery(&self) -> Recovery;

    /// Stores a batch, together with what others submit meanwhile. The answer has one result an operation, in order, once
    /// everything that was not refused is on stable storage (see [`Capabilities::synced`]).
    ///
    /// Answers [`StoreError::Unavailable`] when it takes nothing more, or too much waits already: a worker that has at most
    /// a few batches under way never sees the latter. Answers [`StoreError::UnknownOutcome`] when the disk failed under it.
    fn commit(&self, batch: Batch, answer: Answer<Vec<OpResult>>);

    /// Entries of a queue in order, from `from` or the acknowledged position on, whichever is later.
    fn page(&self, session: SessionId, from: Seq, limit: PageLimit, answer: Answer<Page>);

    /// One session, without its queue.
    fn session(&self, session: SessionId, answer: Answer<Option<StoredSession>>);

    /// Every session, without its queue, by number. On the caller's thread; for the start. `each` returns whether it wants
    /// more.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan_sessions(&self, each: &mut dyn FnMut(StoredSession) -> bool) -> Result<(), StoreError>;

    /// Every retained message with its tenant. Otherwise like [`Self::scan_sessions`].
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan_retained(&self, each: &mut dyn FnMut(&str, Retained) -> bool) -> Result<(), StoreError>;

    /// Every denial. Otherwise like [`Self::scan_sessions`].
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan_denials(&self, each: &mut dyn FnMut(Denial) -> bool) -> Result<(), StoreError>;

    /// Every value of every plugin: owner, key, value. Otherwise like [`Self::scan_sessions`].
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan_values(&self, each: &mut dyn FnMut(&str, &str, KeptValue) -> bool) -> Result<(), StoreError>;

    /// Whether it still takes operations.
    fn health(&self) -> Health;

    /// Counts.
    fn stats(&self) -> Stats;

    /// Stores and answers what was submitted, syncs, and takes nothing more.
    ///
    /// # Errors
    /// Something could not be synced.
    fn close(&self) -> Result<(), StoreError>;
}

/// What a store promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// What was answered survives the end of the process.
    pub durable: bool,
    /// What was answered survives a power cut.
    pub synced: bool,
    /// What was answered survives the loss of a disk.
    pub replicated: bool,
    /// Operations that are stored in one go, if more than one batch brings them.
    pub ops_max: usize,
    /// Bytes that are stored in one go, if more than one batch brings them.
    pub bytes_max: usize,
}

/// What was found when a store was opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// It is new.
    pub created: bool,
    /// Number of the last commit.
    pub commit: u64,
    /// The next session gets this number, or a higher one.
    pub next_session: u64,
    /// Sessions.
    pub sessions: u64,
    /// Entries of all queues.
    pub messages: u64,
    /// Bytes of their topics, properties and payloads.
    pub bytes: u64,
    /// Bytes of a commit that had not been finished, and was acknowledged to nobody; they were cut off, and are kept in
    /// `tail.cut` beside the store.
    pub cut_bytes: u64,
}

/// Bounds of a page. One entry is always given, whatever its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of topics, properties and payloads.
    pub bytes_max: u64,
}

/// Part of a queue.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In order. A message that several of them share is shared here too.
    pub entries: Vec<Entry>,
    /// There is more behind them.
    pub more: bool,
}

/// An entry of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// What it holds.
    pub content: Content,
}

/// What an entry of a queue holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A message, and how this receiver gets it.
    Message(Delivery, Arc<Message>),
    /// The receiver has it ([`Op::Release`](crate::Op::Release)): what has a lower number here was released earlier.
    Released(u64),
}

/// Whether a store takes operations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// It does.
    Good,
    /// It was closed.
    Closed,
    /// It failed, and acknowledges nothing any more: the process should say so and end.
    Poisoned(StoreError),
}

/// Asks and waits for the answer; for start, stop and tests.
///
/// # Errors
/// What was answered.
pub fn wait<T: Send + 'static>(ask: impl FnOnce(Answer<T>)) -> Result<T, StoreError> {
    let (sender, receiver) = sync_channel(1);
    ask(Box::new(move |answer| {
        // Nobody waits any more only if this function has panicked.
        let _ = sender.send(answer);
    }));
    receiver.recv().unwrap_or_else(|_| Err(StoreError::Unavailable("it did not answer".into())))
}
