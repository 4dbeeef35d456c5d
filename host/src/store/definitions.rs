//! Reads all definitions that decide which script handles a request. The ingress caches them until
//! [`Store::revision`] changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Connection, FromRow};
use tokio::time::Instant;

use super::revision::STORED_REVISION;
use super::signals::{Signals, Touches};
use super::{
    AppId, Delivery, Error, IngressPolicy, Result, RouteId, RoutePolicy, ScriptId, ScriptLimits,
    Store, Trigger, triggers,
};

/// How long definitions are used without checking that they are the newest. A node that hears
/// nothing from the others for longer must check before it uses them, and is not ready.
pub const DEFINITIONS_AGE_MAX: Duration = Duration::from_secs(30);

/// How long [`Store::confirm_definitions`] waits.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// The definitions' revision in the database, as far as this process knows. Cheap to clone.
#[derive(Clone)]
pub(super) struct Currency(Arc<Mutex<Known>>);

struct Known {
    /// The newest revision that was read.
    read: i64,
    /// When the newest revision was last checked.
    looked_at: Instant,
}

impl Default for Currency {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Known { read: 0, looked_at: Instant::now() })))
    }
}

impl Currency {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_read(&self, revision: i64) {
        let mut known = self.known();
        known.read = known.read.max(revision);
        known.looked_at = Instant::now();
    }

    /// Records the database's revision. If it is newer than the one read, the next use of the
    /// definitions reads them again.
    pub(super) fn is_stored(&self, revision: i64, signals: &Signals) {
        let is_newer = {
            let mut known = self.known();
            known.looked_at = Instant::now();
            // A process that has not read the definitions yet need not read them again.
            let is_newer = known.read > 0 && revision > known.read;
            known.read = known.read.max(revision);
            is_newer
        };
        if is_newer {
            signals.tell(Touches::Triggers);
        }
    }

    fn age(&self) -> Duration {
        self.known().looked_at.elapsed()
    }
}

/// All scripts, routes, triggers and domains at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definitions {
    /// The process's revision; the definitions are at least this new.
    pub revision: u64,
    /// The revision in the database that these definitions have: see [`Commit::definitions`].
    ///
    /// [`Commit::definitions`]: super::Commit::definitions
    pub stored_revision: i64,
    /// Every script of every app.
    pub scripts: Vec<ScriptDefinition>,
    /// Every route of every app.
    pub routes: Vec<RouteDefinition>,
    /// Every verified domain.
    pub domains: Vec<DomainDefinition>,
    /// The hosts reserved by the nodes.
    pub reserved_hosts: Vec<String>,
    /// Every trigger of every app.
    pub triggers: Vec<Trigger>,
    /// The ingress policies of the apps that have one.
    pub ingress: Vec<AppIngress>,
}

/// An app's requirements for every request.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AppIngress {
    /// The app.
    pub app_id: AppId,
    /// Its policy.
    #[sqlx(try_from = "String")]
    pub ingress: IngressPolicy,
}

/// A verified domain.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DomainDefinition {
    /// The host name.
    pub host: String,
    /// The app it belongs to.
    pub app_id: AppId,
}

/// A script as `/x/{app}/{script}` runs it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ScriptDefinition {
    /// The app it belongs to.
    pub app_id: AppId,
    /// The app's name.
    pub app_name: String,
    /// The script.
    pub script_id: ScriptId,
    /// The script's name.
    pub script_name: String,
    /// The deployed version.
    pub version: i64,
    /// The SHA-256 of that version's source, in hexadecimal.
    pub source_sha256: String,
    /// The script's own budget.
    #[sqlx(flatten)]
    pub limits: ScriptLimits,
    /// When the script's own endpoint was closed, µs; `None` while it is open.
    pub endpoint_closed_at: Option<i64>,
    /// The app's private hosts, separated by spaces.
    pub private_hosts: String,
}

/// A route with the names of its app and script.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RouteDefinition {
    /// The route.
    pub id: RouteId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The app's name.
    pub app_name: String,
    /// The script it runs.
    pub script_id: ScriptId,
    /// The script's name.
    pub script_name: String,
    /// `*`, or a method in upper case.
    pub method: String,
    /// Empty under `/x/{app}`, else a domain that the app has claimed.
    pub host: String,
    /// The path pattern.
    pub path: String,
    /// The pattern without its parameters' names.
    pub shape: String,
    /// How a request is served.
    #[sqlx(try_from = "String")]
    pub delivery: Delivery,
    /// The requirements for a request.
    #[sqlx(try_from = "String")]
    pub policy: RoutePolicy,
}

impl Store {
    /// Reads all definitions as of one moment.
    pub async fn definitions(&self) -> Result<Definitions> {
        // Read first: a change in between makes the definitions newer than their revision, which
        // costs another read but never serves old definitions.
        let revision = self.revision();
        let mut connection = self.reads().acquire().await?;
        let mut snapshot = connection.begin_with(self.inner.dialect.begin_snapshot()).await?;
        let stored_revision = sqlx::query_scalar(STORED_REVISION).fetch_one(&mut *snapshot).await?;
        let scripts = sqlx::query_as(
            "SELECT a.id AS app_id, a.name AS app_name, s.id AS script_id, s.name AS script_name, \
             s.version, v.source_sha256, s.fuel_max, s.memory_bytes_max, s.wall_ms_max, \
             s.endpoint_closed_at, \
             COALESCE(o.private_hosts, '') AS private_hosts \
             FROM scripts s JOIN apps a ON a.id = s.app_id \
             JOIN script_versions v ON v.script_id = s.id AND v.version = s.version \
             LEFT JOIN outbound o ON o.app_id = s.app_id WHERE a.deleted_at IS NULL ORDER BY s.id",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let routes = sqlx::query_as(
            "SELECT r.id, r.app_id, a.name AS app_name, r.script_id, s.name AS script_name, \
             r.method, r.host, r.path, r.shape, r.delivery, r.policy \
             FROM routes r JOIN apps a ON a.id = r.app_id \
             JOIN scripts s ON s.id = r.script_id WHERE a.deleted_at IS NULL ORDER BY r.id",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let domains = sqlx::query_as(
            "SELECT host, app_id FROM domains WHERE verified_at IS NOT NULL ORDER BY host",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let reserved_hosts = sqlx::query_scalar("SELECT DISTINCT host FROM reserved_hosts")
            .fetch_all(&mut *snapshot)
            .await?;
        let triggers = triggers::all(&mut snapshot).await?;
        let ingress = sqlx::query_as(
            "SELECT id AS app_id, ingress FROM apps \
             WHERE ingress <> '{}' AND deleted_at IS NULL ORDER BY id",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        snapshot.commit().await?;
        self.inner.currency.has_read(stored_revision);
        Ok(Definitions {
            revision,
            stored_revision,
            scripts,
            routes,
            domains,
            reserved_hosts,
            triggers,
            ingress,
        })
    }

    /// Reports that the definitions are older than the database's, so that they are read again.
    pub fn definitions_are_stale(&self) {
        self.inner.signals.tell(Touches::Definitions);
    }

    /// Whether [`DEFINITIONS_AGE_MAX`] has passed since the last check for changes by other
    /// processes.
    #[must_use]
    pub fn definitions_are_old(&self) -> bool {
        self.is_shared() && self.inner.currency.age() > DEFINITIONS_AGE_MAX
    }

    /// Returns the time since the last check for changes by other processes; zero if the database
    /// is not shared.
    #[must_use]
    pub fn definitions_age(&self) -> Duration {
        if self.is_shared() { self.inner.currency.age() } else { Duration::ZERO }
    }

    /// Checks whether the definitions are the newest, and triggers a new read if not.
    pub async fn confirm_definitions(&self) -> Result<()> {
        let stored = sqlx::query_scalar(STORED_REVISION).fetch_one(self.reads());
        let stored = match tokio::time::timeout(CONFIRM_TIMEOUT, stored).await {
            Ok(stored) => stored?,
            Err(_) => return Err(Error::unavailable("the database did not answer in time")),
        };
        self.inner.currency.is_stored(stored, &self.inner.signals);
        Ok(())
    }
}
