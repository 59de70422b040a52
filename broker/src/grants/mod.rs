//! Grants: rule lists, compiled once for all identities that have the same, walked in order; the first match decides.
//!
//! | module | what it says |
//! |---|---|
//! | [`compile`] | from a provider's grants to rules |
//! | `template` | `${…}` in a level |
//! | `values` | what an identity puts in its place |
//! | `decide`, `index` | which rule matches a message |
//! | `subscribe` | which rule covers or overlaps a filter |
//! | `table` | equal lists are one |

pub mod compile;
mod decide;
mod index;
mod subscribe;
mod table;
mod template;
mod values;

use gatemq_types::Grant;

pub use compile::{GrantError, GrantProblem};
pub(crate) use decide::{Matched, Message};
use index::Index;
pub use table::GrantTable;
pub(crate) use template::Resolved;
pub use template::Variable;
pub use values::Values;
pub(crate) use values::{Names, Unusable};

/// A compiled list. It belongs to nobody: each identity brings its own values.
pub struct Grants {
    source: Box<[Grant]>,
    rules: Box<[compile::Rule]>,
    variables: Box<[Variable]>,
    index: Index,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.source.iter()).finish()
    }
}

impl Grants {
    /// The list as the provider wrote it.
    pub fn source(&self) -> &[Grant] {
        &self.source
    }
}
