//! Masking JSON so that JSON remains.

use serde_json::{Map, Value};

use super::{MASK, Masker};
use crate::json::Verbatim;

impl Masker {
    /// JSON text without the values, and still JSON.
    #[must_use]
    pub fn json_text(&self, text: String) -> String {
        if !self.finds(text.as_bytes()) {
            return text;
        }
        match Verbatim::read(&text) {
            Ok(value) => self.json(value).to_string(),
            Err(_) => self.written(&self.text(&text)).to_string(),
        }
    }

    /// A value of JSON without the values of secrets, written or read.
    #[must_use]
    pub fn json(&self, value: Value) -> Value {
        if self.is_none() {
            return value;
        }
        let masked = self.parts(value);
        // A secret may be JSON itself, and stand here in its parts.
        let text = masked.to_string();
        if self.finds(text.as_bytes()) { self.written(&self.text(&text)) } else { masked }
    }

    fn parts(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.parts(item)).collect(),
            Value::Object(members) => {
                let members = members
                    .into_iter()
                    .map(|(name, value)| (self.text(&name).into_owned(), self.parts(value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let text = value.to_string();
                if self.finds(text.as_bytes()) {
                    Value::String(self.text(&text).into_owned())
                } else {
                    value
                }
            }
        }
    }

    /// A masked text as a string of JSON, if writing it makes no value of it.
    fn written(&self, text: &str) -> Value {
        let value = Value::from(text);
        if self.finds(value.to_string().as_bytes()) { Value::from(MASK) } else { value }
    }
}
