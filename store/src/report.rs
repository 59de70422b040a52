//! What `gatemq store check` and `gatemq store stats` print.

use std::path::{Path, PathBuf};

use crate::embedded;
use crate::engine::Totals;
use crate::{Embedded, OpenError, Options, Store};

/// Counts of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Number of the last commit.
    pub commit: u64,
    /// Sessions.
    pub sessions: u64,
    /// Entries of all queues.
    pub messages: u64,
    /// Bytes of their topics, properties and payloads; of a message that several share, for each.
    pub bytes: u64,
    /// Messages that several entries share.
    pub shared_messages: u64,
    /// Sessions that ended and are being taken away.
    pub ending_sessions: u64,
    /// Bytes of journals on disk, those that are set aside in advance included.
    pub journal_bytes: u64,
    /// Bytes of tables on disk.
    pub table_bytes: u64,
    /// Tables.
    pub tables: u64,
}

impl Stats {
    pub(crate) fn of(totals: Totals) -> Self {
        let Totals { sessions, messages, bytes, shared, ended } = totals;
        Stats { sessions, messages, bytes, shared_messages: shared, ending_sessions: ended, ..Stats::default() }
    }
}

/// A file that a check looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedFile {
    /// Which.
    pub path: PathBuf,
    /// Bytes that hold something.
    pub bytes: u64,
}

/// What a check found. Nothing was damaged: that is an error.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Counts.
    pub stats: Stats,
    /// Retained messages.
    pub retained: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Denials.
    pub denials: u64,
    /// The commit that must be there.
    pub commit_high: u64,
    /// Bytes of a commit that had not been finished and was acknowledged to nobody.
    pub torn_bytes: u64,
    /// The files.
    pub files: Vec<CheckedFile>,
}

/// Looks at everything in a store that no process has open: every file, every value. `None`: there is no store.
///
/// # Errors
/// It is in use, or damaged: the error names the file.
pub fn check(directory: &Path) -> Result<Option<Checked>, OpenError> {
    let Some(found) = embedded::inspect(directory)? else { return Ok(None) };
    let mut checked = Checked { commit_high: found.high, torn_bytes: found.torn_bytes(), ..Checked::default() };
    checked.files = found.files.into_iter().map(|(path, bytes)| CheckedFile { path, bytes }).collect();
    let store = Embedded::open(&Options { check_tables: false, ..Options::new(directory) })?;
    let scanned = store.scan_sessions(&mut |session| {
        checked.subscriptions += session.subscriptions.len() as u64;
        true
    });
    let scanned = scanned.and_then(|()| {
        store.scan_retained(&mut |_, _| {
            checked.retained += 1;
            true
        })
    });
    let scanned = scanned.and_then(|()| {
        store.scan_denials(&mut |_| {
            checked.denials += 1;
            true
        })
    });
    checked.stats = store.stats();
    let closed = scanned.and_then(|()| store.close());
    closed.map_err(|error| match error {
        crate::StoreError::Corrupt(damage) => OpenError::Damaged(damage),
        other => OpenError::Io { file: directory.to_owned(), error: std::io::Error::other(other.to_string()) },
    })?;
    Ok(Some(checked))
}
