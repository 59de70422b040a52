//! MQTT 3.1, 3.1.1 and 5.0: bytes in, checked views out; values in, bytes out. No IO, no clock, no sessions.
//!
//! Reading borrows: a decoded packet is a view of the caller's buffer and costs no allocation (only CONNECT, which is
//! rare, is owned). What is read was checked against every rule that a single packet can break; each broken rule is a
//! [`Breach`] that knows its clause and its reason code. Writing appends to a caller's `Vec<u8>`.
//!
//! | module | what it says |
//! |---|---|
//! | [`connection`] | which packets are legal in which state of a connection |
//! | [`packet`] | one file a packet |
//! | [`codec`] | framing, fields, properties, writing |
//! | [`topic`] | names, filters, shared subscriptions, matching |
//! | [`breach`] | what a peer may do wrong |
//! | [`limits`] | what is allowed on top of the standard |
//! | [`keepalive`] | how long silence is borne |

pub mod breach;
pub mod codec;
pub mod connection;
pub mod keepalive;
pub mod kind;
pub mod limits;
pub mod packet;
pub mod topic;

pub use breach::Breach;
pub use codec::properties::Properties;
pub use codec::write;
pub use limits::PacketLimits;
pub use packet::publish::Publish;
