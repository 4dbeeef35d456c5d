//! What a source must be before it is stored.

use sha2::{Digest, Sha256};

use super::ControlPlane;
use crate::error::{Error, Refusal, Result};
use crate::store::NewSource;

/// The largest source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 << 10;

/// Parses a source, and leaves the result with the executor for the first call.
///
/// # Errors
/// `TooLarge`; `Unprocessable` with line and column when it does not parse;
/// `Unavailable` when no slot is free to parse it.
pub(super) async fn check_source(
    control_plane: &ControlPlane,
    source: String,
) -> Result<NewSource> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the source has {} bytes; source_bytes is limited to {SOURCE_BYTES_MAX}",
            source.len()
        );
        let refusal = Refusal::new("source_too_large", message).with("limit", "source_bytes");
        return Err(Error::TooLarge(
            refusal.with("asked", source.len()).with("most", SOURCE_BYTES_MAX),
        ));
    }
    if let Err(error) = control_plane.executor.check(&source).await? {
        let refusal = Refusal::new("source_invalid", error.message)
            .with("line", error.position.line)
            .with("column", error.position.column);
        return Err(Error::Unprocessable(refusal));
    }
    let sha256 = hex::encode(Sha256::digest(source.as_bytes()));
    Ok(NewSource { text: source, sha256 })
}
