//! Outcomes and verdicts.

use std::fmt;
use std::time::Duration;

use abi_stable::std_types::{ROption, RString, RVec};
use gatemq_types::{AuthOutcome, Identity, QoS, ReasonCode, Verdict};

use super::super::v1_0::{Attribute, OutcomeCode, OutcomeRecord, VerdictCode, VerdictRecord};
use super::{identity_from, identity_to, text_from, text_to};

/// A number that has no meaning in this interface: nothing is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCode {
    /// What the number should have been.
    pub what: &'static str,
    /// The number.
    pub number: u32,
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has the unknown number {}", self.what, self.number)
    }
}

impl std::error::Error for UnknownCode {}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// For the host.
pub fn outcome_to(outcome: AuthOutcome) -> OutcomeRecord {
    match outcome {
        AuthOutcome::Accept(identity) => OutcomeRecord {
            identity: ROption::RSome(identity_to(&identity)),
            data: identity.auth_data.into(),
            ..OutcomeRecord::bare(OutcomeCode::ACCEPT)
        },
        AuthOutcome::Continue { data, state } => {
            OutcomeRecord { data: data.into(), state, ..OutcomeRecord::bare(OutcomeCode::CONTINUE) }
        }
        AuthOutcome::Reject { code, reason, reason_string, delay } => OutcomeRecord {
            reason_code: code.0,
            reason: reason.into(),
            reason_string: text_to(&reason_string),
            wait_ms: millis(delay),
            ..OutcomeRecord::bare(OutcomeCode::REJECT)
        },
        AuthOutcome::Redirect { server, moved } => OutcomeRecord {
            reason_code: if moved { ReasonCode::SERVER_MOVED.0 } else { ReasonCode::USE_ANOTHER_SERVER.0 },
            server: server.into(),
            ..OutcomeRecord::bare(OutcomeCode::REDIRECT)
        },
        AuthOutcome::Next => OutcomeRecord::bare(OutcomeCode::NEXT),
        AuthOutcome::Unavailable { retry_after } => {
            OutcomeRecord { wait_ms: millis(retry_after), ..OutcomeRecord::bare(OutcomeCode::UNAVAILABLE) }
        }
    }
}

/// A code that refuses: a provider's own where it is one, otherwise `Not authorized`.
fn refusing(code: u8) -> ReasonCode {
    match ReasonCode(code) {
        code if code.is_failure() => code,
        _ => ReasonCode::NOT_AUTHORIZED,
    }
}

/// From the plugin.
///
/// # Errors
/// A code without a meaning, Accept without an identity, or Accept with an extension: it may restrict what it accepts.
pub fn outcome_from(record: OutcomeRecord) -> Result<AuthOutcome, UnknownCode> {
    if let (OutcomeCode::ACCEPT, Some(e)) = (record.code, record.attributes.first()) {
        return Err(UnknownCode { what: "extension of an acceptance", number: e.key });
    }
    Ok(match record.code {
        OutcomeCode::ACCEPT => match &record.identity {
            ROption::RSome(identity) => {
                AuthOutcome::accept(Identity { auth_data: record.data.into_vec(), ..identity_from(identity)? })
            }
            ROption::RNone => {
                return Err(UnknownCode { what: "acceptance without an identity", number: record.code.0 });
            }
        },
        OutcomeCode::CONTINUE => AuthOutcome::Continue { data: record.data.into_vec(), state: record.state },
        OutcomeCode::REJECT => AuthOutcome::Reject {
            code: refusing(record.reason_code),
            reason: record.reason.into_string(),
            reason_string: text_from(&record.reason_string),
            delay: Duration::from_millis(record.wait_ms),
        },
        OutcomeCode::REDIRECT => AuthOutcome::Redirect {
            server: record.server.into_string(),
            moved: ReasonCode(record.reason_code) == ReasonCode::SERVER_MOVED,
        },
        OutcomeCode::NEXT => AuthOutcome::Next,
        OutcomeCode::UNAVAILABLE => AuthOutcome::Unavailable { retry_after: Duration::from_millis(record.wait_ms) },
        OutcomeCode(number) => return Err(UnknownCode { what: "outcome", number }),
    })
}

/// Key of a denying verdict's extension: what the client is told. A host that does not know it tells the code alone.
const REASON_STRING: u32 = 1;

fn reason_string_to(text: String) -> Attribute {
    Attribute { key: REASON_STRING, number: 0, text: text.into() }
}

/// For the host.
#[inline(always)]
pub fn verdict_to(verdict: Verdict) -> VerdictRecord {
    match verdict {
        Verdict::Allow { ttl, qos_max } => {
            VerdictRecord { ttl_ms: millis(ttl), qos_max: qos_max.bits(), ..VerdictRecord::bare(VerdictCode::ALLOW) }
        }
        Verdict::Deny { code, reason, reason_string, disconnect, ttl } => VerdictRecord {
            reason_code: code.0,
            reason: reason.into(),
            disconnect,
            ttl_ms: millis(ttl),
            attributes: reason_string.map(reason_string_to).into_iter().collect(),
            ..VerdictRecord::bare(VerdictCode::DENY)
        },
        Verdict::Next => VerdictRecord::bare(VerdictCode::NEXT),
        Verdict::Pending => VerdictRecord::bare(VerdictCode::PENDING),
    }
}

/// Drops text. Where there is none, as in most verdicts, the library that made it is not called for that: this and what is dropped of a
/// verdict would be half of the cost of a question.
#[inline(always)]
pub fn let_go(text: RString) {
    if text.capacity() == 0 {
        std::mem::forget(text);
    }
}

#[inline(always)]
fn let_go_all(attributes: RVec<Attribute>) {
    if attributes.capacity() == 0 {
        std::mem::forget(attributes);
    }
}

/// Puts the answer in the place of the bare verdict that the host has made for it.
#[inline(always)]
pub fn replace_bare(verdict: &mut VerdictRecord, answer: VerdictRecord) {
    let bare = std::mem::replace(verdict, answer);
    let_go(bare.reason);
    let_go_all(bare.attributes);
}

/// From the plugin.
///
/// # Errors
/// A code without a meaning, or Allow with an extension: it may restrict what it allows.
#[inline(always)]
pub fn verdict_from(record: VerdictRecord) -> Result<Verdict, UnknownCode> {
    if let (VerdictCode::ALLOW, Some(e)) = (record.code, record.attributes.first()) {
        return Err(UnknownCode { what: "extension of an allowance", number: e.key });
    }
    let ttl = Duration::from_millis(record.ttl_ms);
    if record.code == VerdictCode::DENY {
        return Ok(Verdict::Deny {
            code: refusing(record.reason_code),
            reason: record.reason.into_string(),
            reason_string: record.attributes.iter().find(|a| a.key == REASON_STRING).map(|a| a.text.to_string()),
            disconnect: record.disconnect,
            ttl,
        });
    }
    let_go_all(record.attributes);
    let_go(record.reason);
    Ok(match record.code {
        VerdictCode::ALLOW => Verdict::Allow {
            ttl,
            qos_max: QoS::from_bits(record.qos_max)
                .ok_or(UnknownCode { what: "highest QoS of a verdict", number: record.qos_max.into() })?,
        },
        VerdictCode::NEXT => Verdict::Next,
        VerdictCode::PENDING => Verdict::Pending,
        VerdictCode(number) => return Err(UnknownCode { what: "verdict", number }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1: a code that is not known, an acceptance of nobody and a "refusal" with a code of success admit nobody.
    #[test]
    fn promise_1_unknown_codes_admit_nobody() {
        assert!(outcome_from(OutcomeRecord::bare(OutcomeCode(0))).is_err());
        assert!(outcome_from(OutcomeRecord::bare(OutcomeCode(77))).is_err());
        assert!(outcome_from(OutcomeRecord::bare(OutcomeCode::ACCEPT)).is_err(), "accepts nobody");
        assert!(verdict_from(VerdictRecord::bare(VerdictCode(0))).is_err());
        let extension = || vec![crate::abi::v1_0::Attribute { key: 1, number: 0, text: Default::default() }].into();
        let accept = outcome_to(AuthOutcome::accept(Identity::new("t", "u")));
        assert!(outcome_from(OutcomeRecord { attributes: extension(), ..accept }).is_err());
        let allow = VerdictRecord { attributes: extension(), ..VerdictRecord::bare(VerdictCode::ALLOW) };
        assert!(verdict_from(allow).is_err());
        let reject = outcome_from(OutcomeRecord::bare(OutcomeCode::REJECT));
        assert!(matches!(reject, Ok(AuthOutcome::Reject { code: ReasonCode::NOT_AUTHORIZED, .. })), "{reject:?}");
    }

    /// Guards that outcomes and verdicts arrive as they were said.
    #[test]
    fn outcomes_and_verdicts_round_trip() {
        for outcome in [
            AuthOutcome::accept(Identity { auth_data: vec![9], ..Identity::new("t", "u") }),
            AuthOutcome::Reject {
                code: ReasonCode::BANNED,
                reason: "a".into(),
                reason_string: Some("b".into()),
                delay: Duration::from_millis(3),
            },
            AuthOutcome::redirect("a.example:1883"),
            AuthOutcome::Redirect { server: String::new(), moved: true },
            AuthOutcome::Continue { data: vec![1, 2], state: 3 },
            AuthOutcome::reject("no"),
            AuthOutcome::Next,
            AuthOutcome::Unavailable { retry_after: Duration::from_secs(2) },
        ] {
            assert_eq!(outcome_from(outcome_to(outcome.clone())), Ok(outcome));
        }
        let told = Verdict::Deny {
            code: ReasonCode::QUOTA_EXCEEDED,
            reason: "no".into(),
            reason_string: Some("too much".into()),
            disconnect: true,
            ttl: Duration::from_millis(7),
        };
        let allow = Verdict::allow(Duration::from_secs(1));
        for verdict in [allow, Verdict::deny("no"), told, Verdict::Next, Verdict::Pending] {
            assert_eq!(verdict_from(verdict_to(verdict.clone())), Ok(verdict));
        }
    }
}
