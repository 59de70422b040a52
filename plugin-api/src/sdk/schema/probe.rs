//! A look at one key: what would be read there?

use std::cell::Cell;

use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Broken, Step};

/// What is read at a key.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Shape {
    Flag,
    Integer,
    Number,
    Text,
    List,
    /// With keys of the operator's.
    Map,
    /// With these keys.
    Table(&'static [&'static str]),
    /// One of these words.
    OneOf(&'static [&'static str]),
    Any,
}

impl Shape {
    pub(super) fn word(self) -> &'static str {
        match self {
            Shape::Flag => "true or false",
            Shape::Integer => "integer",
            Shape::Number => "number",
            Shape::Text => "text",
            Shape::List => "list",
            Shape::Map => "table of any keys",
            Shape::Table(_) => "table",
            Shape::OneOf(_) => "one of some words",
            Shape::Any => "anything",
        }
    }
}

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    path: &'a [Step],
    found: &'a Cell<Option<Shape>>,
}

impl<'a> Probe<'a> {
    /// What `C` would read at `path`; `None`: nothing is read there.
    pub(super) fn ask<C: DeserializeOwned>(path: &[Step]) -> Option<Shape> {
        let found = Cell::new(None);
        // However it ends: what was found stands.
        let _ = C::deserialize(Probe { path, found: &found });
        found.get()
    }

    /// At its end it puts down the shape; before it, the next step is given.
    fn step(self, shape: Shape) -> Result<(Step, Probe<'a>), Broken> {
        match self.path.split_first() {
            Some((step, rest)) => Ok((*step, Probe { path: rest, ..self })),
            None => {
                self.found.set(Some(shape));
                Err(Broken::Off)
            }
        }
    }

    fn leaf<T>(self, shape: Shape) -> Result<T, Broken> {
        self.step(shape).and(Err(Broken::Off))
    }
}

macro_rules! leaves {
    ($($shape:ident: $($method:ident)*;)*) => {$($(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Broken> {
            self.leaf(Shape::$shape)
        }
    )*)*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Broken;

    leaves! {
        Flag: deserialize_bool;
        Integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
            deserialize_u32 deserialize_u64 deserialize_u128;
        Number: deserialize_f32 deserialize_f64;
        Text: deserialize_char deserialize_str deserialize_string deserialize_identifier;
        Any: deserialize_any deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_ignored_any;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Broken> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        let (_, rest) = self.step(Shape::List)?;
        visitor.visit_seq(One { key: None, value: Some(rest) })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Broken> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Broken> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        let (_, rest) = self.step(Shape::Map)?;
        visitor.visit_map(One { key: Some("x"), value: Some(rest) })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Broken> {
        match self.step(Shape::Table(fields))? {
            (Step::Field(name), rest) => visitor.visit_map(One { key: Some(name), value: Some(rest) }),
            _ => Err(Broken::Off),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Broken> {
        self.leaf(Shape::OneOf(variants))
    }
}

/// A table or list with one entry.
struct One<'a> {
    key: Option<&'static str>,
    value: Option<Probe<'a>>,
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Broken;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Broken> {
        self.key.take().map(|key| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Broken> {
        self.value.take().ok_or(Broken::Off).and_then(|value| seed.deserialize(value))
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Broken;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Broken> {
        self.value.take().map(|value| seed.deserialize(value)).transpose()
    }
}
