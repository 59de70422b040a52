//! Values that plugins keep, and their bytes.

use super::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// What a plugin keeps under a key of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptValue {
    /// Until when, in milliseconds since 1970; 0 is for ever. The store keeps it beyond that: whoever reads looks.
    pub until_ms: u64,
    /// The value.
    pub bytes: Box<[u8]>,
}

impl KeptValue {
    pub(crate) fn write(&self, owner: &str, key: &str) -> Vec<u8> {
        let mut writer = Writer::new(VERSION);
        writer.text(owner).text(key).u64(self.until_ms).raw(&self.bytes);
        writer.into_bytes()
    }

    /// Owner, key and value, as [`KeptValue::write`] wrote them.
    pub(crate) fn read(bytes: &[u8]) -> Option<(&str, &str, KeptValue)> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let (owner, key, until_ms) = (reader.text()?, reader.text()?, reader.u64()?);
        Some((owner, key, KeptValue { until_ms, bytes: reader.rest().into() }))
    }
}
