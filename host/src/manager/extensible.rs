//! The parts of a response that a newer server can extend.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::json::Verbatim;

/// A name or an object that can be unknown to this release, because a newer server sent it.
///
/// Types that requests use too refuse unknown names and fields. A client must still be able to read
/// a response with them.
///
/// Invariant: no field is lost when a value is read and written again. `T` refuses fields that it
/// does not have, so `Known` has all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Extensible<T> {
    /// A value that this release knows.
    Known(T),
    /// The JSON of another value.
    Newer(Verbatim),
}

impl<T> Extensible<T> {
    /// Returns the value, if this release knows it.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Newer(_) => None,
        }
    }
}

impl<T: Serialize> Extensible<T> {
    /// Reads the fields that the value has in every release; `None` if it lacks one.
    pub fn read<P: DeserializeOwned>(&self) -> Option<P> {
        P::deserialize(&serde_json::to_value(self).ok()?).ok()
    }
}

impl<T> From<T> for Extensible<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Extensible<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Verbatim::deserialize(from)?;
        Ok(match T::deserialize(&json.0) {
            Ok(value) => Self::Known(value),
            Err(_) => Self::Newer(json),
        })
    }
}

/// Writes a name as it is, and any other value as JSON.
impl<T: Serialize> fmt::Display for Extensible<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => f.pad(&name),
            Ok(json) => f.pad(&json.to_string()),
            Err(_) => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manager::policies::shape::{RateLimit, RouteAuth};
    use crate::store::TriggerKind;

    fn read<T: DeserializeOwned>(json: &Value) -> Extensible<T> {
        serde_json::from_str(&json.to_string()).unwrap()
    }

    #[test]
    fn a_known_value_has_its_type() {
        let kind: Extensible<TriggerKind> = read(&json!("queue"));
        assert_eq!(
            (kind.known(), format!("{kind:<7}|")),
            (Some(&TriggerKind::Queue), "queue  |".into())
        );
        let auth: Extensible<RouteAuth> = read(&json!({ "mode": "none" }));
        assert_eq!(auth.known(), Some(&RouteAuth::None {}));
    }

    #[test]
    fn a_newer_value_is_read_and_written_as_it_is() {
        let kind: Extensible<TriggerKind> = read(&json!("moon"));
        assert_eq!((kind.known(), kind.to_string()), (None, "moon".to_owned()));
        for auth in [
            json!({ "mode": "moon", "phase": 1.0 }),
            json!({ "mode": "key", "secrets": ["a"], "header": null, "phase": [null] }),
            json!({ "mode": "hmac", "secrets": ["a"], "preset": "moon" }),
            json!({ "mode": "hmac", "secrets": ["a"], "phase": 1 }),
        ] {
            let read: Extensible<RouteAuth> = read(&auth);
            assert!(read.known().is_none(), "{auth}");
            assert_eq!(serde_json::to_value(&read).unwrap(), auth);
        }
        let rate: Extensible<RateLimit> = read(&json!({ "requests": 1, "per_s": 2, "by": "moon" }));
        #[derive(Deserialize)]
        struct Requests {
            requests: u32,
        }
        assert_eq!(rate.read::<Requests>().map(|read| read.requests), Some(1));
    }
}
