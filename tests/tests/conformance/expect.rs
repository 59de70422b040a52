//! Whether a packet is the one that a table wants.

use super::decode::Seen;
use super::named::{Named, Value};
use super::properties::is_property;
use super::raw::number;
use super::run::Variables;

/// Properties in these are the server's choice: those that a table does not name may be there or not.
const MAY_SAY_MORE: [&str; 8] =
    ["CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "DISCONNECT"];

/// Whether it fits; variables that are not known take their values.
pub(crate) fn fits(wanted: &Named, seen: &Seen, variables: &mut Variables) -> bool {
    if wanted.kind != seen.kind {
        return false;
    }
    let before = variables.clone();
    let fits = fields_fit(wanted, seen, variables);
    if !fits {
        *variables = before;
    }
    fits
}

fn fields_fit(wanted: &Named, seen: &Seen, variables: &mut Variables) -> bool {
    let more = |name: &str| wanted.open || MAY_SAY_MORE.contains(&wanted.kind) && is_property(name);
    let named = |name: &str| wanted.fields.iter().any(|(n, _)| n == name);
    if seen.fields.iter().any(|(name, _)| !named(name) && !more(name)) {
        return false;
    }
    let mut names: Vec<&str> = wanted.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().all(|name| {
        let mut found: Vec<&[u8]> = seen.fields.iter().filter(|(n, _)| *n == name).map(|(_, v)| &v[..]).collect();
        if name == "subscription-identifier" {
            found.sort_by_key(|id| number(id));
        }
        let values: Vec<&Value> = wanted.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v).collect();
        if found.is_empty() {
            return values.iter().all(|value| may_be_left_out(name, value));
        }
        found.len() == values.len() && found.iter().zip(values).all(|(seen, value)| value_fits(value, seen, variables))
    })
}

/// What [`Seen`] leaves out because it is the usual value.
fn may_be_left_out(name: &str, value: &Value) -> bool {
    match value {
        Value::Absent => true,
        Value::Any => name == "present",
        Value::Is(value) => !is_property(name) && number(value) == Some(0),
        Value::Variable(_) | Value::Not(_) | Value::Between(..) => false,
    }
}

fn value_fits(value: &Value, seen: &[u8], variables: &mut Variables) -> bool {
    match value {
        Value::Is(value) => value == seen || value.starts_with(b"0x") && number(value) == number(seen),
        Value::Any => true,
        Value::Absent => false,
        Value::Not(names) => names.iter().all(|name| variables.get(name).is_none_or(|value| value != seen)),
        Value::Between(low, high) => number(seen).is_some_and(|n| (*low..=*high).contains(&n)),
        Value::Variable(name) => variables.entry(name.clone()).or_insert_with(|| seen.to_vec()) == seen,
    }
}
