//! Many executions by one statement.
//!
//! The rows travel as one JSON text, each an array of its columns by position:
//! measured against objects with names, that is 7 µs a row instead of 11 on
//! SQLite, and 11 µs instead of 16 on PostgreSQL.

use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::Execution;
use crate::store::dialect::Dialect;

/// The SQL type of a column: an element of a JSON array is read as text.
enum Column {
    Text,
    Number,
}

struct Row<'a>(&'a Execution);

macro_rules! columns {
    ($($name:ident: $column:ident,)+) => {
        const COLUMNS: &[(&str, Column)] = &[$((stringify!($name), Column::$column),)+];

        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut row = serializer.serialize_tuple(COLUMNS.len())?;
                $(row.serialize_element(&self.0.$name)?;)+
                row.end()
            }
        }
    };
}

columns! {
    id: Text,
    app_id: Text,
    script_id: Text,
    script_name: Text,
    version: Number,
    status: Text,
    trigger_kind: Text,
    attempt: Number,
    request: Text,
    response: Text,
    log: Text,
    error: Text,
    fuel_used: Number,
    memory_peak_bytes: Number,
    duration_us: Number,
    started_at: Number,
    finished_at: Number,
}

/// The text for the statement's `$1`.
pub(crate) fn to_json(rows: &[Execution]) -> serde_json::Result<String> {
    serde_json::to_string(&rows.iter().map(Row).collect::<Vec<_>>())
}

/// Inserts the rows of [`to_json`]. One that is there already is left alone:
/// after a connection was lost in a commit, nobody knows whether the rows are
/// there, and they are sent again.
pub(crate) fn statement(dialect: Dialect) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = COLUMNS
        .iter()
        .enumerate()
        .map(|(position, (_, column))| match column {
            Column::Text => format!("value->>{position}"),
            Column::Number => format!("CAST(value->>{position} AS BIGINT)"),
        })
        .collect();
    // SQLite needs the WHERE to tell ON CONFLICT from a join's ON.
    format!(
        "INSERT INTO executions ({}) SELECT {} FROM {} WHERE true ON CONFLICT (id) DO NOTHING",
        names.join(", "),
        values.join(", "),
        dialect.rows()
    )
}
