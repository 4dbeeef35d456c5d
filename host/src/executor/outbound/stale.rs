//! Decides whether a request is sent again. This is needed if the server closes an idle connection
//! at the moment when the client reuses it.
//!
//! Invariant: only idempotent methods (RFC 9110, section 9.2.2), and only once.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};

use reqwest::{Error, Method};

/// Whether a request that failed with this error can be sent again: its connection ended before the
/// first byte of a response.
pub(super) fn may_repeat(method: &Method, error: &Error) -> bool {
    method.is_idempotent() && was_closed(error)
}

fn was_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        let by_client = cause.downcast_ref::<hyper::Error>();
        let by_system = cause.downcast_ref::<std::io::Error>();
        by_client.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || by_system.is_some_and(|error| {
                matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
            })
    })
}
