//! Who may say what to whom, and the bytes that follow from it. No IO, no clock, no runtime: time is an argument.
//!
//! The walk of a message: [`Identity::may_publish`] turns a topic into a [`PublishPermit`] (besides a provider's verdict
//! nothing else can), [`router::publish`] finds the targets (the worker's [`TopicCache`], the tenant's [`tree`]) and has
//! each receiver's [`Session`] turn the message into bytes. What comes back is which connections of which workers now
//! have something to write.
//!
//! | module | what it says |
//! |---|---|
//! | [`tenant`] | namespaces that never meet |
//! | [`grants`] | rule lists: compiled once, shared, walked |
//! | [`identity`] | who a client is here, and what it may do |
//! | [`permit`] | leave to act, which the router demands |
//! | [`verdicts`] | a connection's decisions, remembered |
//! | [`rate`] | what may be published per second, by a client or by all of a tenant |
//! | [`shared`] | shared subscriptions: which member gets a message |
//! | [`tree`], [`cache`] | from a topic to those who subscribed |
//! | `retained` | the last message of each topic, for those who subscribe later |
//! | [`session`], [`sessions`] | the one owner of what goes out to a client, who is there and who is expected back |
//! | [`heard`] | which publications of a cluster were routed by when |
//! | [`remote`] | other nodes of a cluster, as those who are sent messages |
//! | [`denials`] | who is kept out |
//! | [`will`] | what is published when a client goes without goodbye |
//! | [`router`] | publish, subscribe, unsubscribe, check what a session comes back with |

mod addressed;
pub mod cache;
pub mod changes;
pub mod denials;
pub mod grants;
pub mod heard;
pub mod identity;
pub mod permit;
pub mod rate;
pub mod remote;
mod retained;
pub mod router;
pub mod session;
pub mod sessions;
pub mod shared;
mod slab;
pub mod tenant;
pub mod tree;
pub mod verdicts;
pub mod will;

pub use cache::TopicCache;
pub use denials::Denials;
pub use grants::{GrantError, GrantTable, Grants, Values};
pub use heard::{Heard, Hearing, Past, Publication};
pub use identity::{Because, Explanation, Identity, IdentityError, Marks, SessionKey};
pub use permit::{
    Decision, PublishAction, PublishDecision, PublishPermit, Question, SubscribeAction, SubscribeDecision,
    SubscribePermit, UnsubscribeDecision, UnsubscribePermit, WillDecision,
};
pub use retained::{Publisher, Readmitted, RetainedLimits, Retention, RevokedRetained};
pub use router::Out;
pub use session::{Attached, Home, Session, SessionLimits};
pub use sessions::Sessions;
pub use tenant::{
    EPISODE_MS, Share, Tenant, TenantConnection, TenantError, TenantLimit, TenantLimits, TenantRates, TenantUsage,
    Tenants, Traffic,
};
pub use verdicts::Verdicts;
pub use will::{LeftWill, Will};

/// Seeded per process: topics are chosen by clients.
pub type Hasher = foldhash::fast::RandomState;

/// Most levels of a filter, in subscriptions and in grants; no walk goes deeper.
pub const TOPIC_LEVELS_MAX: usize = 128;
