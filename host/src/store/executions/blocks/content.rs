//! The content of a block: executions as bytes.
//!
//! ```text
//! 1 byte    the version of the format, 1
//! 4 bytes   the number of executions, little-endian
//! 16 bytes  for each execution: its id
//! the rest  zstd: the scripts and the other fields, in postcard
//! ```
//!
//! The ids stay uncompressed because most of their bits are random, and because a look for one id
//! then decompresses only the block that has it.
//!
//! Invariant: bytes of any content never cause a panic, and decompress to at most [`RAW_BYTES_MAX`].

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::executions::{Execution, ExecutionId};
use crate::store::{AppId, ExecutionStatus, Json, ScriptId, TriggerKind};

/// The maximum size of a block's executions before compression. Blocks are built much smaller.
const RAW_BYTES_MAX: usize = 64 << 20;

/// The fastest level of compression. Repeated headers and bodies are nearly all that it has to find.
const LEVEL: i32 = 1;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
const ID_BYTES: usize = 16;

/// The content cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of executions cannot be read: it is damaged, or of a newer release")]
pub(super) struct Unreadable;

/// An execution in a block, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Numbered {
    pub(in crate::store) sequence: i64,
    pub(in crate::store) execution: Execution,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    scripts: Vec<Script<'a>>,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

/// A script with the name that it had, which several rows have in common.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Script<'a> {
    id: [u8; ID_BYTES],
    name: &'a str,
    version: i64,
    trigger_kind: &'a str,
}

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    script: u32,
    /// The difference to the row before; for the first, its number.
    sequence: i64,
    /// The difference to the row before; for the first, its time.
    finished_at: i64,
    /// From the start to the end by the clock: mostly equal to `duration_us`.
    took_us: i64,
    duration_us: i64,
    attempt: i64,
    fuel_used: i64,
    memory_peak_bytes: i64,
    parent_id: Option<[u8; ID_BYTES]>,
    request: &'a str,
    response: Option<&'a str>,
    log: &'a str,
}

/// Whether an execution can be stored in a block: one without an event, an effect or an error.
pub(super) fn is_storable(row: &Execution) -> bool {
    row.status == ExecutionStatus::Success
        && row.error.is_none()
        && row.event_id.is_none()
        && row.trigger_id.is_none()
        && row.caused_by.is_none()
}

/// Encodes executions of one app, each with its number.
///
/// # Errors
/// None for executions that can be read again.
pub(super) fn encode<'a>(
    rows: impl ExactSizeIterator<Item = (i64, &'a Execution)> + Clone,
) -> Result<Vec<u8>, sqlx::Error> {
    let mut content = vec![VERSION];
    content.extend(u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (_, row) in rows.clone() {
        content.extend(bytes_of(row.id.as_str()));
    }
    let mut body = Body { scripts: Vec::new(), rows: Vec::with_capacity(rows.len()) };
    let (mut last_sequence, mut last_finished_at) = (0, 0);
    for (sequence, row) in rows {
        let script = Script {
            id: bytes_of(row.script_id.as_str()),
            name: &row.script_name,
            version: row.version,
            trigger_kind: row.trigger_kind.as_str(),
        };
        let place = body.scripts.iter().position(|known| *known == script);
        let place = place.unwrap_or_else(|| {
            body.scripts.push(script);
            body.scripts.len() - 1
        });
        body.rows.push(Row {
            script: u32::try_from(place).unwrap_or(u32::MAX),
            sequence: sequence.wrapping_sub(last_sequence),
            finished_at: row.finished_at.wrapping_sub(last_finished_at),
            took_us: row.finished_at.wrapping_sub(row.started_at),
            duration_us: row.duration_us,
            attempt: row.attempt,
            fuel_used: row.fuel_used,
            memory_peak_bytes: row.memory_peak_bytes,
            parent_id: row.parent_id.as_ref().map(|id| bytes_of(id.as_str())),
            request: row.request.as_str(),
            response: row.response.as_ref().map(Json::as_str),
            log: row.log.as_str(),
        });
        (last_sequence, last_finished_at) = (sequence, row.finished_at);
    }
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Encode(error);
    let raw = postcard::to_stdvec(&body).map_err(|error| refused(error.into()))?;
    let compressed = zstd::bulk::compress(&raw, LEVEL).map_err(|error| refused(error.into()))?;
    content.extend(compressed);
    Ok(content)
}

/// Whether a block has an execution, without decoding it.
pub(super) fn has(content: &[u8], id: &ExecutionId) -> bool {
    let id = bytes_of(id.as_str());
    ids(content).is_ok_and(|(ids, _)| ids.chunks_exact(ID_BYTES).any(|one| one == id))
}

/// Decodes the executions of an app.
///
/// # Errors
/// Fails if the content is damaged.
pub(super) fn decode(app_id: &AppId, content: &[u8]) -> Result<Vec<Numbered>, Unreadable> {
    let (ids, compressed) = ids(content)?;
    let size = zstd::zstd_safe::get_frame_content_size(compressed).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).ok_or(Unreadable)?;
    if size > RAW_BYTES_MAX {
        return Err(Unreadable);
    }
    let raw = zstd::bulk::decompress(compressed, size).map_err(|_| Unreadable)?;
    let (body, rest) = postcard::take_from_bytes::<Body<'_>>(&raw).map_err(|_| Unreadable)?;
    if !rest.is_empty() {
        return Err(Unreadable);
    }
    if body.rows.len() * ID_BYTES != ids.len() {
        return Err(Unreadable);
    }
    let kinds: Vec<_> = body
        .scripts
        .iter()
        .map(|script| Ok((ScriptId::from(Uuid::from_bytes(script.id)), kind(script)?)))
        .collect::<Result<_, Unreadable>>()?;
    let mut decoded = Vec::with_capacity(body.rows.len());
    let (mut sequence, mut finished_at) = (0_i64, 0_i64);
    for (id, row) in ids.chunks_exact(ID_BYTES).zip(&body.rows) {
        sequence = sequence.wrapping_add(row.sequence);
        finished_at = finished_at.wrapping_add(row.finished_at);
        let place = row.script as usize;
        let script = body.scripts.get(place).ok_or(Unreadable)?;
        let (script_id, trigger_kind) = kinds.get(place).cloned().ok_or(Unreadable)?;
        let id = Uuid::from_slice(id).map_err(|_| Unreadable)?;
        let execution = Execution {
            id: id.into(),
            app_id: app_id.clone(),
            script_id,
            script_name: script.name.to_owned(),
            version: script.version,
            status: ExecutionStatus::Success,
            trigger_kind,
            attempt: row.attempt,
            request: Json::from_text(row.request.to_owned()),
            response: row.response.map(|json| Json::from_text(json.to_owned())),
            log: Json::from_text(row.log.to_owned()),
            error: None,
            fuel_used: row.fuel_used,
            memory_peak_bytes: row.memory_peak_bytes,
            duration_us: row.duration_us,
            started_at: finished_at.wrapping_sub(row.took_us),
            finished_at,
            event_id: None,
            trigger_id: None,
            parent_id: row.parent_id.map(|id| Uuid::from_bytes(id).into()),
            caused_by: None,
        };
        decoded.push(Numbered { sequence, execution });
    }
    Ok(decoded)
}

fn kind(script: &Script<'_>) -> Result<TriggerKind, Unreadable> {
    TriggerKind::try_from(script.trigger_kind.to_owned()).map_err(|_| Unreadable)
}

/// Splits a content into its ids and its compressed part.
fn ids(content: &[u8]) -> Result<(&[u8], &[u8]), Unreadable> {
    let (head, rest) = content.split_at_checked(HEAD_BYTES).ok_or(Unreadable)?;
    let (version, count) = head.split_first().ok_or(Unreadable)?;
    if *version != VERSION {
        return Err(Unreadable);
    }
    let count = u32::from_le_bytes(count.try_into().map_err(|_| Unreadable)?) as usize;
    let bytes = count.checked_mul(ID_BYTES).ok_or(Unreadable)?;
    rest.split_at_checked(bytes).ok_or(Unreadable)
}

/// Returns the bytes of an id, which is always a UUID.
fn bytes_of(id: &str) -> [u8; ID_BYTES] {
    Uuid::parse_str(id).unwrap_or_default().into_bytes()
}

/// Returns when an execution began, µs, from its id (RFC 9562, section 5.7).
pub(super) fn begun_us(id: &ExecutionId) -> i64 {
    let bytes = Uuid::parse_str(id.as_str()).unwrap_or_default().into_bytes();
    let ms = bytes[..6].iter().fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte));
    ms * 1000
}
