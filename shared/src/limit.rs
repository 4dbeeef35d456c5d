//! A named limit that an execution exceeded.

use serde::{Deserialize, Serialize};

/// The limit that was reached, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitExceeded {
    /// The limit's name, such as `log_bytes`.
    pub limit: String,
    /// The amount that the execution would have used.
    pub used: u64,
    /// The allowed amount.
    pub allowed: u64,
}

impl std::fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, used, allowed } = self;
        write!(f, "limit {limit} exceeded: {used} used, {allowed} allowed")
    }
}
