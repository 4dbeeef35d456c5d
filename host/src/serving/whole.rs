//! Reads whole request bodies.

use axum::body::Body;
use http_body::Body as _;
use http_body_util::LengthLimitError;

use super::{BodiesFull, is_too_slow};
use crate::error::{Error, Refusal};

/// Reads a body of at most `bytes_max` bytes. A body with a larger declared length is refused
/// before any of it is read, so that a caller that sent `Expect: 100-continue` sends nothing.
///
/// # Errors
/// - `TooLarge` if the body is larger.
/// - `Unavailable` if all bodies together take too much memory.
/// - `Invalid` if the body is incomplete, too late, or has invalid chunks.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    refuse_announced(&body, bytes_max)?;
    match axum::body::to_bytes(body, bytes_max).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let source = std::error::Error::source(&error);
            if source.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
                return Err(too_large(bytes_max));
            }
            if is_too_slow(&error) {
                return Err(Error::body_too_slow());
            }
            if BodiesFull::is_cause_of(&error) {
                return Err(BodiesFull::refuse());
            }
            Err(Error::Invalid(Refusal::new(
                "body_incomplete",
                "the request's body did not arrive",
            )))
        }
    }
}

/// Checks the declared length of a body. Errors: `TooLarge` if it exceeds `bytes_max` bytes.
pub fn refuse_announced(body: &Body, bytes_max: usize) -> Result<(), Error> {
    match body.size_hint().lower() > bytes_max as u64 {
        true => Err(too_large(bytes_max)),
        false => Ok(()),
    }
}

fn too_large(bytes_max: usize) -> Error {
    let message = format!("the request's body is larger than {bytes_max} bytes");
    let refusal = Refusal::new("body_too_large", message);
    Error::TooLarge(refusal.with("limit", "request_bytes").with("most", bytes_max))
}
