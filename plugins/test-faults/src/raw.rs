//! Faults below the SDK: what a library could do that was not built with it. The root module is made by hand.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gatemq_plugin_api::abi::v1_0::{
    ActionView, ConnectRecord, Instance, OutcomeCode, OutcomeCompleter, OutcomeRecord, PluginInfo, PluginRoot_Ref,
    SessionRecord, Status, StatusCode, VerdictCode, VerdictRecord,
};
use gatemq_plugin_api::abi::{Root, convert, entry};
use gatemq_plugin_api::{Actions, AuthOutcome, Grant, Identity};

use crate::authenticate::{ClientFault, fault_of};
use crate::plugin::TestFaults;

pub(crate) struct Exported;

impl Root for Exported {
    fn root() -> PluginRoot_Ref {
        let auth = entry::auth_table::<TestFaults>();
        let auth = gatemq_plugin_api::abi::v1_0::AuthTable { authenticate, authorize, ..auth };
        entry::root::<TestFaults>(info, Some(auth), Some(entry::collector_table::<TestFaults>()))
    }
}

extern "C" fn info() -> PluginInfo {
    entry::info(entry::Package {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        panic_aborts: cfg!(panic = "abort"),
    })
}

extern "C" fn authenticate(instance: Instance, connect: &ConnectRecord, completer: OutcomeCompleter) {
    /// Completers that nobody answers are kept, not forgotten: the host must not mind.
    static KEPT: Mutex<Vec<OutcomeCompleter>> = Mutex::new(Vec::new());

    let bare = |code| completer.complete(OutcomeRecord::bare(code));
    match fault_of(&connect.client_id) {
        Some(ClientFault::DropCompleter) => completer.abandon(Status::failed("abandoned on demand")),
        Some(ClientFault::Never) => KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(completer),
        Some(ClientFault::Twice) => answer_thrice(completer, reject, accept),
        Some(ClientFault::AcceptThenReject) => answer_thrice(completer, accept, reject),
        Some(ClientFault::UnknownCode) => bare(OutcomeCode(77)),
        Some(ClientFault::ZeroCode) => bare(OutcomeCode(0)),
        Some(ClientFault::AcceptNobody) => bare(OutcomeCode::ACCEPT),
        _ => (entry::auth_table::<TestFaults>().authenticate)(instance, connect, completer),
    }
}

fn answer_thrice(completer: OutcomeCompleter, first: fn() -> OutcomeRecord, then: fn() -> OutcomeRecord) {
    completer.complete(first());
    completer.complete(then());
    let later = move || {
        std::thread::sleep(Duration::from_millis(50));
        completer.complete(then());
    };
    if let Err(e) = std::thread::Builder::new().spawn(later) {
        gatemq_plugin_api::tracing::error!("no third answer: {e}");
    }
}

fn accept() -> OutcomeRecord {
    let identity = Identity::new("test", "fault-twice").with_grants([Grant::allow(Actions::ALL, "#")]);
    convert::outcome_to(AuthOutcome::accept(identity))
}

fn reject() -> OutcomeRecord {
    convert::outcome_to(AuthOutcome::reject("a reject on demand"))
}

extern "C" fn authorize(
    instance: Instance,
    session: &SessionRecord,
    action: &ActionView<'_>,
    verdict: &mut VerdictRecord,
) -> Status {
    let allow = || VerdictRecord::bare(VerdictCode::ALLOW);
    // Compared, not taken apart: `benches/border.rs` of the loader measures calls that come through here.
    let topic = action.topic.as_str();
    if topic.ends_with("/unknown") {
        *verdict = VerdictRecord::bare(VerdictCode(77));
        Status::ok()
    } else if topic.ends_with("/bad-status") {
        *verdict = allow();
        Status { code: StatusCode(99), ..Status::ok() }
    } else if topic.ends_with("/allow-but-failed") {
        *verdict = allow();
        Status::failed("failed on demand")
    } else {
        (entry::auth_table::<TestFaults>().authorize)(instance, session, action, verdict)
    }
}
