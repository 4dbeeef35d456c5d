//! The ids of stored resources, one type each, so that they cannot be confused.
//!
//! Invariant: an id holds a UUID in its canonical form (lower case, hyphens).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyTypeInfo;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Any, Database, Decode, Encode};
use uuid::Uuid;

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID, like 0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e")]
pub struct IdError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        // Shared, because a run has copies of its ids in many places.
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                let mut text = Uuid::encode_buffer();
                Self((&*uuid.hyphenated().encode_lower(&mut text)).into())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self::from).map_err(|_| IdError)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl sqlx::Type<Any> for $name {
            fn type_info() -> AnyTypeInfo {
                <str as sqlx::Type<Any>>::type_info()
            }
        }

        impl Encode<'_, Any> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut <Any as Database>::ArgumentBuffer,
            ) -> Result<IsNull, BoxDynError> {
                <&str as Encode<'_, Any>>::encode(self.as_str(), buffer)
            }
        }

        impl<'r> Decode<'r, Any> for $name {
            fn decode(value: <Any as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(Self(<&str as Decode<'r, Any>>::decode(value)?.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// The id of an app.
    AppId;
    /// The id of a script, across its versions.
    ScriptId;
    /// The id of a route.
    RouteId;
    /// The id of an execution.
    ExecutionId;
    /// The id of a trigger.
    TriggerId;
    /// The id of an event, assigned when it is accepted.
    EventId;
    /// The id of a dead letter.
    DeadLetterId;
    /// The id of a user.
    UserId;
    /// The id of an API key; it is not secret.
    ApiKeyId;
    /// The id of an entry of the audit log.
    AuditId;
}
