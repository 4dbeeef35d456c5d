//! The conditions on which triggers fire: one table per kind.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::Trigger;
use crate::named::UnknownName;
use crate::store::{Conflict, Error, Operation, Result, ScriptId, TriggerId, TriggerKind, text};

/// The condition on which a trigger fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerDetail {
    /// A change of a key.
    Kv {
        /// A glob: `*`, `prefix:*` or a whole name.
        collection: String,
        /// The operations that fire.
        operations: Operations,
    },
    /// A schedule, interpreted by the orchestrator.
    Cron {
        /// Five or six fields.
        expression: String,
        /// An IANA time zone.
        zone: String,
        /// `skip`, `once` or `both`.
        dst: String,
        /// `skip`, `once` or `all`.
        misfire: String,
        /// `allow` or `forbid`.
        overlap: String,
        /// The next firing, µs.
        due_at: Option<i64>,
    },
    /// A message in a queue.
    Queue {
        /// The queue.
        queue: String,
    },
    /// A message on a topic.
    Pubsub {
        /// A glob.
        topic: String,
    },
    /// An e-mail to an address.
    Email {
        /// The address.
        address: String,
    },
    /// A change of a file.
    Files {
        /// The bucket.
        bucket: String,
        /// A glob.
        path: String,
        /// The operations that fire.
        operations: Operations,
    },
    /// A dead letter.
    DeadLetter {
        /// Only events of this kind.
        source_kind: Option<TriggerKind>,
        /// Only events of this trigger.
        source_trigger_id: Option<TriggerId>,
        /// Only events of this script.
        source_script_id: Option<ScriptId>,
    },
}

/// A set of operations, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Operation>", into = "Vec<Operation>")]
pub struct Operations(Vec<Operation>);

impl Operations {
    /// Returns all three operations.
    #[must_use]
    pub fn all() -> Self {
        Self(Operation::ALL.to_vec())
    }

    /// Whether the set contains the operation.
    #[must_use]
    pub fn contain(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }

    fn as_text(&self) -> String {
        self.0.iter().map(|operation| operation.as_str()).collect::<Vec<_>>().join(",")
    }

    fn parse(text: &str) -> Result<Self, UnknownName> {
        let operations = text.split(',').map(|name| Operation::try_from(name.to_owned()));
        Ok(Self(operations.collect::<Result<_, _>>()?))
    }
}

/// The set of operations is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("operations must name at least one of insert, update, delete")]
pub struct NoOperation;

impl TryFrom<Vec<Operation>> for Operations {
    type Error = NoOperation;

    fn try_from(mut operations: Vec<Operation>) -> Result<Self, NoOperation> {
        operations.sort_unstable();
        operations.dedup();
        if operations.is_empty() { Err(NoOperation) } else { Ok(Self(operations)) }
    }
}

impl From<Operations> for Vec<Operation> {
    fn from(operations: Operations) -> Self {
        operations.0
    }
}

/// Reports a name in the database that this release does not know.
pub(super) fn malformed(error: UnknownName) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

impl TriggerDetail {
    /// Returns the kind of trigger.
    #[must_use]
    pub fn kind(&self) -> TriggerKind {
        match self {
            Self::Kv { .. } => TriggerKind::Kv,
            Self::Cron { .. } => TriggerKind::Cron,
            Self::Queue { .. } => TriggerKind::Queue,
            Self::Pubsub { .. } => TriggerKind::Pubsub,
            Self::Email { .. } => TriggerKind::Email,
            Self::Files { .. } => TriggerKind::Files,
            Self::DeadLetter { .. } => TriggerKind::DeadLetter,
        }
    }

    pub(super) fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let operations = |column: &str| -> Result<Operations, sqlx::Error> {
            Operations::parse(&row.try_get::<String, _>(column)?).map_err(malformed)
        };
        let kind = TriggerKind::try_from(row.try_get::<String, _>("kind")?).map_err(malformed)?;
        Ok(match kind {
            TriggerKind::Kv => Self::Kv {
                collection: row.try_get("kv_collection")?,
                operations: operations("kv_operations")?,
            },
            TriggerKind::Cron => Self::Cron {
                expression: row.try_get("expression")?,
                zone: row.try_get("zone")?,
                dst: row.try_get("dst")?,
                misfire: row.try_get("misfire")?,
                overlap: row.try_get("overlap")?,
                due_at: row.try_get("due_at")?,
            },
            TriggerKind::Queue => Self::Queue { queue: row.try_get("queue")? },
            TriggerKind::Pubsub => Self::Pubsub { topic: row.try_get("topic")? },
            TriggerKind::Email => Self::Email { address: row.try_get("address")? },
            TriggerKind::Files => Self::Files {
                bucket: row.try_get("bucket")?,
                path: row.try_get("path")?,
                operations: operations("files_operations")?,
            },
            TriggerKind::DeadLetter => Self::DeadLetter {
                source_kind: row
                    .try_get::<Option<String>, _>("source_kind")?
                    .map(TriggerKind::try_from)
                    .transpose()
                    .map_err(malformed)?,
                source_trigger_id: row.try_get("source_trigger_id")?,
                source_script_id: row.try_get("source_script_id")?,
            },
            TriggerKind::Http | TriggerKind::Execute | TriggerKind::Script => {
                let error = format!("a trigger of kind {}", kind.as_str());
                return Err(sqlx::Error::Decode(error.into()));
            }
        })
    }

    /// Refuses text that one of the databases would refuse.
    pub(super) fn check(&self) -> Result<()> {
        let name = |field, value: &str| text::check(field, value, text::NAME_BYTES_MAX);
        match self {
            Self::Kv { collection, .. } => name("collection", collection),
            Self::Cron { expression, zone, .. } => {
                name("expression", expression)?;
                name("zone", zone)
            }
            Self::Queue { queue } => name("queue", queue),
            Self::Pubsub { topic } => name("topic", topic),
            Self::Email { address } => text::check("address", address, text::PATH_BYTES_MAX),
            Self::Files { bucket, path, .. } => {
                name("bucket", bucket)?;
                text::check("path", path, text::PATH_BYTES_MAX)
            }
            Self::DeadLetter { .. } => Ok(()),
        }
    }
}

/// Inserts the row of the trigger's kind.
pub(super) async fn insert(connection: &mut AnyConnection, trigger: &Trigger) -> Result<()> {
    let id = &trigger.id;
    let query = match &trigger.detail {
        TriggerDetail::Kv { collection, operations } => {
            sqlx::query("INSERT INTO triggers_kv VALUES ($1, $2, $3)")
                .bind(id)
                .bind(collection)
                .bind(operations.as_text())
        }
        TriggerDetail::Cron { expression, zone, dst, misfire, overlap, due_at } => {
            sqlx::query("INSERT INTO triggers_cron VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(id)
                .bind(expression)
                .bind(zone)
                .bind(dst)
                .bind(misfire)
                .bind(overlap)
                .bind(due_at)
        }
        TriggerDetail::Queue { queue } => {
            sqlx::query("INSERT INTO triggers_queue VALUES ($1, $2, $3)")
                .bind(id)
                .bind(&trigger.app_id)
                .bind(queue)
        }
        TriggerDetail::Pubsub { topic } => {
            sqlx::query("INSERT INTO triggers_pubsub VALUES ($1, $2)").bind(id).bind(topic)
        }
        TriggerDetail::Email { address } => {
            sqlx::query("INSERT INTO triggers_email VALUES ($1, $2)").bind(id).bind(address)
        }
        TriggerDetail::Files { bucket, path, operations } => {
            sqlx::query("INSERT INTO triggers_files VALUES ($1, $2, $3, $4)")
                .bind(id)
                .bind(bucket)
                .bind(path)
                .bind(operations.as_text())
        }
        TriggerDetail::DeadLetter { source_kind, source_trigger_id, source_script_id } => {
            sqlx::query("INSERT INTO triggers_dead_letter VALUES ($1, $2, $3, $4)")
                .bind(id)
                .bind(source_kind.map(TriggerKind::as_str))
                .bind(source_trigger_id)
                .bind(source_script_id)
        }
    };
    query.execute(&mut *connection).await.map_err(|error| {
        // Only these two tables have a constraint besides their key.
        Error::from(error).on_unique(match &trigger.detail {
            TriggerDetail::Email { .. } => Conflict::Address,
            _ => Conflict::Queue,
        })
    })?;
    Ok(())
}

pub(super) async fn delete(connection: &mut AnyConnection, trigger: &Trigger) -> Result<()> {
    let table = trigger.detail.kind().as_str();
    sqlx::query(AssertSqlSafe(format!("DELETE FROM triggers_{table} WHERE trigger_id = $1")))
        .bind(&trigger.id)
        .execute(connection)
        .await?;
    Ok(())
}
