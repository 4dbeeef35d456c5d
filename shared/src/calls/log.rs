//! `log::*`: lines of an execution's log.

use serde::{Deserialize, Serialize};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// Detail for the author.
    Debug,
    /// What happened.
    Info,
    /// Something unexpected that was dealt with.
    Warn,
    /// Something failed.
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
    /// The script's line that wrote it, from 1; 0 when unknown.
    pub line: u32,
}
