//! An input that has the keys of a set and no others: what is missed then is needed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Broken, KEYS_MAX, Step};

type Paths = BTreeSet<Vec<Step>>;

/// See the module.
#[derive(Clone)]
pub(super) struct Given<'a> {
    path: Vec<Step>,
    given: &'a Paths,
    /// The table that ended last: what is missed right after is missed in it.
    ended: &'a RefCell<Vec<Step>>,
}

impl Given<'_> {
    /// Gives `C` what is in `given`, adds what it misses, and begins again, until nothing is missed or a made-up value does not
    /// please it. What was missed is put into `needed`.
    pub(super) fn miss<C: DeserializeOwned>(given: &mut Paths, needed: &mut Paths) {
        for _ in 0..KEYS_MAX {
            let ended = RefCell::default();
            let tried = C::deserialize(Given { path: Vec::new(), given, ended: &ended });
            let Err(Broken::Missing(name)) = tried else { return };
            let mut path = ended.into_inner();
            path.push(Step::Field(name));
            needed.insert(path.clone());
            if !given.insert(path) {
                return;
            }
        }
    }

    fn below(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Given { path, ..self.clone() }
    }

    fn has(&self, step: Step) -> bool {
        self.given.contains(&self.below(step).path)
    }
}

macro_rules! samples {
    ($($method:ident: $visit:ident($sample:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
            visitor.$visit($sample)
        }
    )*};
}

impl<'de> Deserializer<'de> for Given<'_> {
    type Error = Broken;

    samples! {
        deserialize_bool: visit_bool(false);
        deserialize_i8: visit_i8(1);
        deserialize_i16: visit_i16(1);
        deserialize_i32: visit_i32(1);
        deserialize_i64: visit_i64(1);
        deserialize_i128: visit_i128(1);
        deserialize_u8: visit_u8(1);
        deserialize_u16: visit_u16(1);
        deserialize_u32: visit_u32(1);
        deserialize_u64: visit_u64(1);
        deserialize_u128: visit_u128(1);
        deserialize_f32: visit_f32(1.0);
        deserialize_f64: visit_f64(1.0);
        deserialize_char: visit_char('x');
        deserialize_str: visit_str("x");
        deserialize_string: visit_str("x");
        deserialize_identifier: visit_str("x");
        deserialize_any: visit_str("x");
        deserialize_bytes: visit_bytes(b"x");
        deserialize_byte_buf: visit_bytes(b"x");
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Broken> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        // Empty, unless something in its elements is wanted: an element may be picky.
        let element = self.below(Step::Element);
        let is_wanted = self.given.range(element.path.clone()..).next().is_some_and(|p| p.starts_with(&element.path));
        visitor.visit_seq(Elements(is_wanted.then_some(element)))
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
        let keys = if self.has(Step::Value) { vec![(Step::Value, "x")] } else { Vec::new() };
        visitor.visit_map(Keys { of: self, keys, value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Broken> {
        let given = fields.iter().rev().map(|name| (Step::Field(name), *name)).filter(|(step, _)| self.has(*step));
        let keys = given.collect();
        visitor.visit_map(Keys { of: self, keys, value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Broken> {
        let first: StrDeserializer<'_, Broken> = variants.first().unwrap_or(&"").into_deserializer();
        visitor.visit_enum(first)
    }
}

/// The keys of a table that are given, the last one first.
struct Keys<'a> {
    of: Given<'a>,
    keys: Vec<(Step, &'static str)>,
    value: Option<Given<'a>>,
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Broken;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Broken> {
        let Some((step, name)) = self.keys.pop() else {
            self.of.ended.replace(self.of.path.clone());
            return Ok(None);
        };
        self.value = Some(self.of.below(step));
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Broken> {
        self.value.take().ok_or(Broken::Off).and_then(|value| seed.deserialize(value))
    }
}

/// A list of one element, or of none.
struct Elements<'a>(Option<Given<'a>>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Broken;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Broken> {
        self.0.take().map(|element| seed.deserialize(element)).transpose()
    }
}
