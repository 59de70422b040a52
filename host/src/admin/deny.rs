//! Raises, lifts and lists denials.
//!
//! What must not be possible is to have somebody else denied. A plugin judges by events, which strangers cause, so the node
//! checks what it can know better:
//!
//! - a certificate or key was proven here lately: shown without its key it is anybody's;
//! - a name is, or lately was, of a session here: a name in a CONNECT that failed is anybody's;
//! - an address is one subscriber's, no trusted proxy's, and failed here lately before it authenticated. Nobody who is there is
//!   kicked, and where three clients or more are connected from it, it is slowed down instead: at the nodes where they are, and,
//!   where they are at the node that denies it, at all;
//! - an authority is an operator's business.
//!
//! What a plugin was allowed to deny it may deny for longer, though its subject, kept out, has not been here since.

use std::net::IpAddr;

use gatemq_broker::denials::{Added, Effect, Held, NotAdded, normal, of_address};
use gatemq_store::{Op, Store, StoreError};
use gatemq_types::event::Fact;
use gatemq_types::service::{Reply, ServiceError};
use gatemq_types::{Denial, Subject};

use super::run::{Changes, counted, cut, tell_full};
use super::survey::Survey;
use super::{By, Outcome, Replicated, rows};
use crate::cluster::{Order, Ordered};
use crate::denials::{Seen, ends_connections};
use crate::node::Node;

/// Connections a second of an address that is slowed down.
const SLOW_PER_S: u32 = 1;
/// Denials of a page.
const ROWS_MAX: usize = 256;

/// Raises one. The reply's row says what it does; `action` there is `slow` where an address is slowed down instead.
///
/// # Errors
/// `Invalid`: nobody could be the subject. `NotAllowed`, `NotFound`: see the module. `Busy`: as many were raised as may be.
pub(super) fn deny(
    node: &Node,
    by: &By,
    subject: Subject,
    ttl_ms: u64,
    reason: String,
    now_ms: u64,
    changes: &mut Changes,
) -> Outcome {
    let subject = normal(&subject).map_err(|_| ServiceError::Invalid)?;
    let effect = match by {
        By::Operator => Effect::Refuse,
        By::Plugin(_) => check(node, by, &subject, changes, now_ms)?,
    };
    let until_ms = if ttl_ms == 0 { 0 } else { now_ms.saturating_add(ttl_ms) };
    let reason = cut(reason);
    let denial = Denial { subject, until_ms, reason, raised_by: by.to_string() };
    let Added { held, replaced: _ } = node.denials.set.add(denial, effect).map_err(|refused| match refused {
        NotAdded::Full { max } => {
            tell_full(node, "denials.per_raiser_max", max);
            ServiceError::Busy
        }
        NotAdded::Invalid(_) => ServiceError::Invalid,
    })?;
    tell_added(node, &held);
    match effect {
        Effect::Refuse => changes.ops.push(Op::PutDenial(held.denial.clone())),
        // For a while, until the address is its attacker's alone: not worth a restart. The one before is over.
        Effect::Slow { .. } => {
            changes.ops.push(delete(&held.denial));
            changes.orders.push(Order::new(by, Ordered::Slow(held.denial.clone())));
        }
    }
    changes.scan |= !matches!(held.denial.subject, Subject::Address { .. }) || ends_connections(&held);
    Ok(Reply { rows: vec![rows::denial(&held)], ..counted(1) })
}

fn tell_added(node: &Node, held: &Held) {
    let Denial { subject, until_ms, reason, raised_by } = &held.denial;
    let fact = Fact::DenialAdded {
        subject: subject.to_string().into(),
        action: rows::action(held.effect).into(),
        until_ms: *until_ms,
        reason: reason.clone().into(),
        raised_by: raised_by.clone().into(),
    };
    node.events.emit(None, fact);
}

fn delete(denial: &Denial) -> Op {
    Op::DeleteDenial { subject: denial.subject.clone(), raised_by: denial.raised_by.as_str().into() }
}

/// Whether a plugin may deny it, and what that does.
fn check(node: &Node, by: &By, subject: &Subject, changes: &Changes, now_ms: u64) -> Result<Effect, ServiceError> {
    let again = node.denials.set.has(subject, Some(&by.to_string()));
    let survey = changes.survey.as_ref().map_err(|e| *e)?;
    match subject {
        Subject::Issuer(_) => Err(ServiceError::NotAllowed),
        Subject::Address { address, .. } => check_address(node, *address, subject, survey, again, now_ms),
        _ if again => Ok(Effect::Refuse),
        subject => {
            let was_here = || node.denials.was_here(&seen(subject)?, now_ms).then_some(());
            // Whoever left while the connections were looked at was noted then, which is why they are looked at first.
            match survey.is_here(subject) || was_here().is_some() {
                true => Ok(Effect::Refuse),
                false => Err(ServiceError::NotFound),
            }
        }
    }
}

fn seen(subject: &Subject) -> Option<Seen<'_>> {
    match subject {
        Subject::Certificate(hash) => Some(Seen::Leaf(hash)),
        Subject::Key(hash) => Some(Seen::Key(hash)),
        Subject::User { tenant, user } => Some(Seen::User(tenant, user)),
        Subject::Client { tenant, user, client_id } => Some(Seen::Client(tenant, user, client_id)),
        Subject::Address { .. } | Subject::Issuer(_) => None,
    }
}

fn check_address(
    node: &Node,
    ip: IpAddr,
    subject: &Subject,
    survey: &Survey,
    again: bool,
    now_ms: u64,
) -> Result<Effect, ServiceError> {
    if *subject != of_address(ip) || node.denials.is_proxy(ip) {
        return Err(ServiceError::NotAllowed);
    }
    if !again && !node.events.failed_lately(ip, now_ms) {
        return Err(ServiceError::NotFound);
    }
    Ok(if survey.is_shared(subject) { Effect::Slow { per_s: SLOW_PER_S } } else { Effect::Refuse })
}

/// Lifts what was raised for a subject: an operator what anybody raised, a plugin what it raised itself.
///
/// # Errors
/// `NotFound`: there is none. `NotAllowed`: there are only others'.
pub(super) fn lift(node: &Node, by: &By, subject: &Subject, changes: &mut Changes) -> Outcome {
    let own = by.to_string();
    let lifted = node.denials.set.lift(subject, matches!(by, By::Plugin(_)).then_some(&own));
    if lifted.is_empty() {
        return Err(match node.denials.set.has(subject, None) {
            true => ServiceError::NotAllowed,
            false => ServiceError::NotFound,
        });
    }
    for held in &lifted {
        let (subject, raised_by) = (held.denial.subject.to_string().into(), held.denial.raised_by.clone().into());
        node.events.emit(None, Fact::DenialLifted { subject, raised_by, by: own.clone().into() });
        changes.ops.push(delete(&held.denial));
        if let Effect::Slow { .. } = held.effect {
            let Denial { subject, raised_by, .. } = held.denial.clone();
            changes.orders.push(Order::new(by, Ordered::SlowNoMore { subject, raised_by }));
        }
    }
    Ok(counted(lifted.len() as u64))
}

/// Slows an address down because another node does: many clients share it there.
pub(super) fn slow(node: &Node, denial: Denial) {
    match node.denials.set.restore(denial, Effect::Slow { per_s: SLOW_PER_S }) {
        Ok(Added { held, .. }) => tell_added(node, &held),
        Err(why) => tracing::warn!("a denial of another node is left aside: {why}"),
    }
}

/// Another node has lifted that.
pub(super) fn slow_no_more(node: &Node, subject: &Subject, raised_by: &str) {
    let is_slow = |held: &Held| matches!(held.effect, Effect::Slow { .. });
    if node.denials.set.find(subject, raised_by).is_some_and(|held| is_slow(&held)) {
        node.denials.set.lift(subject, Some(raised_by)).iter().for_each(|held| tell_lifted(node, held));
    }
}

fn tell_lifted(node: &Node, held: &Held) {
    let (subject, raised_by) = (held.denial.subject.to_string().into(), held.denial.raised_by.clone().into());
    node.events.emit(None, Fact::DenialLifted { subject, raised_by, by: "cluster".into() });
}

/// Has what another node's desk has done take hold here: it has checked who may. What it refuses of an address that clients here share
/// is slowed down here.
pub(super) fn replicate(node: &Node, replicated: Replicated, changes: &mut Changes) {
    match replicated {
        Replicated::Denied(denial) => match node.denials.set.restore(denial.clone(), effect_here(&denial, changes)) {
            Ok(Added { held, .. }) => {
                tell_added(node, &held);
                changes.ops.push(Op::PutDenial(held.denial.clone()));
                changes.scan |= !matches!(held.denial.subject, Subject::Address { .. }) || ends_connections(&held);
            }
            Err(why) => tracing::warn!("a denial of another node is left aside: {why}"),
        },
        Replicated::Lifted { subject, raised_by } => {
            for held in node.denials.set.lift(&subject, Some(&raised_by)) {
                tell_lifted(node, &held);
                changes.ops.push(delete(&held.denial));
            }
        }
    }
}

fn effect_here(denial: &Denial, changes: &Changes) -> Effect {
    match &changes.survey {
        Ok(survey) if survey.is_shared(&denial.subject) => Effect::Slow { per_s: SLOW_PER_S },
        _ => Effect::Refuse,
    }
}

/// A page of all that are in force.
pub(super) fn list(node: &Node, page: u64) -> Reply {
    let (found, next_page) = node.denials.set.page(page, ROWS_MAX);
    let rows: Vec<String> = found.iter().map(|held| rows::denial(held)).collect();
    Reply { count: rows.len() as u64, rows, next_page, value: None }
}

/// Takes away those whose time is over.
pub(super) fn expire(node: &Node, now_ms: u64, max: usize, ops: &mut Vec<Op>) {
    for held in node.denials.set.expire(now_ms, max) {
        let (subject, raised_by) = (held.denial.subject.to_string().into(), held.denial.raised_by.clone().into());
        node.events.emit(None, Fact::DenialExpired { subject, raised_by });
        ops.push(delete(&held.denial));
    }
}

/// Takes those back that a store has kept; what is over goes into `ops`.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restore(node: &Node, store: &dyn Store, now_ms: u64, ops: &mut Vec<Op>) -> Result<(), StoreError> {
    let mut count = 0_u64;
    store.scan_denials(&mut |denial| {
        if denial.until_ms != 0 && denial.until_ms <= now_ms {
            ops.push(delete(&denial));
            return true;
        }
        match node.denials.set.restore(denial, Effect::Refuse) {
            Ok(_) => count += 1,
            Err(why) => tracing::warn!("a stored denial is left aside: {why}"),
        }
        true
    })?;
    if count > 0 {
        tracing::info!(count, "denials are in force as before the restart");
    }
    Ok(())
}
