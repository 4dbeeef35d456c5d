//! `log::*`: lines of an execution's log.

use serde::{Deserialize, Serialize};

/// The severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The finest detail.
    Trace,
    /// Details for the script's author.
    Debug,
    /// Normal events.
    Info,
    /// An unexpected event that was handled.
    Warn,
    /// A failure.
    Error,
}

/// Appends one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The line's level.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Structured data as JSON text.
    pub data: Option<String>,
    /// The number of the script's line that wrote it, from 1; 0 if unknown.
    pub line: u32,
}
