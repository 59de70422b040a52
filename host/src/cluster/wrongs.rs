//! What another node does wrong, or what of it has no room here: a few are told, so that no node fills the log of another.

use std::collections::HashMap;

use gatemq_cluster::core::NodeName;

/// So many of a node are told in so many milliseconds; the others are counted.
const TOLD_MAX: u64 = 5;
const TOLD_MS: u64 = 10_000;

/// By node; those that were members.
#[derive(Default)]
pub(super) struct Wrongs(HashMap<NodeName, Wrong>);

#[derive(Default)]
struct Wrong {
    since_ms: u64,
    count: u64,
}

impl Wrongs {
    /// As it is to be told, with how many before were not; `None`: it is not.
    pub(super) fn note(&mut self, node: &NodeName, what: impl Into<String>, now_ms: u64) -> Option<String> {
        let wrong = self.0.entry(node.clone()).or_default();
        let mut untold = 0;
        if now_ms >= wrong.since_ms.saturating_add(TOLD_MS) {
            untold = wrong.count.saturating_sub(TOLD_MAX);
            *wrong = Wrong { since_ms: now_ms, count: 0 };
        }
        wrong.count += 1;
        match (wrong.count <= TOLD_MAX, untold) {
            (false, _) => None,
            (true, 0) => Some(what.into()),
            (true, _) => Some(format!("{}; {untold} before were not told", what.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 6: a node that does nothing but wrong costs others a few lines, and how often is told; another node's are told all the same.
    #[test]
    fn promise_6_a_few_wrongs_are_told() {
        let [bad, other] = ["bad", "other"].map(|name| NodeName::new(name).unwrap());
        let mut wrongs = Wrongs::default();
        let told: Vec<_> = (0..100).filter_map(|_| wrongs.note(&bad, "x", 20_000)).collect();
        assert_eq!(told, ["x"; 5]);
        assert_eq!(wrongs.note(&other, "y", 20_000).as_deref(), Some("y"));
        assert_eq!(wrongs.note(&bad, "x", 30_000).as_deref(), Some("x; 95 before were not told"));
        assert_eq!(wrongs.note(&bad, "x", 30_000).as_deref(), Some("x"));
    }
}
