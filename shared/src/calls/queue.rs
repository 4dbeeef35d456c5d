//! `queue::*`: messages that exactly one script processes.

use serde::{Deserialize, Serialize};

/// Puts a message into a queue when the run commits. The reply is the message's id. If the message
/// was dropped because of its dedupe key, it is the id of the pending message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The queue.
    pub queue: String,
    /// The payload as JSON text.
    pub payload: String,
    /// The delay before the message is due, in milliseconds.
    pub delay_ms: i64,
    /// The dedupe key. The message is dropped while another one with this key is pending.
    pub dedupe: Option<String>,
}
