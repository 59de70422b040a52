//! What `authenticate` does with clients that ask for a fault.

use std::time::Duration;

use gatemq_plugin_api::{Actions, AuthOutcome, Connect, Grant, Host, Identity, ReasonCode};

use crate::fault::{Fault, PanicsWhenDropped};
use crate::plugin::TestFaults;

/// Log lines, and requests, of one `fault-flood`.
const FLOOD: usize = 20_000;

/// Faults that plugin code can have. Those below the SDK are in [`crate::raw`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientFault {
    Panic,
    PanicPayload,
    Hang,
    Block,
    Loop,
    Late,
    DropPanic,
    Unavailable,
    Next,
    Reject,
    RejectAloud,
    Redirect,
    Moved,
    Continue,
    RejectSuccessCode,
    EmptyTenant,
    BadGrant,
    DenyTemplate,
    Flood,
    SpawnPanic,
    DropCompleter,
    Never,
    Twice,
    AcceptThenReject,
    UnknownCode,
    ZeroCode,
    AcceptNobody,
}

const CLIENTS: [(&str, ClientFault); 27] = [
    ("fault-panic", ClientFault::Panic),
    ("fault-panic-payload", ClientFault::PanicPayload),
    ("fault-hang", ClientFault::Hang),
    ("fault-block", ClientFault::Block),
    ("fault-loop", ClientFault::Loop),
    ("fault-late", ClientFault::Late),
    ("fault-drop-panic", ClientFault::DropPanic),
    ("fault-unavailable", ClientFault::Unavailable),
    ("fault-next", ClientFault::Next),
    ("fault-reject", ClientFault::Reject),
    ("fault-reject-aloud", ClientFault::RejectAloud),
    ("fault-redirect", ClientFault::Redirect),
    ("fault-moved", ClientFault::Moved),
    ("fault-continue", ClientFault::Continue),
    ("fault-reject-success-code", ClientFault::RejectSuccessCode),
    ("fault-empty-tenant", ClientFault::EmptyTenant),
    ("fault-bad-grant", ClientFault::BadGrant),
    ("fault-deny-template", ClientFault::DenyTemplate),
    ("fault-flood", ClientFault::Flood),
    ("fault-spawn-panic", ClientFault::SpawnPanic),
    ("fault-drop-completer", ClientFault::DropCompleter),
    ("fault-never", ClientFault::Never),
    ("fault-twice", ClientFault::Twice),
    ("fault-accept-then-reject", ClientFault::AcceptThenReject),
    ("fault-unknown-code", ClientFault::UnknownCode),
    ("fault-zero-code", ClientFault::ZeroCode),
    ("fault-accept-nobody", ClientFault::AcceptNobody),
];

/// The fault that a client asks for: the longest name that its id begins with.
pub(crate) fn fault_of(client_id: &str) -> Option<ClientFault> {
    let asked = CLIENTS.iter().filter(|(name, _)| client_id.starts_with(name));
    asked.max_by_key(|(name, _)| name.len()).map(|(_, fault)| *fault)
}

impl TestFaults {
    /// Who a client is, without grants.
    pub(crate) fn identity(&self, connect: &Connect) -> Identity {
        let user = connect.user_name.as_deref().filter(|u| !u.is_empty()).unwrap_or(&connect.client_id);
        let tenant = match self.tenant_by_address {
            true => format!("{}-{}", self.tenant, connect.remote.ip()),
            false => self.tenant.clone(),
        };
        let (limits, exclusive) = (self.limits, self.exclusive());
        let mut identity = Identity { limits, exclusive, ..Identity::new(&tenant, user) };
        identity.response_info.clone_from(&self.response_info);
        identity.tags.clone_from(&self.tags);
        if let Some(refresh) = self.refresh_config() {
            refresh.limit(&mut identity, self.host.now_ms());
        }
        if self.keep_alive_s_max.is_some() {
            identity.limits.keep_alive_s_max = self.keep_alive_s_max;
        }
        identity
    }

    pub(crate) async fn outcome(&self, connect: &Connect) -> AuthOutcome {
        if connect.auth_method.is_some() {
            return self.begun(connect).await;
        }
        let identity = self.identity(connect);
        let everybody = || AuthOutcome::accept(identity.clone().with_grants(self.grants.clone()));
        let with_grant = |grant| AuthOutcome::accept(identity.clone().with_grants([grant]));
        let Some(fault) = fault_of(&connect.client_id) else { return everybody() };
        match fault {
            ClientFault::Panic => commit(Fault::Panic),
            ClientFault::PanicPayload => commit(Fault::PanicPayload),
            ClientFault::Block => commit(Fault::Hang),
            ClientFault::Loop => commit(Fault::Loop),
            ClientFault::Hang => {
                let _told = CountsWhenDropped(self.host.clone());
                std::future::pending().await
            }
            ClientFault::Late => {
                gatemq_plugin_api::tokio::time::sleep(self.late).await;
                everybody()
            }
            ClientFault::DropPanic => {
                let _dropped_last = PanicsWhenDropped;
                gatemq_plugin_api::tokio::task::yield_now().await;
                everybody()
            }
            ClientFault::Unavailable => AuthOutcome::Unavailable { retry_after: Duration::from_secs(1) },
            ClientFault::Next => AuthOutcome::Next,
            ClientFault::Reject => reject(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
            ClientFault::RejectAloud => AuthOutcome::Reject {
                code: ReasonCode::BANNED,
                reason: "for the log".into(),
                reason_string: Some("for the client".into()),
                delay: Duration::ZERO,
            },
            ClientFault::Redirect => AuthOutcome::redirect("other.example:1883"),
            ClientFault::Moved => AuthOutcome::Redirect { server: "new.example".into(), moved: true },
            ClientFault::Continue => AuthOutcome::Continue { data: b"round".to_vec(), state: 1 },
            ClientFault::RejectSuccessCode => reject(ReasonCode::SUCCESS),
            ClientFault::EmptyTenant => AuthOutcome::accept(Identity { tenant: String::new(), ..identity }),
            ClientFault::BadGrant => with_grant(Grant::allow(Actions::ALL, "a/#/b")),
            ClientFault::DenyTemplate => with_grant(Grant::deny(Actions::ALL, "x/${attr.missing}")),
            ClientFault::Flood => {
                self.flood();
                everybody()
            }
            ClientFault::SpawnPanic => {
                self.host.spawn(async {
                    let _ = Fault::PanicPayload.commit();
                });
                everybody()
            }
            // Answered below the SDK: whoever comes here was not, and that must show.
            ClientFault::DropCompleter
            | ClientFault::Never
            | ClientFault::Twice
            | ClientFault::AcceptThenReject
            | ClientFault::UnknownCode
            | ClientFault::ZeroCode
            | ClientFault::AcceptNobody => panic!("{fault:?} belongs to the raw entry"),
        }
    }

    fn flood(&self) {
        let host = self.host.clone();
        self.host.spawn(async move {
            for n in 0..FLOOD {
                gatemq_plugin_api::tracing::info!(n, "flood");
                let asking = host.clone();
                host.spawn(async move {
                    let _ = asking.get("flood").await;
                    asking.count("flood_replies", 1);
                });
            }
        });
    }
}

/// Tells a test that a future which hung was dropped.
struct CountsWhenDropped(Host);

impl Drop for CountsWhenDropped {
    fn drop(&mut self) {
        self.0.count("hang_dropped", 1);
    }
}

fn commit(fault: Fault) -> AuthOutcome {
    match fault.commit() {
        Ok(()) => AuthOutcome::reject("the fault is over"),
        Err(why) => AuthOutcome::reject(why),
    }
}

fn reject(code: ReasonCode) -> AuthOutcome {
    AuthOutcome::Reject { code, reason: "a reject on demand".into(), reason_string: None, delay: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that each name means its own fault, also where one begins with another.
    #[test]
    fn the_longest_name_counts() {
        for (name, fault) in CLIENTS {
            assert_eq!(fault_of(name), Some(fault));
            assert_eq!(fault_of(&format!("{name}-17")), Some(fault));
        }
        assert_eq!(fault_of("sensor"), None);
        assert_eq!(fault_of("my-fault-panic"), None);
    }
}
