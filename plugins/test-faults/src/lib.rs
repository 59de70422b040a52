//! NEVER PACKAGED, only for tests: an auth provider and event collector that misbehaves on demand.
//!
//! # Configuration
//! `tenant` (default `test`) · `tenant_by_address` (each address is a tenant, `TENANT-ADDRESS`) · `limits` (a table of them, by
//! their names in `Limits`) · `response_info`, `keep_alive_s_max` and `tags` (of every identity) · `grants` (default: ask all on `ask/#`,
//! then allow all on `#`) · `refresh` (a table; with it every identity may be asked for again: `valid_ms`, how long each answer
//! holds, 0 is for ever; `answer`, one of `accept`, `another` (user), `reject`, `next`, `unavailable`, `panic`, `hang`; `grants`, those
//! of then) · `exclusive` (`no`, `user`, `certificate`: every identity, also when it is asked for again) · `late_ms` (default 10000) · `record_file` (one JSON line for each Connect that `authenticate`
//! sees) · `events_file` (the name of each collected event, one a line) · `dropped_file` (created when the instance is
//! dropped) · and the faults of the plugin's life: `start`, `reconfigure`, `health`, `stop`, `drop`, `interest`, `collect`,
//! each one of
//!
//! | fault | what happens |
//! |---|---|
//! | `ok` | nothing (default) |
//! | `error` | the method's own error; `NotReady` from `health`; nothing where the method has none |
//! | `panic` | panics |
//! | `panic_payload` | panics with a payload whose destructor panics, with another such payload |
//! | `hang` | sleeps for an hour |
//! | `loop` | loops for ever |
//! | `slow` | takes 100 ms |
//!
//! # Enhanced authentication
//! The method `rounds` asks once, in AUTH or after CONNECT, and accepts who answers `ok`. Other methods are rejected with 0x8C.
//!
//! # Clients
//! By the longest of these that the client id begins with (`fault-loop-1` is `fault-loop`). Everybody else is accepted: user
//! is the user name or else the client id.
//!
//! | client id | what happens |
//! |---|---|
//! | `fault-panic`, `fault-panic-payload` | the future panics |
//! | `fault-hang` | the future is pending for ever; the counter `hang_dropped` tells that it was dropped |
//! | `fault-block` | blocks its thread for an hour |
//! | `fault-loop` | loops for ever without await |
//! | `fault-late` | accepts after `late_ms` |
//! | `fault-drop-panic` | a value of the future panics when it is dropped, before it can accept |
//! | `fault-unavailable`, `fault-next` | these outcomes |
//! | `fault-reject` | rejects with 0x86 |
//! | `fault-reject-aloud` | rejects with 0x8A and a Reason String |
//! | `fault-redirect`, `fault-moved` | sends it to `other.example:1883` for now, to `new.example` for good |
//! | `fault-continue` | Continue, without a method |
//! | `fault-reject-success-code` | rejects with code 0 |
//! | `fault-empty-tenant` | accepts with an empty tenant |
//! | `fault-bad-grant` | accepts with a grant on `a/#/b` |
//! | `fault-deny-template` | accepts with a Deny on `${attr.missing}` |
//! | `fault-flood` | 20,000 log lines and 20,000 host requests in the background, and accepts; the counter `flood_replies` counts answers |
//! | `fault-spawn-panic` | a task in the background panics with such a payload; accepts |
//! | `fault-drop-completer` | abandons the completer |
//! | `fault-never` | keeps the completer and never answers |
//! | `fault-twice` | Reject, then Accept at once, then Accept after 50 ms from another thread |
//! | `fault-accept-then-reject` | Accept, then Reject at once, then Reject after 50 ms from another thread |
//! | `fault-unknown-code`, `fault-zero-code` | outcomes 77 and 0 |
//! | `fault-accept-nobody` | Accept without an identity |
//!
//! # Enhanced authentication
//! Methods that begin with `TEST` are offered. What happens says the client's Authentication Data, in its CONNECT and in
//! each AUTH:
//!
//! | data | what happens |
//! |---|---|
//! | `continue` | Continue with `round N`, N from 1 on |
//! | `accept` | accepted as anybody, with the Authentication Data `after N`, N being how often Continue was said |
//! | `accept user=bob allow=a/#` | the same with changes: `tenant`, `user`, `client_id`, `valid_ms` (from now), `valid_until_ms`, `qos_max`, `retain`, `levels`, `keep_alive`, and grants in place of the usual ones: `allow`, `deny`, `ask` |
//! | `reject` | rejects with 0x86 and a Reason String |
//! | `redirect SERVER` | Redirect |
//! | `next`, `unavailable`, `panic`, `hang` | these |
//!
//! # Actions that are asked about
//! By the last level of the topic under `ask/`; anything else is denied:
//!
//! | level | what happens |
//! |---|---|
//! | `allow`, `deny`, `next` | these verdicts |
//! | `allow-ttl` | allowed, to be kept for 60 s |
//! | `deny-disconnect` | denied, and the connection ends |
//! | `panic`, `panic-payload`, `hang`, `loop` | as above, in `authorize` |
//! | `unknown` | verdict 77 with status OK |
//! | `bad-status` | an allowing verdict with status 99 |
//! | `allow-but-failed` | an allowing verdict with status FAILED |
//! | `slow-allow`, `slow-deny`, `slow-panic`, `slow-hang`, `slow-loop` | Pending, then that in `authorize_slow` |
//! | `slow-pending` | Pending twice |

mod authenticate;
mod authorize;
mod config;
mod exchange;
mod fault;
mod plugin;
mod raw;
mod record;
mod refresh;

gatemq_plugin_api::export_root!(raw::Exported);
