//! Reads JSON of the API, without accepting arrays as objects.
//!
//! A derived `Deserialize` of a struct also accepts an array, whose items are the fields in source
//! order. No caller means that, and the array does not name its fields. It is refused here at any
//! depth.
//!
//! A body is read twice: first as usual, which reports errors by line and column, then by
//! [`Objects`], which refuses an array for a struct.

mod verbatim;

use picloud_shared::execution::without_bom;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

pub use verbatim::Verbatim;

/// Reads a JSON text.
///
/// # Errors
/// As for `serde_json`; also for an array instead of an object.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let text = without_bom(text);
    let read = serde_json::from_slice(text)?;
    check_objects::<T>(text)?;
    Ok(read)
}

/// Refuses a JSON text that has an array where `T` has an object.
///
/// # Errors
/// For such an array.
pub fn check_objects<T: DeserializeOwned>(text: &[u8]) -> Result<(), Error> {
    let Verbatim(value) = serde_json::from_slice(text)?;
    T::deserialize(Objects(value)).map(drop)
}

/// Checks that a body is JSON that a script can read: at most 127 levels deep, and without numbers
/// out of range.
///
/// # Errors
/// As for `serde_json`.
pub fn check_well_formed(text: &[u8]) -> Result<(), Error> {
    serde_json::from_slice::<WellFormed>(without_bom(text)).map(drop)
}

/// Deserializes a field that is an object inside a tagged enum. serde copies the enum's content
/// before [`Objects`] can see how it is read.
///
/// # Errors
/// For an array.
pub fn optional_object<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(from)?.map(|object| object.0))
}

/// A value that can only be read from an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(OfMap(std::marker::PhantomData))
    }
}

struct OfMap<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A JSON value that refuses to be read as a struct if it is an array.
struct Objects(Value);

impl<'de> IntoDeserializer<'de, Error> for Objects {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Objects {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            // serde reads the tag from the first item of an array.
            Value::Array(_) if says(&visitor, "internally tagged enum") => {
                Err(de::Error::invalid_type(Unexpected::Seq, &visitor))
            }
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Self));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (name, Self(value)));
                let mut fields = MapDeserializer::new(fields);
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Also used for the content of an enum variant with fields.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            // A variant's name is a text; serde also accepts `{"name": null}`.
            Value::Object(fields) if fields.values().all(Value::is_null) => {
                Err(de::Error::invalid_type(Unexpected::Map, &visitor))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (name, Self(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(fields)))
            }
            name_alone => name_alone.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

/// Whether the visitor's expectation contains this text.
fn says<'de>(visitor: &impl Visitor<'de>, what: &str) -> bool {
    struct Expected<'v, V>(&'v V);
    impl<'de, V: Visitor<'de>> std::fmt::Display for Expected<'_, V> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.expecting(f)
        }
    }
    Expected(visitor).to_string().contains(what)
}

/// Any JSON value, read with the guest's limits on depth and numbers, but not stored.
struct WellFormed;

impl<'de> Deserialize<'de> for WellFormed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for WellFormed {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self, E> {
        if number.is_finite() { Ok(self) } else { Err(E::custom("number out of range")) }
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<String, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Option<Inner>,
        #[serde(default)]
        many: Vec<Inner>,
        #[serde(default)]
        by_name: BTreeMap<String, Inner>,
        #[serde(default)]
        tagged: Option<Tagged>,
        #[serde(default)]
        kind: Kind,
        #[serde(default)]
        any: Value,
        #[serde(default)]
        pairs: Vec<(String, i64)>,
        #[serde(default)]
        set: BTreeSet<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        #[serde(default)]
        a: Option<i64>,
        #[serde(default)]
        b: bool,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "mode", rename_all = "snake_case")]
    enum Tagged {
        One { a: i64 },
        Two(Two),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Two {
        #[serde(default, deserialize_with = "optional_object")]
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        Small,
        Large,
        With {
            a: i64,
        },
    }

    fn read(text: &str) -> Result<Outer, String> {
        from_slice(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        for array in [
            "[null]",
            "[null, [], {}]",
            r#"{"inner": []}"#,
            r#"{"inner": [1, true]}"#,
            r#"{"many": [[1]]}"#,
            r#"{"many": [{}, [1]]}"#,
            r#"{"by_name": {"x": [1]}}"#,
            r#"{"tagged": ["one", 1]}"#,
            r#"{"tagged": ["two", null]}"#,
            r#"{"tagged": {"mode": "two", "inner": [1]}}"#,
            r#"{"kind": {"with": [1]}}"#,
        ] {
            let said = read(array).unwrap_err();
            assert!(said.contains("invalid type: sequence"), "{array}: {said}");
        }
    }

    #[test]
    fn a_name_is_no_object() {
        for object in [r#"{"kind": {"large": null}}"#, r#"{"set": ["small", {"large": null}]}"#] {
            let said = read(object).unwrap_err();
            assert!(said.contains("invalid type: map"), "{object}: {said}");
        }
    }

    #[test]
    fn what_is_meant_is_read_as_before() {
        for text in [
            "{}",
            r#"{"inner": {"a": 1, "b": true}, "many": [{}, {"a": null}], "kind": "large"}"#,
            r#"{"by_name": {"x": {"a": -1}}, "any": [1, [2], {"a": [3.5]}], "pairs": [["a", 1]]}"#,
            r#"{"tagged": {"mode": "one", "a": 1}, "set": ["small", "large", {"with": {"a": 1}}]}"#,
            r#"{"tagged": {"mode": "two", "inner": {"a": 1}}, "kind": {"with": {"a": 2}}}"#,
            r#"{"tagged": {"mode": "two", "inner": null}}"#,
            r#"{"any": 18446744073709551615, "inner": {"a": 9223372036854775807}}"#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str(text).unwrap(), "{text}");
        }
        let twice = read(r#"{"inner": {}, "inner": {}}"#).unwrap_err();
        assert!(twice.contains("duplicate field") && twice.contains("column"), "{twice}");
        assert!(read(r#"{"more": 1}"#).unwrap_err().contains("unknown field"));
    }
}
