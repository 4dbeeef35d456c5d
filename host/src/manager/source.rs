//! The checks of a source before it is stored, and `/scripts/check`, which runs them without
//! storing.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::ControlPlane;
use super::extract::Body;
use crate::auth::{Caller, Capability};
use crate::error::{Error, Refusal, Result};
use crate::store::NewSource;

/// The largest source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256 << 10;

/// Checks that a source parses. The executor caches the result for the first run.
///
/// # Errors
/// `TooLarge` if it is too large. `Unprocessable` with line and column if it does not parse.
/// `Unavailable` if no slot is free to parse it.
pub(super) async fn check_source(
    control_plane: &ControlPlane,
    source: String,
) -> Result<NewSource> {
    let source = without_bom(source);
    check_size(&source)?;
    if let Err(error) = control_plane.executor.check(&source).await? {
        let refusal = Refusal::new("source_invalid", error.message)
            .with("line", error.position.line)
            .with("column", error.position.column);
        return Err(Error::Unprocessable(refusal));
    }
    let sha256 = hex::encode(Sha256::digest(source.as_bytes()));
    Ok(NewSource { text: source, sha256 })
}

/// Removes the byte order mark that some editors put before a source.
fn without_bom(source: String) -> String {
    match source.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => source,
    }
}

fn check_size(source: &str) -> Result<()> {
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
    Ok(())
}

/// A source to check.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSource {
    /// The Rhai source, at most 256 KiB.
    source: String,
}

/// Whether a source parses; if not, the error and its position.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SourceCheck {
    /// Whether it parses.
    ok: bool,
    /// The error message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The line, from 1; 0 if the error has no position.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
}

/// Parses a source without storing or running it.
#[utoipa::path(post, path = "/scripts/check", tag = "scripts", request_body = CheckSource,
    security(("key" = ["script:read"])),
    responses((status = 200, description = "Whether it parses", body = SourceCheck),
        (status = 429, description = "The caller has exceeded the limit check_rate")))]
pub(super) async fn check_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    body: Body<CheckSource>,
) -> Result<Json<SourceCheck>> {
    caller.check(Capability::PlatformUse)?;
    control_plane.auth.count_check(&caller)?;
    let CheckSource { source } = body.read()?;
    let source = without_bom(source);
    check_size(&source)?;
    Ok(Json(match control_plane.executor.parse(&source).await? {
        Ok(()) => SourceCheck { ok: true, ..SourceCheck::default() },
        Err(error) => SourceCheck {
            ok: false,
            message: Some(error.message),
            line: Some(error.position.line),
            column: Some(error.position.column),
        },
    }))
}
