//! Keys: one byte says of what, numbers are big endian so that their order is that of the keys.
//!
//! | key | value |
//! |---|---|
//! | `c` | number of the last commit |
//! | `d` subject and who raised it | a denial |
//! | `n` | the next session's number |
//! | `p` number | a message that several queues share |
//! | `q` session seq | an entry of a queue |
//! | `r` tenant topic | a retained message |
//! | `s` session 0 | a session's record |
//! | `s` session 1 | the position of its queue |
//! | `s` session 2 filter | a subscription |
//! | `s` session 3 packet identifier | received and not released |
//! | `v` plugin key | a value that a plugin keeps |
//! | `x` session | a session that ended, of which parts are left |
//!
//! Everything stands in one ordered map: what is in it at one moment is then what one journal says, and a commit number
//! that is there proves all that came before.

use sha2::{Digest, Sha256};

use crate::SessionId;

/// See the module.
pub(crate) const COMMIT: &[u8] = b"c";
/// See the module.
pub(crate) const NEXT_SESSION: &[u8] = b"n";

/// Parts of a session.
pub(crate) mod part {
    pub(crate) const RECORD: u8 = 0;
    pub(crate) const POSITION: u8 = 1;
    pub(crate) const SUBSCRIPTION: u8 = 2;
    pub(crate) const INCOMING: u8 = 3;
}

/// Longest text that stands in a key as it is. Engines bound a key to 65,535 bytes; topics may have as many.
const TEXT_BYTES_MAX: usize = 200;

fn of(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Its length and the text, or 255 and its SHA-256: no two texts have the same, and none is the beginning of another.
fn text(text: &[u8]) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(length) if text.len() <= TEXT_BYTES_MAX => of(length, &[text]),
        _ => of(u8::MAX, &[&Sha256::digest(text)]),
    }
}

/// All keys that begin with this one are below.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

pub(crate) fn denial(name: &[u8]) -> Vec<u8> {
    of(b'd', &[&text(name)])
}

pub(crate) fn payload(number: u64) -> Vec<u8> {
    of(b'p', &[&number.to_be_bytes()])
}

pub(crate) fn entry(session: SessionId, seq: u64) -> Vec<u8> {
    of(b'q', &[&session.0.to_be_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn queue(session: SessionId) -> Vec<u8> {
    of(b'q', &[&session.0.to_be_bytes()])
}

pub(crate) fn retained(tenant: &str, topic: &str) -> Vec<u8> {
    of(b'r', &[&text(tenant.as_bytes()), &text(topic.as_bytes())])
}

pub(crate) fn session(session: SessionId) -> Vec<u8> {
    of(b's', &[&session.0.to_be_bytes()])
}

pub(crate) fn session_part(session: SessionId, part: u8) -> Vec<u8> {
    of(b's', &[&session.0.to_be_bytes(), &[part]])
}

pub(crate) fn subscription(session: SessionId, filter: &str) -> Vec<u8> {
    of(b's', &[&session.0.to_be_bytes(), &[part::SUBSCRIPTION], &text(filter.as_bytes())])
}

pub(crate) fn incoming(session: SessionId, packet_id: u16) -> Vec<u8> {
    of(b's', &[&session.0.to_be_bytes(), &[part::INCOMING], &packet_id.to_be_bytes()])
}

pub(crate) fn value(owner: &str, key: &str) -> Vec<u8> {
    of(b'v', &[&text(owner.as_bytes()), &text(key.as_bytes())])
}

pub(crate) fn ended(session: SessionId) -> Vec<u8> {
    of(b'x', &[&session.0.to_be_bytes()])
}

/// The number behind the first byte, and what follows.
pub(crate) fn number(key: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = key.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that no two things share a key, also when a client chooses the texts and they are long, and that a key
    /// stays short.
    #[test]
    fn keys_tell_apart() {
        let long = "t".repeat(65_535);
        let texts = ["", "a", "a/b", "\u{ff}", &long[..200], &long[..201], &long];
        let mut keys = Vec::new();
        for tenant in texts {
            keys.extend(texts.iter().map(|topic| retained(tenant, topic)));
        }
        keys.extend(texts.iter().flat_map(|owner| texts.map(|key| value(owner, key))));
        keys.extend(texts.iter().map(|filter| subscription(SessionId(1), filter)));
        keys.extend([1, 2, 255, 256, u64::MAX].iter().flat_map(|n| [entry(SessionId(*n), 7), entry(SessionId(7), *n)]));
        assert!(keys.iter().all(|key| key.len() < 500));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    /// Guards ranges: nothing that begins with a prefix is missed, nothing else is in it.
    #[test]
    fn a_prefix_ends() {
        assert_eq!(behind(b"q"), b"r");
        assert_eq!(behind(&[1, 255]), [2]);
        assert_eq!(behind(&queue(SessionId(u64::MAX))), b"r");
        assert!(entry(SessionId(5), u64::MAX) < behind(&queue(SessionId(5))));
    }
}
