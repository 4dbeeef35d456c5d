//! The cost of a statement.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use crate::database::{Database, Kind};
use crate::listener::Heard;

/// The most rows that a step of a statement reads: those that a page examines, and the page itself.
const READ_MAX: u64 = 11_000;

/// The tables that grow with use.
const GROWING: [&str; 11] = [
    "executions",
    "outbox",
    "entries",
    "collections",
    "dead_letters",
    "abandoned_executions",
    "idempotency_keys",
    "script_versions",
    "sessions",
    "audit",
    "freed_blobs",
];

/// Lets PostgreSQL report what each statement has read.
pub(crate) async fn prepare(database: &Database) {
    if database.kind == Kind::Sqlite {
        return;
    }
    let (_, name) = database.plain_url.rsplit_once('/').unwrap();
    let mut connection = PgConnection::connect(&database.plain_url).await.unwrap();
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_timing = off",
        "client_min_messages = log",
    ] {
        let statement = format!("ALTER DATABASE {name} SET {setting}");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
}

/// Explains the recorded statements.
pub(crate) enum Explainer {
    Sqlite(SqliteConnection),
    /// The server has already explained them.
    Postgres,
}

impl Explainer {
    pub(crate) async fn connect(database: &Database) -> Self {
        match database.kind {
            Kind::Sqlite => {
                Self::Sqlite(SqliteConnection::connect(&database.plain_url).await.unwrap())
            }
            Kind::Postgres => Self::Postgres,
        }
    }

    /// Returns what is wrong with these statements.
    pub(crate) async fn wrong(&mut self, heard: &[Heard]) -> Vec<String> {
        let mut wrong = Vec::new();
        match self {
            Self::Postgres => {
                let notices = heard.iter().filter_map(|heard| match heard {
                    Heard::Notice(text) if text.contains("plan:") => Some(text),
                    _ => None,
                });
                let notices: Vec<_> = notices.collect();
                assert!(!notices.is_empty(), "the server explains nothing: {heard:?}");
                wrong.extend(
                    notices
                        .iter()
                        .filter(|plan| rows_read(plan) > READ_MAX)
                        .map(|plan| format!("a step reads {} rows\n{plan}\n", rows_read(plan))),
                );
            }
            Self::Sqlite(connection) => {
                for heard in heard {
                    let Heard::Statement(statement) = heard else { continue };
                    let verb = statement.split_whitespace().next().unwrap_or_default();
                    if ["SELECT", "WITH", "UPDATE", "DELETE", "INSERT"].contains(&verb) {
                        let plan = plan_of(connection, statement).await;
                        let found = wrong_step(statement, &plan);
                        let told = |step| format!("{step}\n{statement}\n{plan:#?}\n");
                        wrong.extend(found.map(told));
                    }
                }
            }
        }
        wrong
    }
}

/// A step of a plan, and its parent.
#[derive(Debug)]
struct Step {
    detail: String,
    parent: String,
}

async fn plan_of(connection: &mut SqliteConnection, statement: &str) -> Vec<Step> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}: {statement}"));
    let details: BTreeMap<i64, String> =
        rows.iter().map(|row| (row.get("id"), row.get("detail"))).collect();
    let step = |row: &SqliteRow| Step {
        detail: row.get("detail"),
        parent: details.get(&row.get("parent")).cloned().unwrap_or_default(),
    };
    rows.iter().map(step).collect()
}

/// Returns a step that reads a whole table, or sorts the rows that it has read.
fn wrong_step<'a>(statement: &str, plan: &'a [Step]) -> Option<&'a str> {
    // These read in the order of an index, and only until enough rows are found.
    let takes_first = ["WHERE true ORDER BY", "(SELECT 1 FROM"];
    let takes_first = takes_first.iter().any(|part| statement.contains(part));
    let reads_all = |step: &&Step| {
        let table = step.detail.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
        let is_growing = table.is_some_and(|table| GROWING.contains(&table));
        is_growing && !(takes_first && step.detail.contains(" USING "))
    };
    // Sorting the examined rows is fine, and so is sorting a page found by key. Sorting rows that
    // are still to be examined is not.
    // A backlog has few sources for any content, and a range has few buckets.
    let is_few = statement.contains("places") || statement.contains(" AS place,");
    let by_key = statement.contains(" IN (SELECT");
    let sorts = |step: &&Step| {
        let is_sort = step.detail.starts_with("USE TEMP B-TREE FOR");
        is_sort && (!by_key || step.parent.contains("looked")) && !is_few
    };
    let wrong = plan.iter().find(reads_all).or_else(|| plan.iter().find(sorts));
    wrong.map(|step| step.detail.as_str())
}

/// Returns the most rows that a step of a plan has read, including those it has filtered out.
fn rows_read(plan: &str) -> u64 {
    let number = |text: &str, name: &str| -> Option<u64> {
        let (_, rest) = text.split_once(name)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let (mut most, mut loops) = (0, 1);
    for line in plan.lines() {
        if let Some((_, actual)) = line.split_once("(actual ") {
            loops = number(actual, "loops=").unwrap_or(0);
            most = most.max(number(actual, "rows=").unwrap_or(0) * loops);
        }
        let removed = ["Rows Removed by Filter: ", "Rows Removed by Join Filter: "];
        let removed = removed.iter().filter_map(|name| number(line, name)).max();
        most = most.max(removed.unwrap_or(0) * loops);
    }
    most
}
