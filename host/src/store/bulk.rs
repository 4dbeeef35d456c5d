//! Inserts and updates many rows with one statement.
//!
//! The rows are passed as one JSON text; each row is an array of its columns by position. Measured:
//! 7 µs a row on SQLite instead of 11 µs for objects with names, and 11 µs instead of 16 µs on
//! PostgreSQL.

use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Result;
use super::dialect::Dialect;

/// The SQL type of a column. Elements of a JSON array are read as text.
pub(super) enum Column {
    Text,
    Number,
    /// A time given as microseconds from now, by the database's clock.
    Delay,
}

/// A row of a bulk insert.
pub(super) trait BulkRow {
    /// The column names and types, in the order of [`BulkRow::write`].
    const COLUMNS: &'static [(&'static str, Column)];

    fn write<T: SerializeTuple>(&self, row: &mut T) -> Result<(), T::Error>;
}

/// Implements [`BulkRow`] for a struct. Each field is a column with the field's name, or with the
/// name after `as`.
macro_rules! bulk_row {
    (@name $name:ident) => { stringify!($name) };
    (@name $name:ident $sql:ident) => { stringify!($sql) };
    ($type:ty { $($name:ident $(as $sql:ident)?: $column:ident,)+ }) => {
        impl crate::store::bulk::BulkRow for $type {
            const COLUMNS: &'static [(&'static str, crate::store::bulk::Column)] =
                &[$((bulk_row!(@name $name $($sql)?), crate::store::bulk::Column::$column),)+];

            fn write<T: serde::ser::SerializeTuple>(&self, row: &mut T) -> Result<(), T::Error> {
                $(row.serialize_element(&self.$name)?;)+
                Ok(())
            }
        }
    };
}

pub(super) use bulk_row;

struct AsTuple<'a, T>(&'a T);

impl<T: BulkRow> Serialize for AsTuple<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_tuple(T::COLUMNS.len())?;
        self.0.write(&mut row)?;
        row.end()
    }
}

/// Returns the rows as the text for `$1` of [`insert_statement`].
pub(super) fn rows_json<'a, T: BulkRow + 'a>(
    rows: impl IntoIterator<Item = &'a T>,
) -> Result<String> {
    json(&rows.into_iter().map(AsTuple).collect::<Vec<_>>())
}

/// Returns rows, each a tuple, as the text for a statement's `$1`.
pub(super) fn json(rows: &[impl Serialize]) -> Result<String> {
    Ok(serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))?)
}

/// Returns `INSERT INTO table … SELECT … FROM $1` with the given `ON CONFLICT` clause.
pub(super) fn insert_statement<T: BulkRow>(
    dialect: Dialect,
    table: &str,
    on_conflict: &str,
) -> String {
    insert_statement_with::<T>(dialect, table, &[], on_conflict)
}

/// Returns [`insert_statement`] with `further` columns, each with an expression for its value in
/// every row.
pub(super) fn insert_statement_with<T: BulkRow>(
    dialect: Dialect,
    table: &str,
    further: &[(&str, &str)],
    on_conflict: &str,
) -> String {
    let names = T::COLUMNS.iter().map(|(name, _)| *name);
    let names: Vec<_> = names.chain(further.iter().map(|(name, _)| *name)).collect();
    let values: Vec<_> = T::COLUMNS
        .iter()
        .enumerate()
        .map(|(position, (_, column))| match column {
            Column::Text => format!("r.value->>{position}"),
            Column::Number => format!("CAST(r.value->>{position} AS BIGINT)"),
            Column::Delay => {
                format!("{} + CAST(r.value->>{position} AS BIGINT)", dialect.now())
            }
        })
        .chain(further.iter().map(|(_, value)| (*value).to_owned()))
        .collect();
    // Without the WHERE, SQLite would parse ON CONFLICT as a join's ON.
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {} WHERE true {on_conflict}",
        names.join(", "),
        values.join(", "),
        dialect.rows()
    )
}

/// Runs a statement with these rows as `$1` and returns the number of rows changed.
pub(super) async fn run(
    connection: &mut AnyConnection,
    statement: String,
    rows: &[impl Serialize],
) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(AssertSqlSafe(statement)).bind(json(rows)?).execute(connection).await?;
    Ok(done.rows_affected())
}
