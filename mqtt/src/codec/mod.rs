//! Bytes: framing, fields, properties, writing.

pub mod frame;
pub mod properties;
pub mod read;
pub mod write;
