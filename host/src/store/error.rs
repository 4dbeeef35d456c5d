//! The errors of the store, sorted by what the caller can do about them.
//!
//! Invariant: a violated constraint is recognised by its kind, never by the text of a message.

use std::fmt;
use std::sync::Arc;

use sqlx::error::ErrorKind;

use super::RouteId;
use super::dialect::{is_contended, is_full, is_unavailable};

/// An error of the store. Cheap to clone: every caller in a failed commit receives it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The resource does not exist, or does not belong to the given parent.
    #[error("{0} not found")]
    NotFound(Resource),
    /// The change contradicts existing data.
    #[error("{0}")]
    Conflict(Conflict),
    /// The text cannot be stored on either database.
    #[error("{field} {reason}")]
    Invalid {
        /// The field's name in the API.
        field: &'static str,
        /// The reason, phrased to follow the field's name.
        reason: &'static str,
    },
    /// The database cannot be reached, is full or is restarting. It is unknown whether the write
    /// happened; the same call can succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The disk of the database is full. Nothing was written; the same call succeeds once space is
    /// available.
    #[error("the disk of the database is full: {0}")]
    Full(Arc<str>),
    /// The database rolled the work back because of concurrent work. Nothing was written, and the
    /// same work can be repeated.
    #[error("the database is unavailable: {0}")]
    Contended(Arc<str>),
    /// A newer release has migrated the database, and this release must not use it.
    #[error(
        "the database has schema {schema}, which needs a release of PiCloud with schema \
         {min_version} or newer; this release, {}, has schema {release}. Start the newer \
         release, or restore a backup from before the upgrade",
        env!("CARGO_PKG_VERSION")
    )]
    Schema {
        /// The newest migration of the database.
        schema: i64,
        /// The newest migration that a release must know to use it.
        min_version: i64,
        /// The newest migration of this release.
        release: i64,
    },
    /// A bug in PiCloud or a damaged database. Never shown to callers.
    #[error("the database failed: {0}")]
    Internal(Arc<sqlx::Error>),
}

/// A kind of resource that was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// An app.
    App,
    /// A domain claimed by the app.
    Domain,
    /// A script; of the given app, if one was given.
    Script,
    /// A version of the script.
    Version,
    /// A route.
    Route,
    /// An execution.
    Execution,
    /// A setting.
    Setting,
    /// A trigger.
    Trigger,
    /// An event that is not done yet.
    Event,
    /// A dead letter.
    DeadLetter,
    /// A key of a collection.
    Key,
    /// A file of a bucket.
    File,
    /// A user.
    User,
    /// A user's membership of the app.
    Member,
    /// An API key.
    ApiKey,
    /// A secret of an app.
    Secret,
}

/// The reason for a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Another app has the name.
    AppName,
    /// Another script of the app has the name.
    ScriptName,
    /// An app has already claimed the domain.
    Domain,
    /// This route of the app answers the same requests.
    Route(Box<SameRoute>),
    /// The script is at this version, not at the expected version.
    Version(i64),
    /// The queue already has a trigger.
    Queue,
    /// Another trigger has the address.
    Address,
    /// The dead letter was already replayed.
    Resolved,
    /// The event is running on a node.
    EventRuns,
    /// The script of the dead letter, or its version, no longer exists.
    ScriptDeleted,
    /// Another user has the name.
    UserName,
    /// The identity belongs to another user.
    Identity,
    /// Without this user no owner could sign in.
    LastOwner,
    /// The app has the maximum number of secrets.
    SecretsMax(i64),
    /// The app has the maximum number of domains.
    DomainsMax(i64),
    /// A newer master key than this process has is in use.
    MasterKey,
    /// The app's storage is full.
    StorageFull(StorageFull),
    /// The id is taken, or another caller made the same change at the same time.
    Concurrent,
}

/// A storage limit that an app would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageFull {
    /// The limit's name.
    pub limit: &'static str,
    /// The app's use after the change.
    pub used: i64,
    /// The maximum allowed.
    pub most: i64,
}

impl fmt::Display for StorageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, used, most } = self;
        write!(f, "the app's storage is full: limit {limit}, {used} used, {most} allowed")
    }
}

/// An existing route of the app that answers the same requests as a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameRoute {
    /// The route's id.
    pub id: RouteId,
    /// The route's method, or `*`.
    pub method: String,
    /// The route's path.
    pub path: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App => "app",
            Self::Domain => "domain",
            Self::Script => "script",
            Self::Version => "version",
            Self::Route => "route",
            Self::Execution => "execution",
            Self::Setting => "setting",
            Self::Trigger => "trigger",
            Self::Event => "event",
            Self::DeadLetter => "dead_letter",
            Self::Key => "key",
            Self::File => "file",
            Self::User => "user",
            Self::Member => "member",
            Self::ApiKey => "api_key",
            Self::Secret => "secret",
        })
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppName => f.write_str("another app has this name"),
            Self::ScriptName => f.write_str("another script of the app has this name"),
            Self::Domain => f.write_str("the domain is claimed already"),
            Self::Route(route) => {
                write!(f, "the route {} {} answers the same requests", route.method, route.path)
            }
            Self::Version(version) => {
                write!(f, "the script is at version {version}, not at the expected version")
            }
            Self::Queue => f.write_str("the queue has a trigger already"),
            Self::Address => f.write_str("another trigger has this address"),
            Self::Resolved => f.write_str("the dead letter was already replayed"),
            Self::EventRuns => f.write_str("a running event cannot be cancelled"),
            Self::ScriptDeleted => f.write_str("the script, or this version of it, was deleted"),
            Self::UserName => f.write_str("another user has this name"),
            Self::Identity => f.write_str("the identity belongs to another user"),
            Self::LastOwner => f.write_str("there must be an owner who can sign in"),
            Self::SecretsMax(most) => write!(f, "an app has at most {most} secrets"),
            Self::DomainsMax(most) => write!(f, "an app has at most {most} domains"),
            Self::MasterKey => f.write_str("this node does not have the newest master key"),
            Self::StorageFull(full) => full.fmt(f),
            Self::Concurrent => f.write_str("another request changed it at the same time"),
        }
    }
}

impl Error {
    /// Whether the database was unable to work, whatever the request; the same call can succeed
    /// later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Contended(_))
    }

    /// Logs that `what` failed in the background, as a warning. An outage is only logged at debug
    /// level, because the store has already logged it once.
    pub fn tell(&self, what: &str) {
        if self.is_outage() {
            tracing::debug!(error = %self, "{what}");
        } else {
            tracing::warn!(error = %self, "{what}");
        }
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    pub(super) fn unavailable(reason: impl Into<Arc<str>>) -> Self {
        Self::Unavailable(reason.into())
    }

    pub(super) fn migration(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => sqlx::Error::from(other).into(),
        }
    }

    /// Maps a violated UNIQUE constraint to a conflict. SQLite does not report which constraint was
    /// violated, so the caller names the conflict.
    pub(super) fn on_unique(self, conflict: Conflict) -> Self {
        if self.violates(&ErrorKind::UniqueViolation) { Self::Conflict(conflict) } else { self }
    }

    /// Maps a violated foreign key to the missing resource.
    pub(super) fn on_foreign_key(self, resource: Resource) -> Self {
        if self.violates(&ErrorKind::ForeignKeyViolation) { Self::NotFound(resource) } else { self }
    }

    fn violates(&self, kind: &ErrorKind) -> bool {
        match self {
            Self::Internal(error) => error.as_database_error().is_some_and(|e| e.kind() == *kind),
            _ => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = match &error {
            sqlx::Error::Database(error) => is_unavailable(&**error),
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => true,
            _ => false,
        };
        let full = match &error {
            sqlx::Error::Database(error) => is_full(&**error),
            _ => false,
        };
        let contended = match &error {
            sqlx::Error::Database(error) => is_contended(&**error),
            _ => false,
        };
        if full {
            Self::Full(error.to_string().into())
        } else if contended {
            Self::Contended(error.to_string().into())
        } else if unavailable {
            Self::unavailable(error.to_string())
        } else {
            Self::Internal(Arc::new(error))
        }
    }
}
