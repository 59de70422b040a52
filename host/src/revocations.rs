//! Identities that were revoked a short time ago.
//!
//! Who revokes looks at all connections. One that has not begun then was perhaps admitted with what its provider had said before:
//! it looks here when it begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::service::Selector;
use parking_lot::Mutex;

/// How many are remembered. Whoever comes from before the oldest counts as named by one that is forgotten.
const REMEMBERED_MAX: usize = 256;
/// Who wanted one that is forgotten.
const FORGOTTEN: &str = "one of many";

/// Whose.
#[derive(Debug)]
pub(crate) enum Revoked {
    /// Those whom a selector names.
    Selected(Selector),
    /// Those whom a plugin admitted that is gone.
    AdmittedBy(String),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Revocations {
    count: AtomicU64,
    /// The last ones, in their order, with who wanted them.
    recent: Mutex<VecDeque<(Arc<str>, Revoked)>>,
}

impl Revocations {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// One more, before anybody is looked at.
    pub(crate) fn note(&self, by: Arc<str>, whose: Revoked) {
        let mut recent = self.recent.lock();
        if recent.len() == REMEMBERED_MAX {
            recent.pop_front();
        }
        recent.push_back((by, whose));
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Who wanted the last one after the first `before` that names somebody, as `is_named` says.
    pub(crate) fn find(&self, before: u64, is_named: impl Fn(&Revoked) -> bool) -> Option<Arc<str>> {
        if self.count() == before {
            return None;
        }
        let recent = self.recent.lock();
        let since = usize::try_from(self.count() - before).unwrap_or(usize::MAX);
        let found = recent.iter().rev().take(since).find(|(_, whose)| is_named(whose));
        match found {
            Some((by, _)) => Some(by.clone()),
            None => (since > recent.len()).then(|| FORGOTTEN.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Revoked {
        Revoked::AdmittedBy(name.into())
    }

    /// Guards that no revocation is missed by a connection that begins while it happens, and that one from before does not count.
    #[test]
    fn those_since_count() {
        let all = Revocations::default();
        let names = |before, name: &str| {
            all.find(before, |whose| matches!(whose, Revoked::AdmittedBy(by) if by == name)).is_some()
        };
        assert!(!names(0, "a"));
        all.note("plugin p".into(), user("a"));
        all.note("plugin p".into(), user("b"));
        assert!(names(0, "a") && names(0, "b") && names(1, "b"));
        assert!(!names(1, "a") && !names(2, "b") && !names(0, "c"));
        for _ in 0..REMEMBERED_MAX {
            all.note("plugin p".into(), user("d"));
        }
        assert!(names(1, "c"), "what is forgotten may have named it");
        assert!(!names(2, "c"));
    }
}
