use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::InvalidBody;

/// Reads from a JSON value; errors on their way out gather the path they pass.
#[derive(Clone, Copy)]
pub(super) struct FromValue<'de>(pub(super) &'de Value);

impl<'de> FromValue<'de> {
    fn object<V: Visitor<'de>>(
        self,
        visitor: V,
        null_is_absent: bool,
    ) -> Result<V::Value, InvalidBody> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(Fields {
                fields: fields.iter(),
                next: None,
                null_is_absent,
            }),
            other => FromValue(other).deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for FromValue<'de> {
    type Error = InvalidBody;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidBody> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => {
                if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
            }),
            Value::Object(_) => self.object(visitor, false),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidBody> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, InvalidBody> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidBody> {
        match self.0 {
            // An array is not an object, though serde would read a struct from one.
            Value::Array(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
            _ => self.object(visitor, true),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidBody> {
        match self.0 {
            Value::String(text) => {
                let text: de::value::StrDeserializer<'_, InvalidBody> =
                    text.as_str().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Fields<'de> {
    fields: serde_json::map::Iter<'de>,
    next: Option<(&'de str, &'de Value)>,
    null_is_absent: bool,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = InvalidBody;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, InvalidBody> {
        for (name, value) in self.fields.by_ref() {
            self.next = Some((name.as_str(), value));
            let name = de::value::BorrowedStrDeserializer::new(name);
            if self.null_is_absent && value.is_null() {
                continue;
            }
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, InvalidBody> {
        let (name, value) = self
            .next
            .take()
            .expect("a value is asked for after its key");
        seed.deserialize(FromValue(value))
            .map_err(|error| error.in_field(name))
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = InvalidBody;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, InvalidBody> {
        let Some((index, value)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(FromValue(value))
            .map(Some)
            .map_err(|error| error.at_index(index))
    }
}
