//! Messages that a session does not get, counted until somebody tells of them.

use super::{Attached, Output, SessionLimits};

/// What a session did not get since it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// As many waited as may: [`SessionLimits`].
    pub overflowed: u32,
    /// Its client may not have them any more.
    pub denied: u32,
    /// They were larger than it takes, they expired, or its tenant has as much waiting as it may.
    pub other: u32,
}

impl Output {
    pub(super) fn count_overflowed(&mut self, messages: usize) {
        self.dropped += messages as u64;
        self.untold.overflowed = self.untold.overflowed.saturating_add(messages as u32);
    }

    pub(super) fn count_denied(&mut self, messages: usize) {
        self.dropped += messages as u64;
        self.untold.denied = self.untold.denied.saturating_add(messages as u32);
    }

    pub(super) fn count_dropped(&mut self) {
        self.dropped += 1;
        self.untold.other = self.untold.other.saturating_add(1);
    }
}

impl Attached {
    /// What it did not get since this was last asked, and what may wait; `None`: nothing, or another connection has it.
    pub fn take_dropped(&self) -> Option<(Dropped, SessionLimits)> {
        let mut output = self.own()?;
        let dropped = std::mem::take(&mut output.untold);
        (dropped != Dropped::default()).then_some((dropped, output.limits))
    }
}
