//! What is kept, as plain data, and the bytes that it has on disk.
//!
//! | module | what it says |
//! |---|---|
//! | `message` | a message, and how one receiver gets it |
//! | `session` | a session's record and subscriptions |
//! | `retained` | a retained message |
//! | `denial` | who is kept out |
//! | `value` | what plugins keep |
//! | `bytes` | writing and reading values |

pub(crate) mod bytes;
pub(crate) mod denial;
mod message;
mod retained;
mod session;
mod value;

pub use denial::DenialBytes;
pub use message::{Delivery, Message};
pub use retained::Retained;
pub use session::{Owner, Record, StoredSession, Subscription, Will};
pub use value::KeptValue;

#[cfg(test)]
mod tests;
