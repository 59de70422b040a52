//! The guide for authors: a first plugin, grants, collectors, trying and testing, threads and deadlines, panics, versions, and what
//! may change.
//!
//! `plugin-api/README.md` is the short way to a first plugin: ten minutes, with a template. This is the whole of it.
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
//! (With a checkout of the broker instead of a registry: `gatemq-plugin-api = { path = "…/plugin-api" }`.)
//!
//! The example on the [first page](crate) is a whole plugin. `cargo build --release`, copy `target/release/libmy_gate.so`
//! into the broker's plugin directory (`/usr/lib/gatemq/plugins` unless `plugin_host.drop_in_dir` says otherwise), and start
//! the broker: it loads every library there, this one as `my-gate`. Its configuration goes under that name:
//!
//! ```toml
//! [plugins.my-gate.config]   # becomes your type `Config`; an unknown key stops the start
//! tenant = "home"
//! ```
//!
//! A library that is elsewhere is named: `[plugins.my-gate]` with `library = "/path/to/libmy_gate.so"`. `required = false`
//! lets the broker start without the plugin, `timeout_ms` is the deadline of its calls, `calls_max` how many may be under way.
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
//! In `start` the `?` takes any error that can be displayed. Relative paths in your configuration count from the broker's
//! working directory: ask for absolute ones. The broker shows what your `start` says, and serde shows the value of a key whose
//! type is wrong: read a password from a file that a key names.
//!
//! # Log, counters, and other services
//!
//! Log with `tracing`, which comes with this crate; it goes to the broker's log with your plugin's name, at most 1,000 lines a
//! second. What a client said is escaped there.
//!
//! ```
//! use gatemq_plugin_api::tracing;
//! tracing::info!(user = "u", "admitted");
//! ```
//!
//! [`crate::Host`], which `start` is given, counts, tells the time and spawns. The methods of it that ask the broker for
//! something (`deny`, `disconnect`, `revoke`, `publish`, `sessions`, `put`, …) are answered later, by the broker; what it does
//! not offer is `NotSupported`, and whoever has 256 requests under way is told `Busy`.
//!
//! # Who is kept out
//!
//! [`crate::Host::deny`] keeps somebody out of this broker, and kicks who is there. Events, by which a plugin judges, are caused by
//! strangers too, so the broker carries out only what cannot hit somebody else:
//!
//! | subject | when | otherwise |
//! |---|---|---|
//! | `Certificate`, `Key` | its key was proven here, now or in the last hour | `NotFound` |
//! | `User`, `Client` | it has a session here, or left one in the last hour | `NotFound` |
//! | `Address` /32, /64 | somebody there failed in the last hour before authenticating | `NotFound` |
//! | `Address` of a trusted proxy, or another prefix; `Issuer` | never | `NotAllowed` |
//!
//! What a plugin has denied it may deny again, for longer. An address' connections that are there stay, and where three clients or
//! more are connected from it, it is let in once a second instead of not at all: the row of the reply says
//! `"action": "slow"`. A plugin lifts what it raised itself; operators lift everything.
//!
//! # Who is admitted
//!
//! The providers are asked in the order of `auth.chain`. [`crate::AuthOutcome::Next`] ("not my kind of client") passes the client
//! on to the next; every other answer is final. Answer `Next` only where you have not been shown what you decide about: a wrong
//! password is a rejection. If everybody answers `Next`, the client is refused. The provider that accepted a client is the one
//! whose `authorize` is asked later.
//!
//! An [`crate::Identity`] names tenant and user and carries the grants. Grants are walked in order, the first that matches
//! decides, and what none matches is denied (unless `no_match` says Ask). The broker evaluates them by itself for every message;
//! `authorize` is called only where a grant says Ask, and its answer is kept for the `ttl` that it carries, for a message with
//! the same topic, QoS and retain flag. So prefer grants, then Ask with a `ttl`, and answer with a `ttl` of zero only where the
//! answer may be another one for the next message.
//!
//! ```
//! use gatemq_plugin_api::prelude::*;
//! let grants = [
//!     Grant::deny(Actions::PUBLISH, "devices/${client_id}/firmware/#"),
//!     Grant::allow(Actions::ALL, "devices/${client_id}/#"),
//!     Grant::ask(Actions::SUBSCRIBE, "shared/#"),
//! ];
//! # let _ = grants;
//! ```
//!
//! [`crate::config::GrantConfig`] reads grants from your configuration.
//!
//! [`crate::AuthOutcome::Reject`] carries two texts: `reason` is for the log and the event, `reason_string` is what an MQTT 5
//! client is told. [`crate::AuthOutcome::Redirect`] sends the client to another server.
//!
//! # Enhanced authentication
//!
//! A client of MQTT 5 may name an Authentication Method in its CONNECT and then exchange data with you, round by round, before
//! it is admitted: SCRAM, a challenge for a key, a second factor. Say in [`crate::AuthProvider::offers_method`] which methods
//! you offer. A CONNECT with one of them comes to `authenticate` with [`crate::Connect::auth_method`] and
//! [`crate::Connect::auth_data`]; one with another method passes you by, and when no provider offers it the client is refused
//! with 0x8C. Answer [`crate::AuthOutcome::Continue`], and the client's next data comes to
//! [`crate::AuthProvider::exchange`] of the same plugin.
//!
//! ```
//! use gatemq_plugin_api::prelude::*;
//!
//! /// Asks for the second half of what the first half begins.
//! struct Halves {
//!     secrets: Vec<(String, String)>,
//! }
//!
//! impl Halves {
//!     /// Whom the first half belongs to.
//!     fn index_of(&self, first: &[u8]) -> Option<usize> {
//!         self.secrets.iter().position(|(half, _)| half.as_bytes() == first)
//!     }
//! }
//!
//! impl Plugin for Halves {
//!     type Config = NoConfig;
//!     fn start(_: NoConfig, _: Host) -> Result<Self, StartError> {
//!         Ok(Halves { secrets: vec![("knock".into(), "knock".into())] })
//!     }
//! }
//!
//! impl AuthProvider for Halves {
//!     fn offers_method(&self, method: &str) -> bool {
//!         method == "X-HALVES"
//!     }
//!
//!     async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
//!         let Some(first) = &connect.auth_data else {
//!             return AuthOutcome::Next; // no method: not our kind of client
//!         };
//!         match self.index_of(first.as_bytes()) {
//!             // From 1 on: 0 is the beginning of a re-authentication.
//!             Some(index) => AuthOutcome::Continue { data: b"who's there?".to_vec(), state: index as u64 + 1 },
//!             None => AuthOutcome::reject("nobody knocks like that"),
//!         }
//!     }
//!
//!     async fn exchange(&self, step: &AuthExchange) -> AuthOutcome {
//!         if step.state == 0 {
//!             // An admitted client begins again: its data is what its CONNECT had.
//!             let index = self.index_of(step.data.as_bytes());
//!             return match index {
//!                 Some(index) => AuthOutcome::Continue { data: b"again?".to_vec(), state: index as u64 + 1 },
//!                 None => AuthOutcome::reject("nobody knocks like that"),
//!             };
//!         }
//!         match self.secrets.get(step.state as usize - 1) {
//!             Some((_, second)) if second.as_bytes() == step.data.as_bytes() => {
//!                 let mut identity = Identity::new("home", format!("user-{}", step.state));
//!                 identity.auth_data = b"come in".to_vec(); // goes with the CONNACK
//!                 identity.grants = vec![Grant::allow(Actions::ALL, "home/#")];
//!                 AuthOutcome::accept(identity)
//!             }
//!             _ => AuthOutcome::reject("the second half is wrong"),
//!         }
//!     }
//! }
//!
//! export_plugin!(Halves: auth);
//! # fn main() {}
//! ```
//!
//! What you need between the rounds goes into `state`, or stands in the plugin under the number that you put there
//! ([`crate::Connect::connection`] is unique as well); forget it after a while, since a client may go in the middle without a
//! word. The broker bounds the whole: `limits.auth_rounds_max` rounds, the listener's `connect_ms_max` for all of them, your
//! `timeout_ms` for each. In the middle `Next` is a refusal. Password and Authentication Data of the CONNECT are shown to
//! `authenticate` only.
//!
//! An admitted client may authenticate again at any time ([`crate::AuthExchange::reauthentication`]), while its messages go on.
//! It may only be who it was: [`crate::AuthOutcome::Accept`] with the same tenant, user and client identifier replaces its
//! grants, its `valid_until_ms` and its limits, except for those that its CONNACK has announced and that it goes by: receive
//! maximum, packet size, keep alive. (What it may do less of, QoS or retain, is denied from then on.) Its subscriptions and
//! its will are checked with the new grants. Anything else disconnects it.
//!
//! # One connection at a time
//!
//! An identity with an [`crate::Identity::exclusive`] other than `No` is of one connection: of its tenant and user, or of its tenant and
//! client certificate. The newest one stays, since what is older may be what is left of it; the older one is closed like a client
//! whose session is taken over (0x8E), its will is published, its session stays. The event IdentityTakenOver says which connection
//! came instead: where two take turns, somebody has a copy of a key or password. In a cluster this holds for all nodes together; two may
//! be live for as long as the nodes take to hear of it, and while they do not hear each other.
//!
//! # Asked again
//!
//! [`crate::Host::revoke`] has [`crate::AuthProvider::refresh`] of each client's provider asked what the client may do now,
//! without its password, and so does the end of an identity's time whose `on_expiry` is [`crate::Expiry::Refresh`], up to ten
//! seconds before. The same tenant, user and client identifier, accepted, replace grants, time and limits as above, at once also
//! for subscriptions and for what waits for them. Anything else, no answer within `timeout_ms` too, disconnects the client with
//! 0x87; its will is not published. Until the answer the grants of before hold: `disconnect` whom you cannot wait for. Only who
//! says `Refresh`, or has rules that ask, is kept with all that `refresh` is shown; others are disconnected when they are revoked,
//! and come back through `authenticate`. What they have had retained stays, or is withheld from new subscribers until they are
//! admitted again, or is removed: [`crate::service::RevokeRetained`].
//!
//! # A collector
//!
//! ```
//! use gatemq_plugin_api::prelude::*;
//! use gatemq_plugin_api::tracing;
//!
//! struct Watch;
//!
//! impl Plugin for Watch {
//!     type Config = NoConfig;
//!     fn start(_: NoConfig, _: Host) -> Result<Self, StartError> {
//!         Ok(Watch)
//!     }
//! }
//!
//! impl EventCollector for Watch {
//!     fn interest(&self) -> Interest {
//!         Interest::none().kind(EventKind::ClientRefused).kind(EventKind::PluginPanicked)
//!     }
//!     fn collect(&self, batch: &[Event<'_>]) {
//!         for event in batch {
//!             if let Some(Value::Text(reason)) = event.field("reason") {
//!                 tracing::warn!(remote = event.remote(), reason, "{}", event.name());
//!             }
//!         }
//!     }
//! }
//!
//! export_plugin!(Watch: events);
//! # fn main() {}
//! ```
//!
//! [`crate::EventKind`] lists the kinds and their fields. One type may have both roles: `export_plugin!(Both: auth, events)`.
//! `EventsLost` comes whether it was asked for or not. Of what one address, or one admitted client, causes more than a hundred times
//! a second of a kind you get a hundred, and then one `EventsCoalesced` with how many more there were, also where you asked for that
//! kind alone: who counts must add its `count`.
//!
//! # Try it and test it
//!
//! Neither needs a broker.
//!
//! `gatemq plugin check libmy_gate.so` says what the library is (interface, compiler, roles, the keys of its configuration with what each
//! takes and whether it is needed) and why a broker would refuse it. The keys are asked of your type's own `Deserialize`, so there is
//! nothing to write for it. With a configuration, `--plugin-config FILE`, it also starts the plugin, calls each of its roles once and stops
//! it. `gatemq plugin try libmy_gate.so … publish TOPIC` shows it a client, with a certificate chain and its authorities where you
//! give them, and says what you answer and what the broker makes of that.
//!
//! `gatemq-plugin-testkit` does the same in tests: it loads the real library through the broker's own loader, makes clients with
//! certificate chains, puts down what your plugin logs, counts and asks for, and has a fault suite. Have the suite in your tests: it finds
//! what else the first bad day finds.
//!
//! # Who calls what, and for how long
//!
//! Everything may be called from several threads at a time, and while `reconfigure` or `health` runs: state that changes needs a lock
//! or an atomic. Hold no lock across an `.await`. `start` comes before all else; after `stop` nothing new begins, but futures that
//! run may still be in your code, and see it until they end.
//!
//! | method | thread | when it takes longer than the plugin's `timeout_ms` |
//! |---|---|---|
//! | `authenticate`, `exchange`, `refresh`, `authorize_slow` | the plugin's own runtime (two threads) | the client is refused, the future dropped where it waits, within a second |
//! | `start`, `stop`, `interest`, `authorize` | a call thread of this plugin | the caller is refused, the thread abandoned and replaced |
//! | `reconfigure`, `health` | another one, so that no client's call waits for them | the same; they have at least 5 s |
//! | `collect` | the collector's own thread | its rings fill, the oldest events are lost and told by `EventsLost` |
//!
//! With four call threads away the plugin's synchronous calls are refused until one comes back; the fourth runtime whose
//! threads are all held fences its futures until one of
//! them comes back. So an
//! endless loop in a plugin costs clients of that plugin their admission, and nobody else anything but a core.
//!
//! A plugin that keeps failing is not called for a while (its breaker; the operator's keys begin with `breaker_`). Failing is no
//! answer, a panic, or `Unavailable`; a client that is rejected is none.
//!
//! # While it is replaced
//!
//! When its library or configuration changes, a plugin is replaced while the broker runs. A new configuration goes to
//! [`crate::Plugin::reconfigure`] where the library is the same; where it says [`crate::ReconfigureError::LoadAgain`], and with
//! a new library, another instance is started beside the one that serves. It gets all calls once it is ready; the one before ends
//! its calls and the exchanges that it began, and is stopped. Sessions that the one before has admitted are asked of the new one:
//! keep nothing in memory that an answer about an admitted client needs.
//!
//! # Deadlines
//!
//! [`crate::Connect::deadline_ms`] says how long an answer is waited for. When it is over, the client has been refused, and the future is
//! dropped at its next `.await`: whatever must be undone then belongs into a `Drop`. The same happens when the client leaves before
//! you have answered. So a future must bear being dropped at every `.await`: first find out, then change, and change in one step.
//! Give what you wait for a deadline of its own that is shorter (a database 3 s, say), and answer
//! [`crate::AuthOutcome::Unavailable`] then: it says more than silence, and the client is told to come back.
//!
//! ```
//! use std::time::Duration;
//!
//! use gatemq_plugin_api::AuthOutcome;
//! use gatemq_plugin_api::tokio::time::timeout;
//!
//! async fn within(ask: impl Future<Output = AuthOutcome>) -> AuthOutcome {
//!     match timeout(Duration::from_secs(3), ask).await {
//!         Ok(outcome) => outcome,
//!         Err(_) => AuthOutcome::Unavailable { retry_after: Duration::from_secs(5) },
//!     }
//! }
//! # let _ = within(std::future::ready(AuthOutcome::Next));
//! ```
//!
//! What many clients wait for at once needs a bound, and something to say when the bound is reached: `Unavailable`, or a rejection with
//! [`SERVER_BUSY`](crate::ReasonCode::SERVER_BUSY). The broker has 1,024 calls of a plugin under way at most (`calls_max`).
//!
//! # Where code may wait
//!
//! In `async` methods wait with `.await`. Code that blocks both threads for more than 400 ms costs a new runtime: the futures
//! that had begun go on in the old one if it comes back, and tasks that were given to it with `tokio::spawn` end with it. Use
//! `tokio::task::spawn_blocking` for what blocks, and [`crate::Host::spawn`] for tasks that outlive a call (a refresh of keys, a
//! connection that is shared): they have a thread of their own, which is not replaced, and their panics are contained.
//!
//! The re-exported tokio has `rt-multi-thread`, `sync` and `time`. For sockets add `tokio = { version = "1", features = ["net"] }`
//! beside this crate: it is the same tokio, and the runtimes here drive its sockets and timers.
//!
//! # Panics
//!
//! A panic in any method, in a destructor, or of a panic's own payload ends in the library: the host is told, the client is
//! refused, an event is raised. Build with `panic = "unwind"` (the default): a library built with `panic = "abort"` is
//! refused. A mutex that was poisoned stays poisoned: take it all the same where what is in it is whole
//! (`lock().unwrap_or_else(PoisonError::into_inner)`), or every later call panics as well, and the breaker opens. What cannot be contained is a crash: a segmentation fault, an
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
//! Three numbers are not to be confused:
//!
//! | number | what it is | who looks at it |
//! |---|---|---|
//! | interface, `1.0.0` | the binary border: functions and the layout of every record | the broker, when it loads the library |
//! | `gatemq-plugin-api` | this crate, which you write against | cargo, when you build |
//! | your crate's | yours | operators, in `gatemq plugin list` |
//!
//! The broker compares the whole layout, not only the number, before it calls any function of the library: one that was built from changed
//! sources is refused even if it calls itself 1.0.0.
//!
//! | library built with | broker with interface 1.0 |
//! |---|---|
//! | 1.0 | takes it |
//! | 1.1 and later | takes it; what is new in its interface is not called, and a service of the host that is not there panics, contained |
//! | 2.0 | refuses it |
//! | another layout under the same number | refuses it |
//!
//! And a broker with interface 1.1 takes libraries of 1.0: it keeps the old layouts beside the new ones. Compiler and its version do not
//! matter to the border: nothing crosses it but `repr(C)` records and function pointers. Allocations are given back to who made them.
//!
//! # What may change
//!
//! Within interface 1.x, so that a library which you do not build again must bear it:
//!
//! - **New events, new fields of events.** [`crate::Event::kind`] is a number and [`crate::Event::field`] may be `None`: pass over what
//!   you do not know. Numbers and names of events are never used again for something else.
//! - **New actions.** [`crate::Action::kind`] is `None` then: deny.
//! - **New codes** of reasons and errors: treat an unknown one as a failure.
//! - **More calls.** A method with a default may be called where it was not before.
//! - **Texts**: of errors, log lines and `reason`s. Do not compare them.
//! - **Bounds**: how long, how many, how large. Ask ([`crate::Connect::deadline_ms`]) or have your own, smaller ones.
//!
//! Not within 1.x: the meaning of a method, an answer, a number or a key that is there; that nothing is granted without an answer; that
//! chains come whole and in order; that two threads are never in one `start`; that each of your instances has its own copy of the library,
//! with its own statics.
//!
//! This crate's own version is 0.1: its Rust items may change with 0.2, and you may have to change your sources when you build with that.
//! Libraries that are built already go on working as long as the interface does. Until the first release of packages the
//! interface may still change without a new number; then the layout check refuses, and a new build helps.
