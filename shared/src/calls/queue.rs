//! `queue::*`: messages that exactly one script works off.

use serde::{Deserialize, Serialize};

/// Puts a message into a queue when the run commits. The answer is the message's
/// id; for a message that was dropped because of its dedupe key, the id of the one
/// that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The queue.
    pub queue: String,
    /// The payload, JSON text.
    pub payload: String,
    /// Not before so many milliseconds.
    pub delay_ms: i64,
    /// While a message with the same key waits in the queue, this one is dropped.
    pub dedupe: Option<String>,
}
