//! Reads JSON from outside exactly as it is written.
//!
//! Other libraries enable a feature of `serde_json` (`raw_value`) that changes how a `Value` is
//! read. An object whose first name is a private name of that library is replaced by the JSON in
//! its text, past every limit on depth. A caller could then change what a script reads after it was
//! checked. So every `Value` of foreign JSON is read through [`Verbatim`].

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Number, Value};

/// Any JSON value, exactly as it was written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Verbatim(pub Value);

impl Verbatim {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// As for `serde_json`.
    pub fn read(text: &str) -> serde_json::Result<Value> {
        serde_json::from_str::<Self>(text).map(|read| read.0)
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AsWritten).map(Self)
    }
}

struct AsWritten;

impl<'de> Visitor<'de> for AsWritten {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Verbatim(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Verbatim(value))) = members.next_entry::<String, _>()? {
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_private_name_of_the_library_is_a_name() {
        for name in ["$serde_json::private::RawValue", "\\u0024serde_json::private::RawValue"] {
            let text = format!(r#"{{"{name}":"{{\"amount\":1}}","b":[{{"{name}":"1"}}]}}"#);
            let read = Verbatim::read(&text).unwrap();
            assert_eq!(read["$serde_json::private::RawValue"], "{\"amount\":1}");
            assert_eq!(read["b"][0]["$serde_json::private::RawValue"], "1");
        }
        let number = r#"{"$serde_json::private::Number":"1e999"}"#;
        assert_eq!(Verbatim::read(number).unwrap()["$serde_json::private::Number"], "1e999");
        // `serde_json` reads it differently; if this fails, the module is no longer needed.
        let text = r#"{"$serde_json::private::RawValue":"1"}"#;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!(1));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Verbatim::read(&nested(127)).is_ok());
        assert!(Verbatim::read(&nested(128)).is_err());
    }

    proptest! {
        #[test]
        fn all_else_is_read_as_the_library_does(text in r#"(\[|\{|\]|\}|"a"|:|,|1|-2.5|1e3|true|null| ){0,12}"#) {
            match (Verbatim::read(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(ours), Err(theirs)) => prop_assert_eq!(ours.to_string(), theirs.to_string()),
                both => prop_assert!(false, "{both:?}"),
            }
        }
    }
}
