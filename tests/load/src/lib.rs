//! Load generator (`gatemq-load`), relays without MQTT logic (`gatemq-relay`) and the side-by-side table of both
//! (`gatemq-bench`). Linux only: it reads `/proc` and uses all of 127.0.0.0/8.
//!
//! - [`scenario`]: what the generator does, a file per scenario; [`flow`] are its publishers and subscribers
//! - [`net`], [`wire`]: its connections and the few packets it needs, written by hand so that it costs little
//! - [`relay`]: the ceilings; [`mod@bench`]: peers in alternating rounds
//! - [`certs`]: certificates for all of them

pub mod bench;
pub mod certs;
pub mod cli;
pub mod flow;
pub mod net;
pub mod procfs;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod wire;
