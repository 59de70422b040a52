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

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::super::{Version, named};
    use super::*;

    fn fits_bytes(wanted: &str, bytes: &[u8], version: Version, variables: &mut Variables) -> bool {
        let wanted = named::parse(wanted).unwrap().unwrap();
        super::fits(&wanted, &decode(bytes, version).unwrap(), variables)
    }

    /// Guards the tables' teeth: each field counts, and what is there unnamed counts too.
    #[test]
    fn every_field_counts() {
        let bytes = b"\x3B\x0E\0\x01t\0\x07\x07\x26\0\x01k\0\x01vx";
        let right = "PUBLISH t x qos=1 id=7 retain dup=1 user-property=k:v";
        let v50 = |wanted: &str| fits_bytes(wanted, bytes, Version::V50, &mut Variables::new());
        assert!(v50(right) && v50("PUBLISH t ..") && v50("PUBLISH * * qos=* id=1..7 retain dup user-property=*"));
        for (from, to) in [
            (" t ", " u "),
            (" x ", " y "),
            ("qos=1", "qos=2"),
            ("id=7", "id=8"),
            ("id=7", "id=8..9"),
            ("retain ", ""),
            ("dup=1", "dup=0"),
            ("user-property=k:v", ""),
            ("user-property=k:v", "!user-property"),
            ("k:v", "k:w"),
            ("k:v", "k:v user-property=k:v"),
            ("k:v", "k:v topic-alias=1"),
            ("PUBLISH t x", "PUBLISH t"),
        ] {
            assert!(!v50(&right.replacen(from, to, 1)), "{from} {to}");
        }
        assert!(!v50("PUBACK 7 .."));
    }

    /// Guards variables: the first packet sets them, later ones must agree; one that does not fit sets nothing.
    #[test]
    fn variables_are_kept() {
        let mut variables = Variables::new();
        let mut fits = |wanted: &str, id: u8| fits_bytes(wanted, &[0x40, 2, 0, id], Version::V311, &mut variables);
        assert!(!fits("PUBREC @a", 1));
        assert!(fits("PUBACK @a", 2) && fits("PUBACK @a", 2) && !fits("PUBACK @a", 3));
        assert!(fits("PUBACK !@a,b", 3) && !fits("PUBACK !@a,b", 2));
    }

    /// Guards what the broker may add: properties of acknowledgements, not their codes, and not to a PUBLISH.
    #[test]
    fn a_broker_may_say_more_where_it_may() {
        let v50 = |wanted: &str, bytes: &[u8]| fits_bytes(wanted, bytes, Version::V50, &mut Variables::new());
        let puback = b"\x40\x08\0\x01\x87\x04\x1F\0\x01w";
        assert!(v50("PUBACK 1 0x87", puback) && v50("PUBACK 1 0x87 reason-string=w", puback));
        assert!(!v50("PUBACK 1", puback) && !v50("PUBACK 1 0x87 !reason-string", puback));
        assert!(v50("PUBACK 1", b"\x40\x02\0\x01") && v50("PUBACK 1 0", b"\x40\x03\0\x01\0"));
    }
}
