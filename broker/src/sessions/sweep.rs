//! What time brings.

use std::sync::Arc;

use super::Sessions;
use crate::session::{Home, Spare};
use crate::will::LeftWill;
use crate::{Session, router};

/// What was due.
#[derive(Debug, Default)]
pub struct Swept {
    /// Sessions that expired; they are closed.
    pub expired: Vec<Arc<Session>>,
    /// Wills that are to be published now.
    pub wills: Vec<LeftWill>,
    /// There is more to do: call again, after others had their turn.
    pub more: bool,
    /// Connections that have something to write now, because messages of shared subscriptions went on to them: to be woken
    /// like [`Out::armed`](crate::Out::armed).
    pub armed: Vec<Home>,
}

impl Sessions {
    /// Ends what has expired and hands out wills that are due, at most `count_max` sessions and as many wills with a delay;
    /// it ends early when the sessions had many subscriptions (each counts as one).
    #[must_use]
    pub fn sweep(&self, now_ms: u64, count_max: usize, spare: &mut Spare) -> Swept {
        let mut swept = Swept::default();
        let mut work = 0;
        while work < count_max {
            let session = {
                let mut guard = self.inner.lock();
                let inner = &mut *guard;
                let due = |at: &(u64, u64)| at.0 != u64::MAX && at.0 <= now_ms;
                let Some(session) = inner.expiring.first_key_value().filter(|(at, _)| due(at)).map(|(_, s)| s.clone())
                else {
                    break;
                };
                inner.remove(self.hash(session.key()), &session);
                swept.wills.extend(session.take_will().map(|will| LeftWill { will, session: session.clone() }));
                session
            };
            work += 1 + session.subscriptions();
            router::close(&session, now_ms, &mut swept.armed, spare);
            swept.expired.push(session);
        }
        swept.more = work >= count_max;
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        for _ in 0..count_max {
            let Some(first) = inner.wills.first_entry().filter(|first| first.key().0 <= now_ms) else { return swept };
            let session = first.remove();
            if let Some(entry) =
                inner.table.find_mut(self.hash(session.key()), |known| Arc::ptr_eq(&known.session, &session))
                && let Some(away) = &mut entry.away
            {
                away.will_due = None;
            }
            if let Some(will) = session.take_will() {
                // It goes to the store with what the will is published to.
                spare.changes.note_some(|| session.record());
                swept.wills.push(LeftWill { will, session });
            }
        }
        swept.more = true;
        swept
    }
}
