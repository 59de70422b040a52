//! Which packets are legal when: a state is a struct, and a step consumes it.
//!
//! [`ExpectConnect`] → [`ExpectDecision`] → [`Established`]. A packet that has no arm in a state is a breach. Bytes are cut
//! into packets by the state's own `frame`, which knows how large they may be.

mod established;
mod expect_connect;
mod expect_decision;
mod topic_aliases;

pub use established::{Established, Packet};
pub use expect_connect::ExpectConnect;
pub use expect_decision::{Exchange, ExpectDecision};
pub use topic_aliases::{ResolvedTopic, TopicAliases};
