//! Reports of the guest about itself.

use serde::{Deserialize, Serialize};

/// Reports that the guest panicked and will trap. Sent once, best effort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panicked {
    /// The panic's message and its location in the guest's source.
    pub message: String,
}
