//! What the guest tells the host about itself.

use serde::{Deserialize, Serialize};

/// The guest panicked and will trap. Sent once, best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panicked {
    /// The panic's message and place in the guest's source.
    pub message: String,
}
