//! `/instance` and `/instance/settings`: what this server is, what it keeps and how it is set.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
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

/// What is known of the process from its start on.
#[derive(Clone, Debug)]
pub struct About {
    /// Names this process.
    pub node: String,
    /// When it began, µs.
    pub started_at: i64,
    settings: Vec<Setting>,
    execution_ms: i64,
    dead_letter_ms: i64,
    abandoned_execution_ms: i64,
    session_ms: i64,
    audit_ms: i64,
}

impl About {
    /// What of the settings is shown, and for how long things are kept.
    #[must_use]
    pub fn new(config: &Config, node: String, started_at: i64) -> Self {
        let defaults = Config::default();
        let settings = SETTINGS.iter().map(|setting| {
            let (value, default) = (setting.show(config), setting.show(&defaults));
            Setting {
                name: setting.name,
                is_default: value == default,
                value,
                default,
                unit: setting.unit,
                description: setting.doc,
            }
        });
        Self {
            node,
            started_at,
            settings: settings.collect(),
            execution_ms: i64::from(config.execution_log_retention_days) * DAY_MS,
            dead_letter_ms: i64::from(config.dead_letter_retention_days) * DAY_MS,
            audit_ms: i64::from(config.audit_retention_days) * DAY_MS,
            session_ms: i64::from(config.auth.sessions.days_max) * DAY_MS,
            abandoned_execution_ms: i64::from(config.abandoned_executions_retention_days) * DAY_MS,
        }
    }

    fn retention_ms(&self, table: &str) -> Option<i64> {
        match table {
            "executions" => Some(self.execution_ms),
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
    /// When this process began, in microseconds since 1970.
    started_at: i64,
    /// The process that answers: the id of one of `nodes`.
    node: String,
    /// The processes that share the database.
    nodes: Vec<Node>,
    /// Where everything is kept.
    database: Database,
    /// The tables that grow with use.
    tables: Vec<Table>,
    /// What waits, in all apps.
    outbox: Outbox,
    /// What all apps keep together.
    storage: InstanceStorage,
    /// Dead letters of all apps that nobody has dealt with; 10,000 stands for 10,000 or more.
    dead_letters_unresolved: i64,
    /// The interpreter.
    guest: Guest,
    /// Every setting as it is in force.
    settings: Vec<Setting>,
}

/// Where everything is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Database {
    /// `sqlite` or `postgres`.
    kind: &'static str,
    /// Its own version.
    version: String,
    /// What it takes on its disk.
    size_bytes: i64,
}

/// A process that serves this instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceNode)]
pub struct Node {
    /// Its id, new with every start.
    id: String,
    /// Its version of PiCloud.
    version: String,
    /// Since when it is connected to the database, in microseconds since 1970.
    connected_at: i64,
}

impl From<store::Node> for Node {
    fn from(node: store::Node) -> Self {
        Self { id: node.id, version: node.version, connected_at: node.connected_at }
    }
}

/// How full a table is, and for how long its rows are kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Table {
    /// Its name.
    name: &'static str,
    /// Its rows; from 10,000 on about so many: they are not counted.
    rows: i64,
    /// What it takes with its indexes, in bytes; `null` on SQLite for a database of more than
    /// 256 MiB, in which it takes too long to measure.
    size_bytes: Option<i64>,
    /// Rows go after so long, in milliseconds; `null` for what stays until it is done or
    /// deleted.
    retention_ms: Option<i64>,
}

/// What waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outbox {
    /// Events that nobody has in hand; 10,000 stands for 10,000 or more.
    waiting: i64,
    /// Events in hand; 10,000 stands for 10,000 or more.
    running: i64,
    /// Since when the oldest that could begin waits, in microseconds since 1970.
    oldest_due_at: Option<i64>,
}

/// The interpreter.
#[derive(Debug, Serialize, ToSchema)]
pub struct Guest {
    /// The SHA-256 of the module in hexadecimal.
    sha256: String,
}

/// A setting as it is in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = InstanceSetting)]
pub struct Setting {
    /// The variable that sets it.
    name: &'static str,
    /// Its value; of a secret, whether it is set.
    value: String,
    /// What it is when nobody sets it.
    default: String,
    /// Whether it is that.
    is_default: bool,
    /// The unit of its value.
    unit: &'static str,
    /// What it is for.
    description: &'static str,
}

/// The settings of the node that answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceSettings {
    /// Each of them, in the order of the documents.
    settings: Vec<Setting>,
}

/// Shows the settings that are in force, without the values of secrets. They are those of the
/// node that answers.
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

/// Shows what this server is, what it keeps and how it is set.
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

/// Who is connected; on SQLite nobody but this process.
async fn nodes(control_plane: &ControlPlane) -> Result<Vec<Node>> {
    let nodes = control_plane.store.list_nodes().await?;
    if nodes.is_empty() {
        let about = &control_plane.about;
        let (id, version) = (about.node.clone(), VERSION.to_owned());
        return Ok(vec![Node { id, version, connected_at: about.started_at }]);
    }
    Ok(nodes.into_iter().map(Node::from).collect())
}
