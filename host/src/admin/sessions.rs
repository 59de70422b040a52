//! Lists the sessions that have a connection.

use std::sync::Arc;

use gatemq_types::event::Peer;
use gatemq_types::service::{Reply, Selector};
use parking_lot::Mutex;

use super::scan::Scanner;
use super::{Outcome, rows};
use crate::connection::Client;
use crate::worker::scan::{Look, Looks};

/// Rows of a page.
const ROWS_MAX: usize = 256;

/// A page of them. A place to go on from is a worker in its upper half and a number of its connections in the lower: whoever
/// stays is on one page, whoever comes and goes meanwhile may be on none.
///
/// # Errors
/// The node stops.
pub(super) fn list(scanner: &Scanner<'_>, selector: Selector, page: u64) -> Outcome {
    let found = Arc::new(Mutex::new(Vec::<(Arc<Peer>, u64)>::new()));
    let into = found.clone();
    let look: Looks = Arc::new(move |client: &Client| {
        if !client.is_named_by(&selector) {
            return Look::Next;
        }
        let mut found = into.lock();
        found.push((client.peer.clone(), client.connected_ms()));
        if found.len() < ROWS_MAX { Look::Next } else { Look::Enough }
    });
    let (mut worker, mut from) = ((page >> 32) as usize, page as u32);
    let mut next_page = 0;
    while worker < scanner.node.workers() {
        if let Some(next) = scanner.one(worker, from, &look)? {
            next_page = (worker as u64) << 32 | u64::from(next);
            break;
        }
        (worker, from) = (worker + 1, 0);
    }
    let rows: Vec<String> =
        found.lock().iter().map(|(peer, connected_ms)| rows::session(peer, *connected_ms)).collect();
    Ok(Reply { count: rows.len() as u64, rows, next_page, value: None })
}
