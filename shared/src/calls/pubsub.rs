//! `pubsub::*`: messages to every trigger on a topic.

use serde::{Deserialize, Serialize};

/// Publishes a message when the run commits. Every matching trigger gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload as JSON text.
    pub payload: String,
}
