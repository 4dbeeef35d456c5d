//! `time::*`: the clock. Parsing and formatting need no host call.

use serde::{Deserialize, Serialize};

/// Requests the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_us: i64,
}
