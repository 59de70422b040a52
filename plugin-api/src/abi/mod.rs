//! The binary interface: frozen `repr(C)` records, one folder a minor version. Authors never name what is in here.
#![allow(unsafe_code, missing_docs, non_local_definitions, non_camel_case_types)]

pub mod convert;
pub mod entry;
pub mod header;
pub mod v1_0;

pub use header::{ENTRY_SYMBOL, Header, Root, header};
