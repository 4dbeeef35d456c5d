//! `scripts::*`: other scripts of the same app.

use serde::{Deserialize, Serialize};

/// Runs another script now, as a part of this execution: its effects and this
/// one's are committed together, and its fuel is this one's. The reply is its last value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The script's name.
    pub script: String,
    /// What it gets as `ctx.event.script.payload`, JSON text.
    pub payload: String,
}

/// Runs another script later, as an event of its own. The answer is the event's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueue {
    /// The script's name.
    pub script: String,
    /// What it gets as `ctx.event.script.payload`, JSON text.
    pub payload: String,
    /// Not before so many milliseconds.
    pub delay_ms: i64,
}
