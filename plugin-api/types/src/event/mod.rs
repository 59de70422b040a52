//! Events: declared once, in one table, and everything else derives from there.
//!
//! An [`Event`] is a [`Fact`] (what happened, typed), with who it was about ([`Peer`]) and when. Its ABI form, its log
//! line, its counter and its JSON come from [`Fact::fields`].

mod declare;
mod envelope;
mod table;
mod value;

pub use envelope::{Class, Event, Peer, Ring};
pub use table::{EventKind, Fact};
pub use value::{FieldValue, Filling, Value};
