//! Lists of the tables that grow with use, newest first, in pages.
//!
//! ```text
//!  found   by an index, in the order of the list          reads only matching rows
//!    │
//!  sifted  row by row, the first LOOKED_AT_MAX rows       conditions without an index
//!    │
//!  a page, and the position to continue from
//! ```
//!
//! Invariant: the cost of a page does not grow with its table. `host/tests/plans.rs` checks the
//! query plans.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::QueryAs;
use sqlx::{Any, AnyConnection, AssertSqlSafe, FromRow};

use super::{Page, Result};

/// The maximum number of rows that a page examines for conditions without an index.
pub const LOOKED_AT_MAX: i64 = 10_000;

/// The maximum number of rows counted.
pub const COUNTED_MAX: i64 = 10_000;

const PREFIX: &str = "v1.";

/// A position in a list: after this row.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Position {
    /// The row's time in the list's order, µs.
    pub at: i64,
    /// The row's id.
    pub id: String,
}

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a position in a list")]
pub struct PositionError;

impl Position {
    /// Compares two positions; the one that comes first in a list is greater.
    pub(super) fn cmp_newest_last(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at).then_with(|| self.id.cmp(&other.id))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}:{}", self.at, self.id);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(PositionError)?;
        let text = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| PositionError)?;
        let text = String::from_utf8(text).map_err(|_| PositionError)?;
        let (at, id) = text.split_once(':').ok_or(PositionError)?;
        let id = uuid::Uuid::parse_str(id).map_err(|_| PositionError)?;
        Ok(Self { at: at.parse().map_err(|_| PositionError)?, id: id.hyphenated().to_string() })
    }
}

/// Selects a part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The limit and offset.
    pub page: Page,
    /// Only rows after this position.
    pub after: Option<Position>,
}

impl From<Page> for Part {
    fn from(page: Page) -> Self {
        Self { page, after: None }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows of the page.
    pub rows: Vec<T>,
    /// The position to continue from, if the page ended after examining [`LOOKED_AT_MAX`] rows.
    pub looked_to: Option<Position>,
}

/// The value of a condition.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A table, and the columns that order its lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) at: &'static str,
    pub(super) id: &'static str,
}

/// A condition on rows, in SQL, and the value for each `{}` in it.
#[derive(Debug, Clone)]
struct Condition {
    sql: String,
    value: Option<Value>,
}

/// A builder of list queries.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    table: Table,
    found: Vec<Condition>,
    sifted: Vec<Condition>,
    sifted_columns: Vec<&'static str>,
    /// Only rows older than this time, µs.
    before: Option<i64>,
    /// The maximum number of rows examined for sifted conditions.
    looked_at_max: i64,
}

impl Listing {
    pub(super) fn of(table: Table) -> Self {
        let (found, sifted, sifted_columns) = (Vec::new(), Vec::new(), Vec::new());
        let (before, looked_at_max) = (None, LOOKED_AT_MAX);
        Self { table, found, sifted, sifted_columns, before, looked_at_max }.found_where("true")
    }

    /// Keeps rows whose column compares with the value, as in `app_id =`. Needs an index.
    #[must_use]
    pub(super) fn found(mut self, comparison: &str, value: impl Into<Value>) -> Self {
        let sql = format!("{comparison} {{}}");
        self.found.push(Condition { sql, value: Some(value.into()) });
        self
    }

    /// Keeps rows older than this time, µs.
    #[must_use]
    pub(super) fn before(mut self, at: i64) -> Self {
        self.before = Some(at);
        self
    }

    /// Sets the number of rows examined for sifted conditions, instead of [`LOOKED_AT_MAX`].
    #[must_use]
    pub(super) fn looking_at(mut self, rows: i64) -> Self {
        self.looked_at_max = rows;
        self
    }

    /// Keeps rows that satisfy this part of an index's condition.
    #[must_use]
    pub(super) fn found_where(mut self, condition: &str) -> Self {
        self.found.push(Condition { sql: condition.to_owned(), value: None });
        self
    }

    /// Keeps examined rows whose column has the value.
    #[must_use]
    pub(super) fn sifted(self, column: &'static str, value: impl Into<Value>) -> Self {
        self.sifted_where(&[column], &format!("{column} = {{}}"), Some(value.into()))
    }

    /// Keeps examined rows that satisfy the condition.
    #[must_use]
    pub(super) fn sifted_where(
        mut self,
        columns: &[&'static str],
        condition: &str,
        value: Option<Value>,
    ) -> Self {
        self.sifted_columns.extend(columns);
        self.sifted.push(Condition { sql: condition.to_owned(), value });
        self
    }

    /// Keeps rows with all the given values. The first filter uses the index on its column alone,
    /// the others are sifted. Without any, `otherwise` uses its index.
    #[must_use]
    pub(super) fn found_by_first(
        mut self,
        filters: &[(&'static str, Option<&str>)],
        otherwise: (&'static str, Option<&str>),
    ) -> Self {
        let given = filters.iter().chain([&otherwise]);
        let mut given = given.filter_map(|(column, value)| Some((*column, (*value)?)));
        if let Some((column, value)) = given.next() {
            self = self.found(&format!("{column} ="), value);
        }
        given.fold(self, |listing, (column, value)| listing.sifted(column, value))
    }

    /// Returns the page, with these `columns`.
    pub(super) async fn fetch<T>(
        self,
        connection: &mut AnyConnection,
        columns: &str,
        part: &Part,
    ) -> Result<Listed<T>>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let Table { name, at, id } = self.table;
        let order = format!("ORDER BY {at} DESC, {id} DESC");
        let mut statement = Statement::default();
        let found = self.condition(&mut statement, part.after.as_ref());
        let page = |statement: &mut Statement| {
            let limit = statement.bind(part.page.limit.into());
            format!("{order} LIMIT {limit} OFFSET {}", statement.bind(part.page.offset.into()))
        };
        statement.sql = if self.sifted.is_empty() {
            format!("SELECT {columns} FROM {name} WHERE {found} {}", page(&mut statement))
        } else {
            // Selects by id, so that only the rows of the page are read whole. The sum has no index
            // and keeps the planner from reading the table in order and looking up each row.
            let sifted = statement.all(&self.sifted);
            format!(
                "SELECT {columns} FROM {name} WHERE {id} IN (SELECT {id} FROM ({}) AS looked \
                 WHERE {sifted} {}) ORDER BY {at} + 0 DESC, {id} DESC",
                self.looked_at(&found),
                page(&mut statement)
            )
        };
        let rows: Vec<T> = statement.query().fetch_all(&mut *connection).await?;
        let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= part.page.limit;
        let looked_to = match is_full || self.sifted.is_empty() {
            true => None,
            false => self.last_looked_at(connection, part.after.as_ref()).await?,
        };
        Ok(Listed { rows, looked_to })
    }

    /// Returns the condition that uses an index.
    fn condition(&self, statement: &mut Statement, after: Option<&Position>) -> String {
        let Table { at, id, .. } = self.table;
        let found = statement.all(&self.found);
        // Uses only one of the two bounds: SQLite starts at the first bound in the text, and would
        // step over all rows between them.
        match (self.before, after) {
            (before, Some(after)) if before.is_none_or(|before| after.at < before) => {
                let last_at = statement.bind(after.at.into());
                let last_id = statement.bind((&*after.id).into());
                format!("{found} AND ({at}, {id}) < ({last_at}, {last_id})")
            }
            (Some(before), _) => format!("{found} AND {at} < {}", statement.bind(before.into())),
            (None, _) => found,
        }
    }

    /// Returns the query for the examined rows.
    fn looked_at(&self, found: &str) -> String {
        let Table { name, at, id } = self.table;
        let mut columns = vec![at, id];
        columns.extend(self.sifted_columns.iter().filter(|column| ![at, id].contains(*column)));
        let columns = columns.join(", ");
        let order = format!("ORDER BY {at} DESC, {id} DESC");
        format!("SELECT {columns} FROM {name} WHERE {found} {order} LIMIT {}", self.looked_at_max)
    }

    /// Returns the last examined row, if more rows follow.
    async fn last_looked_at(
        &self,
        connection: &mut AnyConnection,
        after: Option<&Position>,
    ) -> Result<Option<Position>> {
        let Table { name, at, id } = self.table;
        let mut statement = Statement::default();
        let found = self.condition(&mut statement, after);
        statement.sql = format!(
            "SELECT {at} AS at, {id} AS id FROM {name} WHERE {found} \
             ORDER BY {at} DESC, {id} DESC LIMIT 2 OFFSET {}",
            self.looked_at_max - 1
        );
        let mut rows: Vec<Position> = statement.query().fetch_all(connection).await?;
        Ok(if rows.len() == 2 { Some(rows.swap_remove(0)) } else { None })
    }

    /// Returns the number of rows, at most [`COUNTED_MAX`].
    pub(super) async fn count(self, connection: &mut AnyConnection) -> Result<i64> {
        let mut statement = Statement::default();
        let (name, found) = (self.table.name, self.condition(&mut statement, None));
        statement.sql = if self.sifted.is_empty() {
            format!(
                "SELECT COUNT(*) FROM (SELECT 1 FROM {name} WHERE {found} LIMIT {COUNTED_MAX}) AS c"
            )
        } else {
            let sifted = statement.all(&self.sifted);
            format!("SELECT COUNT(*) FROM ({}) AS looked WHERE {sifted}", self.looked_at(&found))
        };
        let (count,): (i64,) = statement.query().fetch_one(connection).await?;
        Ok(count)
    }
}

/// A statement and its bound values.
#[derive(Default)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// Binds a value and returns its placeholder.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Joins these conditions with AND.
    fn all(&mut self, conditions: &[Condition]) -> String {
        let each = conditions.iter().map(|Condition { sql, value }| match value {
            Some(value) => sql.replace("{}", &self.bind(value.clone())),
            None => sql.clone(),
        });
        each.collect::<Vec<_>>().join(" AND ")
    }

    fn query<T>(&self) -> QueryAs<'static, Any, T, AnyArguments>
    where
        T: for<'r> FromRow<'r, AnyRow>,
    {
        let query = sqlx::query_as(AssertSqlSafe(self.sql.clone()));
        self.values.iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_from_its_text() {
        let id = "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e".to_owned();
        let position = Position { at: 7, id };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "v1.", "v1.Nzpub25l", "v2.Nzpub25l"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }
}
