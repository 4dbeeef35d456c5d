//! What text the database takes.
//!
//! PostgreSQL refuses NUL in text, and its indexes refuse long keys; SQLite
//! takes both. What one refuses is refused here, so that both are the same.
//!
//! Invariant: nothing with NUL reaches a statement except inside [`Json`], where
//! it is the six characters `\u0000`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, Resource, Result};
use crate::json::Verbatim;

/// Names of apps and scripts.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// A domain name, by RFC 1035.
pub(super) const HOST_BYTES_MAX: usize = 253;
/// Methods, paths and shapes: together with a host they must stay below the
/// 2704 bytes of a PostgreSQL index key.
pub(super) const METHOD_BYTES_MAX: usize = 32;
pub(super) const PATH_BYTES_MAX: usize = 2048;
/// For what is in no index: sources and descriptions have the API's limits.
pub(super) const UNLIMITED: usize = usize::MAX;

/// JSON as text, as it is stored: written once, never parsed on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Json(String);

impl Json {
    /// Writes `value` as JSON. Errors: its `Serialize` failed, or a map's key is
    /// not a string.
    pub fn of(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// A text that is JSON already.
    #[must_use]
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Reads it as it is.
    pub fn value(&self) -> serde_json::Result<Value> {
        Verbatim::read(&self.0)
    }

    /// Reads it as a `T`, which has no `serde_json::Value`: see [`Verbatim`].
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses what one of the databases would refuse.
pub(super) fn check(field: &'static str, text: &str, bytes_max: usize) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::Invalid { field, reason: "must not contain NUL" });
    }
    if text.len() > bytes_max {
        return Err(Error::Invalid { field, reason: "is too long" });
    }
    Ok(())
}

/// [`check`] for a text that is looked up: what cannot be stored is not there.
pub(super) fn check_sought(resource: Resource, text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::NotFound(resource)) } else { Ok(()) }
}
