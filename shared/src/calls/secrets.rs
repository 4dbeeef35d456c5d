//! `secrets::*`: what the app's scripts know and nobody sees.

use serde::{Deserialize, Serialize};

/// Asks for the value of a secret; that there is none is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The secret.
    pub name: String,
}
