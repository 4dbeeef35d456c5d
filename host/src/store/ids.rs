//! The ids of stored resources, one type each, so that they cannot be confused.
//!
//! Invariant: an id holds a UUID in its canonical form (lower case, hyphens).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID, like 0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e")]
pub struct IdError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(try_from = "String", into = "String")]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the canonical text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid.hyphenated().to_string())
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
                id.0
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
