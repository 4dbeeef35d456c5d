//! Masks values in JSON, so that the result is still JSON.

use serde_json::{Map, Value};

use super::{MASK, Masker};
use crate::json::Verbatim;

impl Masker {
    /// Returns JSON text with values masked, as valid JSON.
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

    /// Returns a JSON value with secrets masked, both in its parts and in its text.
    #[must_use]
    pub fn json(&self, value: Value) -> Value {
        if self.is_none() {
            return value;
        }
        let masked = self.parts(value);
        // A secret can itself be JSON that is part of this value.
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

    /// Returns a masked text as a JSON string, unless writing it creates a secret value.
    fn written(&self, text: &str) -> Value {
        let value = Value::from(text);
        if self.finds(value.to_string().as_bytes()) { Value::from(MASK) } else { value }
    }
}
