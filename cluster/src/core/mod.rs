//! The pure part of the cluster: messages and time in, actions out. No IO, no clock, no runtime.

mod action;
pub mod admission;
mod clock;
mod control;
mod input;
mod member;
mod members;
pub mod name;
pub mod quota;
mod settings;
pub mod share;
mod words;

pub use action::{Action, Event, NotAccepted, NotReady, Previous};
pub use admission::{Admitted, Hello, Refusal};
pub use clock::{AHEAD_MS_MAX, Epoch, HybridTime, Stamp};
pub use control::{Control, ControlError};
pub use input::{ForwardWanted, Input, Lost};
pub use member::{Boot, Member};
pub use name::{Name, NodeName, SpiffeId};
pub use settings::{PART_BYTES, Settings};
pub use words::{
    ClaimRefusal, Entry, FilterKey, Forward, Interest, InterestChange, Mark, Owned, SessionKey, Set, Will, WillKept,
};

use members::Members;
use quota::Quotas;

/// The core of one node: one process of it, from its start to its end.
pub struct Core {
    members: Members,
    quotas: Quotas,
}

impl Core {
    /// A node that knows nobody yet.
    pub fn new(settings: Settings, boot: Boot) -> Self {
        Core { members: Members::new(settings, boot), quotas: Quotas::default() }
    }

    /// Takes in what happened and says what is to be done. `now_ms` is the time of day in milliseconds since 1970; one that goes
    /// back is taken to stand still.
    pub fn handle(&mut self, now_ms: u64, input: Input, out: &mut Vec<Action>) {
        self.members.now_ms = self.members.now_ms.max(now_ms);
        match input {
            Input::Sessions(counts) => self.quotas.count(counts),
            Input::Received { from, control: Control::Sessions { all, counts }, .. } => {
                self.quotas.received(&from, all, counts);
            }
            _ => {}
        }
        self.quotas.tick(&self.members, out);
    }

    /// When [`Input::Tick`] is due at the latest, in milliseconds since 1970; `u64::MAX`: not before something else happens.
    pub fn due_ms(&self) -> u64 {
        self.quotas.due_ms(&self.members)
    }
}
