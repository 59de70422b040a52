//! Loads GateMQ plugins and calls them under deadlines.
//!
//! [`Library::open`] understands a file before any of its code runs, maps a private copy of it and checks the layout of
//! its interface. [`Instance::start`] starts a plugin; its other methods call it. Whatever goes wrong on the other side of
//! the border comes back as a [`CallFailure`], which grants nothing: a panic, silence, an unknown code, a call too many.
//!
//! [`Plugin`] is what a host keeps of one that it serves with: whichever generation is in force, with the bounds that hold
//! for all of them. It is replaced while it is called.
//!
//! Deadlines run on the caller's tokio runtime. The author's code runs on the plugin's own runtime, on its call thread
//! (`call_thread`), or on the thread that calls [`Instance::collect`]: never on the caller's.
//!
//! Libraries are never unmapped: thread-local destructors of an unmapped library are a crash.

#![allow(unsafe_code)]

mod breaker;
mod call_thread;
mod counters;
mod durations;
mod failure;
mod file;
mod gate;
mod host_table;
mod instance;
mod library;
mod platform;
mod plugin;
mod precheck;
mod refusal;
mod slots;
mod views;

pub use breaker::{BreakerChange, BreakerOptions, BreakerState, Network};
pub use counters::Counts;
pub use durations::{Counted, DURATION_BUCKETS, Durations};
pub use failure::CallFailure;
pub use file::{LibraryFile, LibraryHash, Wanted};
pub use gatemq_plugin_api::abi::v1_0::VERSION as INTERFACE_VERSION;
pub use host_table::{Answer, Level, Services};
pub use instance::{Entered, Health, Instance, Interest, Options, Session};
pub use library::{Info, Library};
pub use plugin::{Generation, Lane, Pinned, Plugin, PluginStatus, Policy, Retired};
pub use refusal::{Reason, Refusal};
