//! Has identities asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::service::{RevokeRetained, Selector, ServiceError};

use super::run::counted;
use super::scan::Scanner;
use super::{By, Outcome};
use crate::connection::Client;
use crate::worker::scan::{Look, Looks};

/// Has the providers of the connections that a selector names asked again; the answer counts them, and does not wait for what the
/// providers say. Who is away is asked about when he comes back anyway.
///
/// # Errors
/// `Invalid`: it names everybody, which nobody wants by mistake. `NotFound`: it names nobody who is here. `NotSupported`: retained
/// messages are to be withheld or removed, and nothing was done.
pub(super) fn selected(scanner: &Scanner<'_>, by: &By, selector: Selector, retained: RevokeRetained) -> Outcome {
    if selector == Selector::default() {
        return Err(ServiceError::Invalid);
    }
    if retained != RevokeRetained::Keep {
        return Err(ServiceError::NotSupported);
    }
    // First, so that whoever is not found because its connection has not begun looks for it itself.
    let by: Arc<str> = by.to_string().into();
    scanner.node.revocations.note(by.clone(), selector.clone());
    let revoked = Arc::new(AtomicU64::new(0));
    let counter = revoked.clone();
    let look: Looks = Arc::new(move |client: &Client| match client.is_named_by(&selector) {
        true => {
            counter.fetch_add(1, Ordering::Relaxed);
            Look::Revoke(by.clone())
        }
        false => Look::Next,
    });
    scanner.all(&look)?;
    match revoked.load(Ordering::Relaxed) {
        0 => Err(ServiceError::NotFound),
        count => Ok(counted(count)),
    }
}
