//! `json::*`.

use rhai::plugin::*;

/// The value that JSON bytes stand for.
///
/// # Errors
/// When they are no JSON, or nested deeper than 128.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Dynamic, Box<EvalAltResult>> {
    serde_json::from_slice(bytes).map_err(|error| format!("invalid JSON: {error}").into())
}

/// The JSON form of a value.
///
/// # Errors
/// When a number is not finite or the value has no JSON form.
pub(crate) fn to_bytes(value: &Dynamic) -> Result<Vec<u8>, Box<EvalAltResult>> {
    serde_json::to_vec(value).map_err(|error| format!("the value has no JSON form: {error}").into())
}

/// [`to_bytes`] as text.
///
/// # Errors
/// As [`to_bytes`].
pub(crate) fn to_text(value: &Dynamic) -> Result<String, Box<EvalAltResult>> {
    serde_json::to_string(value)
        .map_err(|error| format!("the value has no JSON form: {error}").into())
}

#[export_module]
pub(crate) mod functions {
    /// The value that a JSON text or blob stands for.
    #[rhai_fn(return_raw)]
    pub fn parse(text: Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
        from_bytes(&super::super::bytes_of(&text)?)
    }

    /// The JSON text of a value.
    #[rhai_fn(return_raw)]
    pub fn stringify(value: Dynamic) -> Result<String, Box<EvalAltResult>> {
        to_text(&value)
    }

    /// The JSON text of a value, over several lines and indented.
    #[rhai_fn(return_raw)]
    pub fn stringify_pretty(value: Dynamic) -> Result<String, Box<EvalAltResult>> {
        serde_json::to_string_pretty(&value)
            .map_err(|error| format!("the value has no JSON form: {error}").into())
    }
}
