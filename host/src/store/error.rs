//! What can go wrong with the store, sorted by what the caller can do about it.
//!
//! Invariant: a violated constraint is recognised by its kind, never by the
//! text of a message.

use std::fmt;
use std::sync::Arc;

use sqlx::error::ErrorKind;

use super::RouteId;
use super::dialect::{is_contended, is_full, is_unavailable};

/// Why the store refused or failed. Cheap to clone: one failed commit is
/// answered to everyone who was in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or it does not belong to what was named with it.
    #[error("{0} not found")]
    NotFound(Resource),
    /// It would contradict what is already there.
    #[error("{0}")]
    Conflict(Conflict),
    /// The text cannot be stored, on either database.
    #[error("{field} {reason}")]
    Invalid {
        /// The field's name, as the API has it.
        field: &'static str,
        /// What is wrong with it, to follow the name in a sentence.
        reason: &'static str,
    },
    /// The database cannot be reached, is full or is being restarted. Nothing
    /// was written, or it is unknown whether it was; the same call may work later.
    #[error("the database is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The disk of the database is full. Nothing was written; the same call works when there is
    /// room.
    #[error("the disk of the database is full: {0}")]
    Full(Arc<str>),
    /// The database has undone the work because others were in its way. Nothing was written,
    /// and the same work can be done again.
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
    /// A mistake in PiCloud or a damaged database. Not for the caller's eyes.
    #[error("the database failed: {0}")]
    Internal(Arc<sqlx::Error>),
}

/// What was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// An app.
    App,
    /// A domain claimed by the app.
    Domain,
    /// A script, in that app where one was named.
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
    /// An event that is not done.
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

/// What was contradicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Another app has the name.
    AppName,
    /// Another script of the app has the name.
    ScriptName,
    /// The domain is claimed already, by whichever app.
    Domain,
    /// This route of the app answers the same requests.
    Route(Box<SameRoute>),
    /// The script is at this version, not at the expected one.
    Version(i64),
    /// The queue has a trigger already.
    Queue,
    /// Another trigger has the address.
    Address,
    /// The dead letter was replayed before.
    Resolved,
    /// A node runs the event.
    EventRuns,
    /// The script of the dead letter, or its version, does not exist any more.
    ScriptDeleted,
    /// Another user has the name.
    UserName,
    /// The identity is another user's.
    Identity,
    /// Without this user there would be no owner who can sign in.
    LastOwner,
    /// The app has as many secrets as it may have.
    SecretsMax(i64),
    /// The app has as many domains as it may have.
    DomainsMax(i64),
    /// There are secrets under a newer master key than this process has.
    MasterKey,
    /// The app may not keep as much.
    StorageFull(StorageFull),
    /// The id is taken, or somebody else made the same change at the same time.
    Concurrent,
}

/// A limit that an app has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageFull {
    /// The limit's name.
    pub limit: &'static str,
    /// What the app would have kept.
    pub used: i64,
    /// What it may keep.
    pub most: i64,
}

impl fmt::Display for StorageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, used, most } = self;
        write!(f, "the app's storage is full: limit {limit}, {used} used, {most} allowed")
    }
}

/// The route of the app that answers the same requests as a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameRoute {
    /// Its id.
    pub id: RouteId,
    /// Its method, or `*`.
    pub method: String,
    /// Its path.
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
            Self::Version(version) => write!(f, "the script is at version {version}"),
            Self::Queue => f.write_str("the queue has a trigger already"),
            Self::Address => f.write_str("another trigger has this address"),
            Self::Resolved => f.write_str("the dead letter was replayed before"),
            Self::EventRuns => f.write_str("the event runs; only what waits can be cancelled"),
            Self::ScriptDeleted => f.write_str("the script, or that version of it, is deleted"),
            Self::UserName => f.write_str("another user has this name"),
            Self::Identity => f.write_str("the identity is another user's"),
            Self::LastOwner => f.write_str("there must be an owner who can sign in"),
            Self::SecretsMax(most) => write!(f, "an app has at most {most} secrets"),
            Self::DomainsMax(most) => write!(f, "an app has at most {most} domains"),
            Self::MasterKey => f.write_str("this node has another master key than the newest"),
            Self::StorageFull(full) => full.fmt(f),
            Self::Concurrent => f.write_str("it was changed at the same time"),
        }
    }
}

impl Error {
    /// Whether the database was in no state to do it, whatever it was asked to do: the same call
    /// works later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Contended(_))
    }

    /// Logs that `what` failed in the background: as a warning, except in an outage, which the
    /// store has logged itself, once.
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

    /// Names what a violated UNIQUE constraint means here. SQLite does not say
    /// which constraint it was, so only the statement's author can.
    pub(super) fn on_unique(self, conflict: Conflict) -> Self {
        if self.violates(&ErrorKind::UniqueViolation) { Self::Conflict(conflict) } else { self }
    }

    /// Names the missing row that a violated foreign key means here.
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
