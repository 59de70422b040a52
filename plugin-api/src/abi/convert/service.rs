//! Requests to the host and its replies.

use std::net::SocketAddr;

use abi_stable::std_types::{RString, RVec};
use gatemq_types::service::{Message, Reply, Request, RevokeRetained, Selector, ServiceError};
use gatemq_types::{QoS, Subject};

use super::super::v1_0::{AddressRecord, ReplyRecord, RequestRecord, SelectorRecord, SubjectRecord};
use super::client::{address_from, address_to};
use super::{text_from, text_to};

fn selector_to(s: &Selector) -> SelectorRecord {
    SelectorRecord {
        tenant: text_to(&s.tenant),
        user: text_to(&s.user),
        client_id: text_to(&s.client_id),
        connection: s.connection.into(),
        tag: text_to(&s.tag),
        leaf_sha256: s.leaf_sha256.into(),
    }
}

fn selector_from(s: &SelectorRecord) -> Selector {
    Selector {
        tenant: text_from(&s.tenant),
        user: text_from(&s.user),
        client_id: text_from(&s.client_id),
        connection: s.connection.into_option(),
        tag: text_from(&s.tag),
        leaf_sha256: s.leaf_sha256.into_option(),
    }
}

fn nobody() -> SubjectRecord {
    SubjectRecord {
        kind: 0,
        address: AddressRecord { v6: false, ip: [0; 16], port: 0 },
        bits: 0,
        sha256: [0; 32],
        tenant: RString::new(),
        user: RString::new(),
        client_id: RString::new(),
    }
}

fn subject_to(s: &Subject) -> SubjectRecord {
    match s {
        Subject::Address { address, bits } => {
            SubjectRecord { kind: 1, address: address_to(SocketAddr::new(*address, 0)), bits: *bits, ..nobody() }
        }
        Subject::Certificate(sha256) => SubjectRecord { kind: 2, sha256: *sha256, ..nobody() },
        Subject::Key(sha256) => SubjectRecord { kind: 3, sha256: *sha256, ..nobody() },
        Subject::Issuer(sha256) => SubjectRecord { kind: 6, sha256: *sha256, ..nobody() },
        Subject::User { tenant, user } => {
            SubjectRecord { kind: 4, tenant: tenant.as_str().into(), user: user.as_str().into(), ..nobody() }
        }
        Subject::Client { tenant, user, client_id } => SubjectRecord {
            kind: 5,
            tenant: tenant.as_str().into(),
            user: user.as_str().into(),
            client_id: client_id.as_str().into(),
            ..nobody()
        },
    }
}

fn subject_from(s: &SubjectRecord) -> Result<Subject, ServiceError> {
    let (tenant, user) = (s.tenant.to_string(), s.user.to_string());
    Ok(match s.kind {
        1 => Subject::Address { address: address_from(&s.address).ip(), bits: s.bits },
        2 => Subject::Certificate(s.sha256),
        3 => Subject::Key(s.sha256),
        4 => Subject::User { tenant, user },
        5 => Subject::Client { tenant, user, client_id: s.client_id.to_string() },
        6 => Subject::Issuer(s.sha256),
        _ => return Err(ServiceError::NotSupported),
    })
}

/// For the host.
pub fn request_to(request: &Request) -> RequestRecord {
    let mut r = RequestRecord {
        kind: 0,
        selector: selector_to(&Selector::default()),
        subject: nobody(),
        text: RString::new(),
        key: RString::new(),
        value: RVec::new(),
        number: 0,
        qos: 0,
        retain: false,
        attributes: RVec::new(),
    };
    match request {
        Request::Disconnect { selector, reason } => {
            (r.kind, r.selector, r.text) = (1, selector_to(selector), reason.as_str().into());
        }
        Request::Deny { subject, ttl_ms, reason } => {
            (r.kind, r.subject, r.number, r.text) = (2, subject_to(subject), *ttl_ms, reason.as_str().into());
        }
        Request::Allow { subject } => (r.kind, r.subject) = (3, subject_to(subject)),
        Request::Denials { page } => (r.kind, r.number) = (4, *page),
        Request::Revoke { selector, retained } => {
            (r.kind, r.selector, r.number) = (5, selector_to(selector), *retained as u64);
        }
        Request::Publish(m) => {
            (r.kind, r.text, r.key) = (6, m.tenant.as_str().into(), m.topic.as_str().into());
            (r.value, r.qos, r.retain) = (m.payload.clone().into(), m.qos.bits(), m.retain);
        }
        Request::Sessions { selector, page } => (r.kind, r.selector, r.number) = (7, selector_to(selector), *page),
        Request::Get { key } => (r.kind, r.key) = (8, key.as_str().into()),
        Request::Put { key, value, ttl_ms } => {
            (r.kind, r.key, r.value, r.number) = (9, key.as_str().into(), value.clone().into(), *ttl_ms);
        }
        Request::Remove { key } => (r.kind, r.key) = (10, key.as_str().into()),
    }
    r
}

/// From the plugin.
///
/// # Errors
/// `NotSupported` for a kind that this host does not know, `Invalid` for a value without a meaning.
pub fn request_from(r: &RequestRecord) -> Result<Request, ServiceError> {
    Ok(match r.kind {
        1 => Request::Disconnect { selector: selector_from(&r.selector), reason: r.text.to_string() },
        2 => Request::Deny { subject: subject_from(&r.subject)?, ttl_ms: r.number, reason: r.text.to_string() },
        3 => Request::Allow { subject: subject_from(&r.subject)? },
        4 => Request::Denials { page: r.number },
        5 => Request::Revoke {
            selector: selector_from(&r.selector),
            retained: match r.number {
                1 => RevokeRetained::Keep,
                2 => RevokeRetained::Withhold,
                3 => RevokeRetained::Remove,
                _ => return Err(ServiceError::Invalid),
            },
        },
        6 => Request::Publish(Message {
            tenant: r.text.to_string(),
            topic: r.key.to_string(),
            payload: r.value.to_vec(),
            qos: QoS::from_bits(r.qos).ok_or(ServiceError::Invalid)?,
            retain: r.retain,
        }),
        7 => Request::Sessions { selector: selector_from(&r.selector), page: r.number },
        8 => Request::Get { key: r.key.to_string() },
        9 => Request::Put { key: r.key.to_string(), value: r.value.to_vec(), ttl_ms: r.number },
        10 => Request::Remove { key: r.key.to_string() },
        _ => return Err(ServiceError::NotSupported),
    })
}

/// For the plugin.
pub fn reply_to(reply: Result<Reply, ServiceError>) -> ReplyRecord {
    let (error, reply) = match reply {
        Ok(reply) => (0, reply),
        Err(e) => (e as u32, Reply::default()),
    };
    ReplyRecord {
        error,
        count: reply.count,
        rows: reply.rows.into_iter().map(RString::from).collect(),
        next_page: reply.next_page,
        value: reply.value.map(RVec::from).into(),
        attributes: RVec::new(),
    }
}

/// From the host.
///
/// # Errors
/// What the host said; a number without a meaning is `Unavailable`.
pub fn reply_from(r: ReplyRecord) -> Result<Reply, ServiceError> {
    match r.error {
        0 => Ok(Reply {
            count: r.count,
            rows: r.rows.into_iter().map(RString::into_string).collect(),
            next_page: r.next_page,
            value: r.value.into_option().map(RVec::into_vec),
        }),
        1 => Err(ServiceError::NotSupported),
        2 => Err(ServiceError::NotFound),
        3 => Err(ServiceError::NotAllowed),
        4 => Err(ServiceError::Invalid),
        5 => Err(ServiceError::Busy),
        _ => Err(ServiceError::Unavailable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that every request arrives as it was made.
    #[test]
    fn requests_round_trip() {
        let selector = Selector { tenant: Some("t".into()), connection: Some(4), ..Selector::default() };
        let address = Subject::Address { address: "2001:db8::1".parse().unwrap(), bits: 64 };
        let client = Subject::Client { tenant: "t".into(), user: "u".into(), client_id: "c".into() };
        let message =
            Message { tenant: "t".into(), topic: "a/b".into(), payload: vec![1], qos: QoS::AtLeastOnce, retain: true };
        for request in [
            Request::Disconnect { selector: selector.clone(), reason: "r".into() },
            Request::Deny { subject: address, ttl_ms: 5, reason: "r".into() },
            Request::Deny { subject: Subject::Key([7; 32]), ttl_ms: 0, reason: "r".into() },
            Request::Allow { subject: client },
            Request::Deny { subject: Subject::Issuer([8; 32]), ttl_ms: 1, reason: "r".into() },
            Request::Denials { page: 2 },
            Request::Revoke { selector: selector.clone(), retained: RevokeRetained::Withhold },
            Request::Publish(message),
            Request::Sessions { selector, page: 1 },
            Request::Get { key: "k".into() },
            Request::Put { key: "k".into(), value: vec![9], ttl_ms: 3 },
            Request::Remove { key: "k".into() },
        ] {
            assert_eq!(request_from(&request_to(&request)), Ok(request));
        }
    }
}
