//! `/instance` and `/instance/settings`: this server, its stored data and its settings.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlPlane;
use super::storage::InstanceStorage;
use crate::auth::{Caller, Capability};
use crate::config::{Config, SETTINGS};
use crate::error::Result;
use crate::store;

/// PiCloud's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// The facts about this process that do not change after its start.
#[derive(Clone, Debug)]
pub struct About {
    /// The id of this process.
    pub node: String,
    /// When it started, µs.
    pub started_at: i64,
    settings: Vec<Setting>,
    execution_ms: i64,
    dead_letter_ms: i64,
    abandoned_execution_ms: i64,
    session_ms: i64,
    audit_ms: i64,
}

impl About {
    /// Collects the settings to show and the retention times.
    #[must_use]
    pub fn new(config: &Config, node: String, started_at: i64) -> Self {
        Self {
            node,
            started_at,
            settings: Setting::all(config),
            execution_ms: i64::from(config.execution_log_retention_days) * DAY_MS,
            dead_letter_ms: i64::from(config.dead_letter_retention_days) * DAY_MS,
            audit_ms: i64::from(config.audit_retention_days) * DAY_MS,
            session_ms: i64::from(config.auth.sessions.days_max) * DAY_MS,
            abandoned_execution_ms: i64::from(config.abandoned_executions_retention_days) * DAY_MS,
        }
    }

    fn retention_ms(&self, table: &str) -> Option<i64> {
        match table {
            "executions" | "execution_blocks" => Some(self.execution_ms),
            "dead_letters" => Some(self.dead_letter_ms),
            "abandoned_executions" => Some(self.abandoned_execution_ms),
            "idempotency_keys" => Some(DAY_MS),
            "sessions" => Some(self.session_ms),
            "audit" => Some(self.audit_ms),
            _ => None,
        }
    }
}

/// The server, its database and its settings.
#[derive(Debug, Serialize, ToSchema)]
pub struct Instance {
    /// PiCloud's version.
    version: &'static str,
    /// When this process started, in microseconds since 1970.
    started_at: i64,
    /// The id of the process that answers, one of `nodes`.
    node: String,
    /// The processes that share the database.
    nodes: Vec<Node>,
    /// The database.
    database: Database,
    /// The tables that grow with use.
    tables: Vec<Table>,
    /// Pending and running events of all apps.
    outbox: Outbox,
    /// The storage that all apps use together.
    storage: InstanceStorage,
    /// Unresolved dead letters of all apps; 10,000 means 10,000 or more.
    dead_letters_unresolved: i64,
    /// The interpreter.
    guest: Guest,
    /// All settings, with the values in force.
    settings: Vec<Setting>,
}

/// The database.
#[derive(Debug, Serialize, ToSchema)]
pub struct Database {
    /// `sqlite` or `postgres`.
    kind: &'static str,
    /// The version of the database.
    version: String,
    /// The size of the database, in bytes.
    size_bytes: i64,
}

/// A process of this instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceNode)]
pub struct Node {
    /// The id of the process, new with every start.
    id: String,
    /// The PiCloud version it runs.
    version: String,
    /// When it connected to the database, in microseconds since 1970.
    connected_at: i64,
}

impl From<store::Node> for Node {
    fn from(node: store::Node) -> Self {
        Self { id: node.id, version: node.version, connected_at: node.connected_at }
    }
}

/// The size of a table, and the retention of its rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Table {
    /// The table's name.
    name: &'static str,
    /// The number of rows; from 10,000 on an estimate.
    rows: i64,
    /// The size of the table with its indexes, in bytes; `null` on SQLite for a database of more
    /// than 256 MiB, where measuring takes too long.
    size_bytes: Option<i64>,
    /// How long rows are kept, in milliseconds; `null` for rows that stay until they are done or
    /// deleted.
    retention_ms: Option<i64>,
}

/// The number of events in the outbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outbox {
    /// Pending events; 10,000 means 10,000 or more.
    waiting: i64,
    /// Running events; 10,000 means 10,000 or more.
    running: i64,
    /// When the oldest pending event became due, in microseconds since 1970.
    oldest_due_at: Option<i64>,
}

/// The interpreter.
#[derive(Debug, Serialize, ToSchema)]
pub struct Guest {
    /// The SHA-256 of the module, in hexadecimal.
    sha256: String,
}

/// A setting with its value in force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = InstanceSetting)]
pub struct Setting {
    /// The environment variable.
    #[schema(value_type = String)]
    pub name: Cow<'static, str>,
    /// The value; for a secret, only whether it is set.
    pub value: String,
    /// The default value.
    pub default: String,
    /// Whether the value is the default.
    pub is_default: bool,
    /// The unit of the value.
    #[schema(value_type = String)]
    pub unit: Cow<'static, str>,
    /// A description of the setting.
    #[schema(value_type = String)]
    pub description: Cow<'static, str>,
}

impl Setting {
    /// Returns all settings, in the order of the documentation.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let defaults = Config::default();
        let settings = SETTINGS.iter().map(|setting| {
            let (value, default) = (setting.show(config), setting.show(&defaults));
            Self {
                name: setting.name.into(),
                is_default: value == default,
                value,
                default,
                unit: setting.unit.into(),
                description: setting.doc.into(),
            }
        });
        settings.collect()
    }
}

/// The settings of the node that answers.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct InstanceSettings {
    /// All settings, in the order of the documentation.
    pub settings: Vec<Setting>,
}

/// Shows the settings of the node that answers, without the values of secrets.
#[utoipa::path(get, path = "/instance/settings", tag = "instance",
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The settings", body = InstanceSettings)))]
pub(super) async fn list_settings(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
) -> Result<Json<InstanceSettings>> {
    caller.check(Capability::InstanceRead)?;
    Ok(Json(InstanceSettings { settings: control_plane.about.settings.clone() }))
}

/// Shows this server, its stored data and its settings.
#[utoipa::path(get, path = "/instance", tag = "instance",
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The instance", body = Instance)))]
pub(super) async fn get_instance(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
) -> Result<Json<Instance>> {
    caller.check(Capability::InstanceRead)?;
    let (store, about) = (&control_plane.store, &*control_plane.about);
    let database = store.database_facts().await?;
    let outbox = store.outbox_facts().await?;
    let tables = store.table_facts().await?.into_iter().map(|table| Table {
        name: table.name,
        rows: table.rows,
        size_bytes: table.size_bytes,
        retention_ms: about.retention_ms(table.name),
    });
    Ok(Json(Instance {
        version: VERSION,
        started_at: about.started_at,
        node: about.node.clone(),
        nodes: nodes(&control_plane).await?,
        database: Database {
            kind: database.kind,
            version: database.version,
            size_bytes: database.size_bytes,
        },
        tables: tables.collect(),
        outbox: Outbox {
            waiting: outbox.waiting,
            running: outbox.running,
            oldest_due_at: outbox.oldest_due_at,
        },
        storage: InstanceStorage::of(&store.sum_storage().await?, store.freed_bytes().await?),
        dead_letters_unresolved: store.count_unresolved_dead_letters().await?,
        guest: Guest { sha256: control_plane.executor.guest_sha256().to_owned() },
        settings: about.settings.clone(),
    }))
}

/// Returns the connected nodes; on SQLite only this process.
async fn nodes(control_plane: &ControlPlane) -> Result<Vec<Node>> {
    let nodes = control_plane.store.list_nodes().await?;
    if nodes.is_empty() {
        let about = &control_plane.about;
        let (id, version) = (about.node.clone(), VERSION.to_owned());
        return Ok(vec![Node { id, version, connected_at: about.started_at }]);
    }
    Ok(nodes.into_iter().map(Node::from).collect())
}
