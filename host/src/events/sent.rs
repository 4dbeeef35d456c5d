//! An event that a run or a caller sends: the checked form of `queue::send`, `pubsub::publish`,
//! `scripts::enqueue` and events from the API.
//!
//! Invariant: every [`Sent`] obeys the rules, because only the checking constructors create one.

use super::payload;
use super::rules::{NAME_BYTES_MAX, Violation, check_delay, check_name};
use crate::error::Error;
use crate::store::{EventId, ScriptId};

/// An event that a run or a caller sends. Only its constructors, which check it, create one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A message to a queue.
    Queue(Message),
    /// A message to a topic.
    Topic {
        /// The topic.
        topic: String,
        /// The payload as JSON text.
        payload: String,
    },
    /// A script to run later.
    Script(Enqueued),
}

/// A message to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id of the message.
    pub(crate) id: EventId,
    /// The queue.
    pub(crate) queue: String,
    /// The payload as JSON text.
    pub(crate) payload: String,
    /// The delay until it is due.
    pub(crate) delay_ms: i64,
    /// The dedupe key. The message is dropped while another one with this key is pending.
    pub(crate) dedupe: Option<String>,
}

/// A script to run later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The event's id.
    pub(crate) id: EventId,
    /// The id of the script that had the name at the time of the call.
    pub(crate) script_id: ScriptId,
    /// The script's name at that time.
    pub(crate) script: String,
    /// The payload as JSON text.
    pub(crate) payload: String,
    /// The delay until it is due.
    pub(crate) delay_ms: i64,
}

/// The reason why an event cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// A name or the delay breaks a rule.
    #[error(transparent)]
    Rule(#[from] Violation),
    /// The payload is too large or too deep.
    #[error("the payload {0}")]
    Payload(#[from] payload::Refused),
}

impl From<Unsendable> for Error {
    fn from(unsendable: Unsendable) -> Self {
        match unsendable {
            Unsendable::Rule(violation) => violation.into(),
            Unsendable::Payload(refused) => refused.into(),
        }
    }
}

impl Sent {
    /// Creates a message to a queue.
    ///
    /// # Errors
    /// `Unsendable` if a name or the delay breaks a rule, or the payload has more than
    /// `payload_bytes_max` bytes or nests too deep.
    pub(crate) fn to_queue(message: Message, payload_bytes_max: u64) -> Result<Self, Unsendable> {
        check_name("queue", "a queue", &message.queue, NAME_BYTES_MAX)?;
        payload::check(&message.payload, payload_bytes_max)?;
        check_delay(message.delay_ms)?;
        if let Some(key) = &message.dedupe {
            check_name("dedupe", "a dedupe key", key, NAME_BYTES_MAX)?;
        }
        Ok(Self::Queue(message))
    }

    /// Creates a message to a topic.
    ///
    /// # Errors
    /// Same as [`Sent::to_queue`].
    pub(crate) fn to_topic(
        topic: String,
        payload: String,
        payload_bytes_max: u64,
    ) -> Result<Self, Unsendable> {
        check_name("topic", "a topic", &topic, NAME_BYTES_MAX)?;
        payload::check(&payload, payload_bytes_max)?;
        Ok(Self::Topic { topic, payload })
    }

    /// Creates an event that runs a script later.
    ///
    /// # Errors
    /// Same as [`Sent::to_queue`].
    pub(crate) fn to_script(call: Enqueued, payload_bytes_max: u64) -> Result<Self, Unsendable> {
        payload::check(&call.payload, payload_bytes_max)?;
        check_delay(call.delay_ms)?;
        Ok(Self::Script(call))
    }

    /// Returns the size of the event, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let (to, payload) = match self {
            Self::Queue(Message { queue, payload, .. }) => (queue, payload),
            Self::Topic { topic, payload } => (topic, payload),
            Self::Script(Enqueued { script, payload, .. }) => (script, payload),
        };
        (to.len() + payload.len()) as u64
    }
}
