//! Fields that a request can omit. A client omits those that it does not set, so that the server's
//! defaults apply, and so that an older server does not refuse fields that it does not know.

use serde::{Deserialize, Deserializer};

/// Whether a field has the value that an omitted field stands for.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Deserializes a field that can be omitted, but not `null`.
pub(super) fn not_null<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(from).map(Some)
}
