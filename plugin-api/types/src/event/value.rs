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

    /// One that tests fill in.
    fn filled(filling: &Filling) -> Self;
}

/// What tests of collectors fill every field of its type with.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Filling {
    /// Text.
    pub text: Cow<'static, str>,
    /// Numbers.
    pub number: u64,
    /// Flags.
    pub flag: bool,
    /// Certificates.
    pub chain: Vec<Der>,
}

impl FieldValue for u64 {
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }

    fn filled(filling: &Filling) -> Self {
        filling.number
    }
}

impl FieldValue for bool {
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }

    fn filled(filling: &Filling) -> Self {
        filling.flag
    }
}

impl FieldValue for Cow<'static, str> {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }

    fn filled(filling: &Filling) -> Self {
        filling.text.clone()
    }
}

impl FieldValue for Vec<Der> {
    fn value(&self) -> Value<'_> {
        Value::Chain(self)
    }

    fn filled(filling: &Filling) -> Self {
        filling.chain.clone()
    }
}
