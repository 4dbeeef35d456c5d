//! `http::*`: requests to the outside.

use serde::{Deserialize, Serialize};

use crate::execution::bytes;

/// Sends a request and waits for its answer. It is sent even if the run fails
/// afterwards: nothing can call it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The method, in upper case.
    pub method: String,
    /// An absolute `http` or `https` address.
    pub url: String,
    /// Name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// Give up after so many milliseconds; the host has a limit of its own.
    pub timeout_ms: Option<i64>,
    /// Follow at most so many redirects; the host has a default, and a limit of its own.
    pub redirects: Option<i64>,
    /// Send an `Idempotency-Key` that stays the same however often the run is tried.
    pub idempotency_key: bool,
}

/// The answer to a request, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Name in lower case and value; a name may come more than once.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// The body as a text, where that is not in UTF-8.
    pub text: Option<String>,
}
