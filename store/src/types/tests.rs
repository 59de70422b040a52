//! Values survive being written and read, and what is cut or changed is refused or read as something else, never worse.

use gatemq_types::{Denial, Subject};

use super::{denial, *};
use crate::Epoch;

fn message() -> Message {
    Message::new("a/b", &[1, 1], b"payload", 77).unwrap()
}

fn numbered() -> Message {
    Message::of_publication(9 << 40, "a/b", &[1, 1], b"payload", 77).unwrap()
}

fn record() -> Record {
    let owner = Owner { tenant: "t".into(), user: "ü".into(), client_id: "".into() };
    let will = Some(Will { message: message(), first: 0x33, delay_s: 5, asked: true });
    let state = [9, 9, 9].into();
    Record { owner, epoch: Epoch(3), node: 4, version: 8, level: 5, expiry_s: 6, away_since_ms: 7, will, state }
}

fn denial_of(subject: Subject) -> Denial {
    Denial { subject, until_ms: 5, reason: "why".into(), raised_by: "who".into() }
}

/// Whether something reads it.
type Reads = fn(&[u8]) -> bool;

fn values() -> Vec<(Vec<u8>, Reads)> {
    let subscription = Subscription { filter: "a/+".into(), options: 0x2D, identifier: 268_435_455 };
    let (user, client_id, tags) = ("u".into(), "c".into(), ["tag".into(), "".into()].into());
    let leaf_sha256 = Some([7; 32]);
    let retained = Retained { message: message(), qos: 2, withheld: true, user, client_id, tags, leaf_sha256 };
    assert_eq!(Message::read(message().as_bytes()), Some(message()));
    assert_eq!(Message::read(numbered().as_bytes()), Some(numbered()));
    assert_eq!(Record::read(&record().write()), Some(record()));
    assert_eq!(Subscription::read(&subscription.write()), Some(subscription.clone()));
    assert_eq!(Retained::read(&retained.write("t")), Some(("t".into(), retained.clone())));
    let denied = denial_of(Subject::User { tenant: "t".into(), user: "u".into() });
    assert_eq!(denial::read(&denial::write(&denied)), Some(denied.clone()));
    let kept = KeptValue { until_ms: 9, bytes: [1, 2].into() };
    assert_eq!(KeptValue::read(&kept.write("o", "k")), Some(("o", "k", kept.clone())));
    vec![
        (message().as_bytes().to_vec(), |bytes| Message::read(bytes).is_some()),
        (numbered().as_bytes().to_vec(), |bytes| Message::read(bytes).is_some()),
        (record().write(), |bytes| Record::read(bytes).is_some()),
        (subscription.write(), |bytes| Subscription::read(bytes).is_some()),
        (retained.write("t"), |bytes| Retained::read(bytes).is_some()),
        (denial::write(&denied), |bytes| denial::read(bytes).is_some()),
        (kept.write("o", "k"), |bytes| KeptValue::read(bytes).is_some()),
    ]
}

/// Guards reading: no length is believed, another version is refused, and no byte makes it panic or allocate what is not there.
#[test]
fn what_is_not_whole_is_refused() {
    for (bytes, reads) in values() {
        assert!(reads(&bytes));
        for length in 0..6.min(bytes.len()) {
            assert!(!reads(&bytes[..length]), "{length} of {bytes:?}");
        }
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let read = reads(&changed);
                assert!(at > 0 || !read, "another version");
            }
        }
    }
}

/// Guards lengths: a part that says that it is 4 GiB long is refused at once.
#[test]
fn a_huge_length_is_refused() {
    let mut bytes = record().write();
    // The tenant's, behind the format's version, epoch, node and version.
    bytes[25..29].copy_from_slice(&[0xFF; 4]);
    assert!(Record::read(&bytes).is_none());
}

/// Guards the parts of a message, and the bound of topics.
#[test]
fn a_message_has_its_parts() {
    for (message, publication) in [(message(), 0), (numbered(), 9 << 40)] {
        assert_eq!((message.topic(), message.properties(), message.payload()), ("a/b", &[1, 1][..], &b"payload"[..]));
        assert_eq!((message.len(), message.expires_ms(), message.publication()), (12, 77, publication));
        assert_eq!(Message::len_of(message.as_bytes()), 12);
    }
    assert!(Message::new(&"t".repeat(65_536), &[], &[], 0).is_none());
    assert!(Message::new("", &[], &[], 0).unwrap().is_empty());
}
