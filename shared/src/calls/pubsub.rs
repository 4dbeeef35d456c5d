//! `pubsub::*`: messages to everyone who listens to a topic.

use serde::{Deserialize, Serialize};

/// Publishes a message when the run commits; every matching trigger gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The payload, JSON text.
    pub payload: String,
}
