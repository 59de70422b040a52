//! Ends connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::CloseReason;
use gatemq_types::event::Fact;
use gatemq_types::service::{Selector, ServiceError};

use super::scan::Scanner;
use crate::clock;
use crate::connection::{Client, Ending};
use crate::denials::refuses_connected;
use crate::worker::scan::{Kick, Look, Looks};

/// Ends the connections here that a selector names; returns how many. Their wills are not published, their sessions stay.
///
/// # Errors
/// The node stops.
pub(super) fn selected(scanner: &Scanner<'_>, by: &str, selector: Selector, why: &str) -> Result<u64, ServiceError> {
    let (by, why) = (by.to_owned(), why.to_owned());
    let ended = Arc::new(AtomicU64::new(0));
    let counter = ended.clone();
    let look: Looks = Arc::new(move |client: &Client| {
        if !client.is_named_by(&selector) {
            return Look::Next;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        Look::End(Kick {
            ending: Ending::of(CloseReason::Kicked),
            fact: Some(Fact::ClientKicked { by: by.clone().into(), why: why.clone().into() }),
            reason_string: why.clone(),
        })
    });
    scanner.all(&look)?;
    Ok(ended.load(Ordering::Relaxed))
}

/// Ends the connections of everybody who is denied.
pub(super) fn denied(scanner: &Scanner<'_>) {
    let of_look = scanner.node.clone();
    let look: Looks = Arc::new(move |client: &Client| {
        match refuses_connected(&of_look, &client.peer, client.proven(), clock::now_ms()) {
            true => Look::End(Kick { ending: Ending::of_denial(), fact: None, reason_string: String::new() }),
            false => Look::Next,
        }
    });
    // It fails only when the node stops, and everybody's connection ends.
    let _ = scanner.all(&look);
}
