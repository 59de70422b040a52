//! Events for collectors, ordinary and odd ones of every kind.

use std::borrow::Cow;
use std::sync::Arc;

use gatemq_types::event::{Event, EventKind, Fact, Filling, Peer};
use gatemq_types::{Connect, Der};

/// An event about a client, with this sequence number.
pub fn event(sequence: u64, connect: &Connect, fact: Fact) -> Event {
    Event { sequence, time_ms: 951_782_400_007, node: "n1".into(), peer: Some(Arc::new(peer(connect))), fact }
}

/// Whom an event about this client is about; user and tenant are the user name and `acme`.
pub fn peer(connect: &Connect) -> Peer {
    Peer {
        connection: connect.connection,
        listener: connect.listener.as_str().into(),
        transport: connect.transport,
        remote: connect.remote,
        leaf_sha256: connect.tls.as_ref().and_then(|tls| tls.leaf_sha256),
        protocol: Some(connect.protocol),
        tenant: "acme".into(),
        user: connect.user_name.as_deref().unwrap_or_default().into(),
        client_id: connect.client_id.as_str().into(),
    }
}

/// One event of each kind about this client, whose fields are `text`, `number`, yes, and `chain`; their sequence begins with
/// `from`.
pub fn every_kind(from: u64, connect: &Connect, text: &str, number: u64, chain: &[Der]) -> Vec<Event> {
    let filling = Filling { text: Cow::Owned(text.to_owned()), number, flag: true, chain: chain.to_vec() };
    let facts = EventKind::ALL.iter().map(|kind| Fact::filled(*kind, &filling));
    (from..).zip(facts).map(|(sequence, fact)| event(sequence, connect, fact)).collect()
}
