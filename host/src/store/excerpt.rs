//! Rows of lists whose payloads and values are left out where they are large.
//!
//! A page of 200 rows with a payload of megabytes each would not fit into memory. What is left
//! out is read by the row's own id or name.

use std::ops::Deref;

use sqlx::FromRow;

/// The largest payload or value in a row of a list, in bytes. A larger one is left out.
pub const EXCERPT_BYTES_MAX: i64 = 4 << 10;

/// A row whose payload or value is `null` if it has more than [`EXCERPT_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Excerpt<T> {
    /// The row.
    #[sqlx(flatten)]
    pub row: T,
    /// The size of the payload or value in full, in bytes.
    pub full_bytes: i64,
}

impl<T> Excerpt<T> {
    /// A row with all of its payload or value, which has so many bytes.
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

/// The columns for a payload or value, and for [`Excerpt::full_bytes`]. The databases know the
/// length of a text without reading it.
pub(super) fn columns(of: &str) -> String {
    format!(
        "CASE WHEN OCTET_LENGTH({of}) <= {EXCERPT_BYTES_MAX} THEN {of} ELSE 'null' END AS {of}, \
         CAST(OCTET_LENGTH({of}) AS BIGINT) AS full_bytes"
    )
}
