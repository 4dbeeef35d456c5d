//! `scripts::*`: other scripts of the same app.

use serde::{Deserialize, Serialize};

/// Runs another script now, as part of this execution: the effects of both are committed together,
/// and its fuel counts for this run. The reply is its last value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The script's name.
    pub script: String,
    /// The value of its `ctx.event.script.payload`, as JSON text.
    pub payload: String,
}

/// Runs another script later, as an event of its own. The reply is the event's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueue {
    /// The script's name.
    pub script: String,
    /// The value of its `ctx.event.script.payload`, as JSON text.
    pub payload: String,
    /// The delay before the event is due, in milliseconds.
    pub delay_ms: i64,
}
