//! Rows of lists whose large payloads and values are omitted.
//!
//! A page of 200 rows with payloads of several megabytes would not fit into memory. An omitted
//! payload or value is read by the row's own id or name.

use std::ops::Deref;

use sqlx::FromRow;

/// The maximum size of a payload or value in a row of a list, in bytes. A larger one is omitted.
pub const EXCERPT_BYTES_MAX: i64 = 4 << 10;

/// A row whose payload or value is `null` if it is larger than [`EXCERPT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Excerpt<T> {
    /// The row.
    #[sqlx(flatten)]
    pub row: T,
    /// The full size of the payload or value, in bytes.
    pub full_bytes: i64,
}

impl<T> Excerpt<T> {
    /// Returns a row with its whole payload or value, of this size in bytes.
    pub fn whole(row: T, bytes: usize) -> Self {
        Self { row, full_bytes: i64::try_from(bytes).unwrap_or(i64::MAX) }
    }
}

impl<T> Deref for Excerpt<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.row
    }
}

/// Returns the columns for a payload or value and for [`Excerpt::full_bytes`]. The databases know
/// the length of a text without reading it.
pub(super) fn columns(of: &str) -> String {
    format!(
        "CASE WHEN OCTET_LENGTH({of}) <= {EXCERPT_BYTES_MAX} THEN {of} ELSE 'null' END AS {of}, \
         CAST(OCTET_LENGTH({of}) AS BIGINT) AS full_bytes"
    )
}
