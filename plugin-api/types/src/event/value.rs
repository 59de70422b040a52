//! Values of event fields, as collectors see them.

use std::borrow::Cow;

use crate::Der;

/// A field's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Text. What peers said is in here as they said it: escape it where it is shown.
    Text(&'a str),
    /// Certificates, leaf first.
    Chain(&'a [Der]),
}

/// What a field of the table may be.
pub trait FieldValue {
    /// As collectors see it.
    fn value(&self) -> Value<'_>;
}

impl FieldValue for u64 {
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
}

impl FieldValue for bool {
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl FieldValue for Cow<'static, str> {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl FieldValue for Vec<Der> {
    fn value(&self) -> Value<'_> {
        Value::Chain(self)
    }
}
