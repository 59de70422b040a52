//! The guide for authors: threads, deadlines, panics, versions.
//!
//! # A plugin in five minutes
//!
//! ```toml
//! [package]
//! name = "my-gate"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! gatemq-plugin-api = "0.1"
//! ```
//!
//! The example on the [first page](crate) is a whole plugin. `cargo build --release`, copy `target/release/libmy_gate.so`
//! into the broker's plugin directory, and name it in the configuration:
//!
//! ```toml
//! [plugins.gate]
//! library = "/usr/lib/gatemq/plugins/libmy_gate.so"
//! [plugins.gate.config]      # becomes your type `Config`; an unknown key stops the start
//! ```
//!
//! For a configuration of your own derive it with the re-exported serde:
//!
//! ```
//! use gatemq_plugin_api::prelude::*;
//! #[derive(Deserialize)]
//! #[serde(crate = "gatemq_plugin_api::serde")]
//! struct Config {
//!     tenant: String,
//! }
//! ```
//!
//! # Who calls what, and for how long
//!
//! | method | thread | when it takes longer than the plugin's `timeout_ms` |
//! |---|---|---|
//! | `authenticate`, `exchange`, `refresh`, `authorize_slow` | the plugin's own runtime (two threads) | the client is refused, the future dropped at its next `await` |
//! | `start`, `reconfigure`, `health`, `stop`, `interest`, `authorize` | a call thread of this plugin | the caller is refused, the thread abandoned and replaced |
//! | `collect` | the collector's own thread | its rings fill, the oldest events are lost and told by `EventsLost` |
//!
//! With four call threads away the plugin's synchronous calls are refused until one comes back; the fourth runtime whose
//! threads are all held fences its futures until restart. So an
//! endless loop in a plugin costs clients of that plugin their admission, and nobody else anything but a core.
//!
//! In `async` methods wait with `.await`; blocking them for more than 400 ms costs a new runtime. Use
//! `tokio::task::spawn_blocking` for what blocks, and [`crate::Host::spawn`] for tasks that outlive a call: it contains
//! their panics, which a bare `tokio::spawn` does only as long as the panic's payload does not panic in its turn.
//!
//! # Panics
//!
//! A panic in any method, in a destructor, or of a panic's own payload ends in the library: the host is told, the client is
//! refused, an event is raised. Build with `panic = "unwind"` (the default): a library built with `panic = "abort"` is
//! refused. A mutex that was poisoned stays poisoned. What cannot be contained is a crash: a segmentation fault, an
//! `abort`, a stack overflow, or exhausted memory take the broker with them. A plugin is trusted code in the broker's
//! process.
//!
//! # What is refused
//!
//! Whatever is not an answer grants nothing: no answer in time, a panic, an unknown code, an identity with an empty tenant
//! or user, a grant whose filter is not a topic filter, a Deny or Ask whose `${…}` cannot be filled in.
//!
//! # Certificates
//!
//! [`crate::Tls::chain`] holds every certificate that the peer sent, leaf first, byte for byte, on full and on resumed
//! handshakes. Only what [`crate::Tls::path`] names was verified, and only if [`crate::Tls::verified`]. Names are unique
//! only below one trust anchor: map tenants from [`crate::Anchor::spki_sha256`], never from a name alone.
//!
//! # Versions
//!
//! The interface between broker and library is 1.0; the layout of every record is checked before any of the library's code
//! runs, so a library of another major version, or built from a changed interface, is refused with one line that says so.
