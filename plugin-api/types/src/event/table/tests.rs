//! What the table of events must hold to.

use super::*;

/// Guards the table: numbers and names are unique.
#[test]
fn numbers_and_names_are_unique() {
    for (i, a) in EventKind::ALL.iter().enumerate() {
        for b in &EventKind::ALL[i + 1..] {
            assert!(a.number() != b.number() && a.name() != b.name(), "{a:?} {b:?}");
        }
    }
}

/// Guards the one walk that all forms of an event derive from.
#[test]
fn fields_come_in_order() {
    let fact = Fact::EventsLost { ring: "peers".into(), from: 3, to: 9, count: 5 };
    let mut seen = Vec::new();
    fact.fields(&mut |name, value| seen.push((name, value)));
    assert_eq!(
        seen,
        [
            ("ring", Value::Text("peers")),
            ("from", Value::Number(3)),
            ("to", Value::Number(9)),
            ("count", Value::Number(5))
        ]
    );
}
