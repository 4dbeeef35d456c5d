//! `http::*`: outbound HTTP requests.

use serde::{Deserialize, Serialize};

/// Sends a request and waits for its response. It stays sent even if the run fails later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The method, in upper case.
    pub method: String,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Pairs of name and value, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The timeout in milliseconds. The host has a limit of its own.
    pub timeout_ms: Option<i64>,
    /// The maximum number of redirects to follow. The host has a default and a limit of its own.
    pub redirects: Option<i64>,
    /// Whether to send an `Idempotency-Key`, which is the same for every attempt of the run.
    pub idempotency_key: bool,
}

/// The response to a request, with any status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Pairs of name, in lower case, and value. A name can occur more than once.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The body as text if its charset is not UTF-8.
    pub text: Option<String>,
}
