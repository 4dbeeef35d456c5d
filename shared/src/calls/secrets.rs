//! `secrets::*`: values that the app's scripts can read and the API never shows.

use serde::{Deserialize, Serialize};

/// Requests the value of a secret. Fails if the secret does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The name of the secret.
    pub name: String,
}
