//! The one conversion between the binary interface and the words of `gatemq-types`. Both sides of the border use it.
//!
//! What comes from the other side is not believed: a number without a meaning becomes the refusing value, never a
//! granting one.

mod client;
mod identity;
mod outcome;
mod service;

pub use client::{connect_from, connect_to, wipe, without_secrets};
pub use identity::{identity_from, identity_to};
pub use outcome::{UnknownCode, let_go, outcome_from, outcome_to, replace_bare, verdict_from, verdict_to};
pub use service::{reply_from, reply_to, request_from, request_to};

use abi_stable::std_types::{ROption, RString, RVec};

use super::v1_0::Pair;

fn pairs_to(pairs: &[(String, String)]) -> RVec<Pair> {
    pairs.iter().map(|(n, v)| Pair { name: n.as_str().into(), value: v.as_str().into() }).collect()
}

fn pairs_from(pairs: &[Pair]) -> Vec<(String, String)> {
    pairs.iter().map(|p| (p.name.as_str().to_owned(), p.value.as_str().to_owned())).collect()
}

fn text_to(text: &Option<String>) -> ROption<RString> {
    text.as_deref().map(RString::from).into()
}

fn text_from(text: &ROption<RString>) -> Option<String> {
    text.as_ref().into_option().map(|s| s.as_str().to_owned())
}
