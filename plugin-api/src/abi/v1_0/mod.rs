//! Interface 1.0, frozen from the first released package on.
//!
//! Inputs are host-owned records passed by reference; answers are owned and freed by whoever made them (abi_stable's
//! vectors and strings carry their allocator). Codes are open numbers, never Rust enums. A record that travels in a
//! slice carries `attributes`, its only way to grow.

mod auth;
mod call;
mod client;
mod event;
mod root;
mod service;

pub use auth::{GrantRecord, IdentityRecord, LimitRecord, OutcomeCode, OutcomeRecord, VerdictCode, VerdictRecord};
pub use call::{OutcomeCompleter, ServiceCompleter, Status, StatusCode, VerdictCompleter};
pub use client::{
    ActionView, AddressRecord, AnchorRecord, Attribute, ConnectRecord, Pair, SessionRecord, TlsRecord, WillRecord,
};
pub use event::{EventView, FieldTag, FieldView, InterestRecord};
pub use root::{AuthTable, CollectorTable, HostTable, HostTable_Ref, Instance, PluginInfo, PluginRoot, PluginRoot_Ref};
pub use service::{ReplyRecord, RequestRecord, SelectorRecord, SubjectRecord};

/// Version of this interface.
pub const VERSION: &str = "1.0.0";
