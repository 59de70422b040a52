//! What is carried out at every node of a cluster: here first, then at the others, and the answer says what came of both.

use std::sync::Arc;

use gatemq_plugin_loader::Answer;
use gatemq_types::service::{Reply, RevokeRetained, Selector, ServiceError};
use serde_json::json;

use super::asker::Waits;
use super::revoke::Revocation;
use super::run::cut;
use super::scan::Scanner;
use super::{By, Desk, Outcome, deny, kick};
use crate::cluster::{Elsewhere, Order, Ordered as What};
use crate::node::Node;

/// Ends the connections that a selector names. Their wills are not published, their sessions stay.
pub(super) fn disconnect(
    (desk, scanner): (&Arc<Desk>, &Scanner<'_>),
    by: &By,
    (selector, reason): (Selector, String),
    (answer, waits): (Answer, Waits),
) {
    // Nobody wants everybody by mistake.
    if selector == Selector::default() {
        return answer(Err(ServiceError::Invalid));
    }
    let order = Order { selector, ..Order::new(by, What::Disconnect { why: cut(reason) }) };
    let here = match ordered(scanner, &order) {
        Ok(here) => here,
        Err(e) => return answer(Err(e)),
    };
    elsewhere(desk, scanner.node, order, move |_, elsewhere| {
        let _waits = waits;
        answer(outcome(here, 0, elsewhere));
    });
}

/// Has the providers of the clients that a selector names asked again; the answer counts them, and does not wait for what the providers
/// say. Who is away is asked about when he comes back anyway. What they have retained is kept, or withheld or removed when the answer comes.
pub(super) fn revoke(
    (desk, scanner): (&Arc<Desk>, &Scanner<'_>),
    by: &By,
    (selector, retained): (Selector, RevokeRetained),
    (answer, waits): (Answer, Waits),
) {
    if selector == Selector::default() {
        return answer(Err(ServiceError::Invalid));
    }
    let by = by.to_string();
    let begun = Revocation::begin(scanner, &by, selector.clone(), retained);
    let here = begun.and_then(|revocation| Ok((revocation.clients(scanner)?, revocation)));
    let (here, revocation) = match here {
        Ok(here) => here,
        Err(e) => return answer(Err(e)),
    };
    let order = Order { by, selector, what: What::Revoke(retained) };
    elsewhere(desk, scanner.node, order, move |scanner, elsewhere| {
        let _waits = waits;
        // Now none of them publishes any more.
        answer(revocation.end(scanner).and_then(|messages| outcome(here, messages, elsewhere)));
    });
}

/// Carries out here what this node's desk or another's wants everywhere; returns how many clients it concerned.
///
/// # Errors
/// The node stops.
pub(super) fn ordered(scanner: &Scanner<'_>, Order { by, selector, what }: &Order) -> Result<u64, ServiceError> {
    // No longer than at a node whose desk gives the order, for it is told with each client.
    let by = &cut(by.clone());
    match what {
        What::Disconnect { why } => kick::selected(scanner, by, selector.clone(), &cut(why.clone())),
        What::Revoke(retained) => {
            let revocation = Revocation::of_another_node(scanner, by, selector.clone(), *retained)?;
            let clients = revocation.clients(scanner)?;
            revocation.end(scanner)?;
            Ok(clients)
        }
        What::Slow(denial) => {
            deny::slow(scanner.node, denial.clone());
            Ok(1)
        }
        What::SlowNoMore { subject, raised_by } => {
            deny::slow_no_more(scanner.node, subject, raised_by);
            Ok(1)
        }
    }
}

/// Has the other nodes do it, and goes on, on the desk's thread, when they have or have taken too long.
fn elsewhere(desk: &Arc<Desk>, node: &Node, order: Order, then: impl FnOnce(&Scanner<'_>, Elsewhere) + Send + 'static) {
    let desk = desk.clone();
    let told = move |elsewhere| desk.later(Box::new(move |scanner| then(scanner, elsewhere)));
    match node.cluster() {
        // The number of a connection is its own node's.
        Some(cluster) if order.selector.connection.is_none() => cluster.order(order, told),
        _ => told(Elsewhere::default()),
    }
}

/// With a row for each node that was away or did not answer.
fn outcome(here: u64, messages: u64, Elsewhere { count, unreached }: Elsewhere) -> Outcome {
    let count = here.saturating_add(count);
    if count == 0 && messages == 0 && unreached.is_empty() {
        return Err(ServiceError::NotFound);
    }
    let rows = unreached.iter().map(|node| json!({"node": node.as_str(), "reached": false}).to_string());
    Ok(Reply { count, rows: rows.collect(), ..Reply::default() })
}
