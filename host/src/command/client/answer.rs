//! A response of the API: its value, and its JSON.

use picloud::json::Verbatim;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A response, or an item of one. It is written as the JSON that the server sent, with the fields
/// that this release does not know.
pub(in crate::command) struct Answer<T> {
    /// The value with its type.
    pub(in crate::command) value: T,
    json: Value,
}

impl<T> Answer<T> {
    /// Changes the value. The JSON stays.
    pub(in crate::command) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), json: self.json }
    }

    /// Returns the JSON with one more member.
    pub(in crate::command) fn json_with(&self, name: &str, member: Value) -> Value {
        let mut json = self.json.clone();
        if let Value::Object(members) = &mut json {
            members.insert(name.to_owned(), member);
        }
        json
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Answer<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Verbatim(json) = Verbatim::deserialize(from)?;
        let value = T::deserialize(&json).map_err(D::Error::custom)?;
        Ok(Self { value, json })
    }
}

impl<T> Serialize for Answer<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use picloud::manager::api::{App, Event};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_sent_is_written_again() {
        let text = r#"{"id":"7","name":"demo","description":"","created_at":0,"updated_at":1,
            "newer":{"$serde_json::private::RawValue":"1","a":1.0}}"#;
        let app: Answer<App> = serde_json::from_str(text).unwrap();
        assert_eq!((&*app.value.name, app.value.updated_at), ("demo", 1));
        let expected = Verbatim::read(text).unwrap();
        assert_eq!(serde_json::to_value(&app).unwrap(), expected);
        let more = app.json_with("log", json!([]));
        let Value::Object(members) = &more else { panic!("{more}") };
        assert_eq!(members.len(), 7);
    }

    #[test]
    fn a_payload_is_read_as_it_was_sent() {
        let text = r#"{"id":"7","state":"waiting","kind":"moon","operation":"send","source":"q",
            "payload":{"$serde_json::private::RawValue":"1"},"payload_bytes":1,
            "payload_is_left_out":false,"depth":1,"attempt":0,"available_at":0,"created_at":0}"#;
        let event: Answer<Event> = serde_json::from_str(text).unwrap();
        let payload = json!({ "$serde_json::private::RawValue": "1" });
        assert_eq!(event.value.payload, Verbatim(payload));
        assert_eq!(event.value.kind.to_string(), "moon");
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = serde_json::from_str::<Answer<App>>(r#"{"id":"7"}"#).err();
        assert!(error.is_some_and(|error| error.to_string().contains("missing field `name`")));
    }
}
