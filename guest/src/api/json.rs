//! `json::*`.

use picloud_shared::execution::without_bom;
use rhai::plugin::*;
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

/// Parses JSON bytes.
///
/// # Errors
/// Fails if they are not JSON, or nest deeper than 127.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Dynamic, Box<EvalAltResult>> {
    serde_json::from_slice(without_bom(bytes))
        .map_err(|error| format!("invalid JSON: {error}").into())
}

/// Returns the JSON form of a value.
///
/// # Errors
/// Fails if a number is not finite or the value has no JSON form.
pub(crate) fn to_bytes(value: &Dynamic) -> Result<Vec<u8>, Box<EvalAltResult>> {
    serde_json::to_vec(&Json(value))
        .map_err(|error| format!("the value has no JSON form: {error}").into())
}

/// [`to_bytes`] as text.
///
/// # Errors
/// Same as [`to_bytes`].
pub(crate) fn to_text(value: &Dynamic) -> Result<String, Box<EvalAltResult>> {
    serde_json::to_string(&Json(value))
        .map_err(|error| format!("the value has no JSON form: {error}").into())
}

/// Serialises a value as JSON, or fails. Rhai's own serialisation writes the name of a type that
/// has no JSON form.
struct Json<'a>(&'a Dynamic);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if let Ok(text) = value.as_immutable_string_ref() {
            return to.serialize_str(&text);
        }
        if let Ok(number) = value.as_int() {
            return to.serialize_i64(number);
        }
        if let Ok(map) = value.as_map_ref() {
            let mut entries = to.serialize_map(Some(map.len()))?;
            for (key, value) in map.iter() {
                entries.serialize_entry(key.as_str(), &Json(value))?;
            }
            return entries.end();
        }
        if let Ok(array) = value.as_array_ref() {
            return to.collect_seq(array.iter().map(Json));
        }
        if let Ok(flag) = value.as_bool() {
            return to.serialize_bool(flag);
        }
        if let Ok(number) = value.as_float() {
            return if number.is_finite() {
                to.serialize_f64(number)
            } else {
                Err(S::Error::custom(format!("{number} is not finite")))
            };
        }
        if value.is_unit() {
            return to.serialize_unit();
        }
        if let Ok(character) = value.as_char() {
            return to.serialize_char(character);
        }
        if let Ok(blob) = value.as_blob_ref() {
            return to.collect_seq(blob.iter());
        }
        // Our own types are named with their path.
        let kind = value.type_name().rsplit("::").next().unwrap_or_default();
        Err(S::Error::custom(format!("it holds a {kind}")))
    }
}

#[export_module]
pub(crate) mod functions {
    /// Parses a JSON text or blob.
    #[rhai_fn(return_raw)]
    pub fn parse(text: Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
        from_bytes(&super::super::bytes_of(&text)?)
    }

    /// Returns the JSON text of a value.
    #[rhai_fn(return_raw)]
    pub fn stringify(value: Dynamic) -> Result<String, Box<EvalAltResult>> {
        to_text(&value)
    }

    /// Returns the JSON text of a value, indented and on several lines.
    #[rhai_fn(return_raw)]
    pub fn stringify_pretty(value: Dynamic) -> Result<String, Box<EvalAltResult>> {
        serde_json::to_string_pretty(&Json(&value))
            .map_err(|error| format!("the value has no JSON form: {error}").into())
    }
}
