//! The ids of stored things, one type each, so that none is taken for another.
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
            /// The canonical text.
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
    /// Names an app.
    AppId;
    /// Names a script, whatever its version.
    ScriptId;
    /// Names a route.
    RouteId;
    /// Names one run of a script.
    ExecutionId;
    /// Names a trigger.
    TriggerId;
    /// Names an event, from the moment it is accepted.
    EventId;
    /// Names an event that was given up.
    DeadLetterId;
    /// Names a user.
    UserId;
    /// Names an API key; it is no secret.
    ApiKeyId;
    /// Names an entry of the audit log.
    AuditId;
}
