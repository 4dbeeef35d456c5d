//! The audit log: who did what to what.
//!
//! [`Store::on_behalf`] returns a store that adds an audit entry to each write. The change and its
//! entry are one transaction: both are stored or neither.
//!
//! Invariant: an entry is never changed; retention deletes old entries.

use sqlx::{AnyConnection, FromRow};

use super::listing::{Listing, Table};
use super::signals::Touches;
use super::{AppId, AuditId, Json, Listed, Part, Result, Store};
use std::sync::Arc;

const AUDIT: Table = Table { name: "audit", at: "created_at", id: "id" };

/// A stored audit entry.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AuditEntry {
    /// The id.
    pub id: AuditId,
    /// The app concerned, if any.
    pub app_id: Option<AppId>,
    /// The principal that acted.
    pub principal: String,
    /// The principal's name at that time.
    pub principal_name: String,
    /// The prefix of the API key used, if any.
    pub key_prefix: Option<String>,
    /// The address of the caller; empty if unknown.
    pub address: String,
    /// The action, as the operation id of the API.
    pub action: String,
    /// The kind of resource.
    pub resource: String,
    /// The id of the resource.
    pub resource_id: String,
    /// The name of the resource at that time.
    pub resource_name: String,
    /// The state before the change.
    pub before: Option<Json>,
    /// The state after the change.
    pub after: Option<Json>,
    /// When it happened, µs.
    pub created_at: i64,
}

impl AuditEntry {
    /// Whether the action is allowed while the disk is full: it frees space or removes access.
    pub(super) fn is_done_without_room(&self) -> bool {
        const BEGINNINGS: [&str; 7] =
            ["cancel_", "delete_", "purge_", "release_", "revoke_", "sign_out", "change_password"];
        BEGINNINGS.iter().any(|beginning| self.action.starts_with(beginning))
    }
}

/// A filter of audit entries.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFilter<'a> {
    /// Only entries that concern this app.
    pub app_id: Option<&'a AppId>,
    /// Only entries of this principal.
    pub principal: Option<&'a str>,
    /// Only entries with this action.
    pub action: Option<&'a str>,
    /// Only entries about this resource.
    pub resource_id: Option<&'a str>,
}

impl Store {
    /// Returns this store for one change by a principal: each write also writes this entry.
    #[must_use]
    pub fn on_behalf(&self, entry: AuditEntry) -> Self {
        Self { entry: Some(Arc::new(entry)), ..self.clone() }
    }

    /// Writes an entry on its own, for a change stored elsewhere or not stored at all.
    pub async fn append_audit(&self, entry: AuditEntry) -> Result<()> {
        self.on_behalf(entry).write(Touches::Records, |_| Box::pin(async { Ok(()) })).await
    }

    /// Lists entries, newest first.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter<'_>,
        part: impl Into<Part>,
    ) -> Result<Listed<AuditEntry>> {
        let filters = [
            ("resource_id", filter.resource_id),
            ("principal", filter.principal),
            ("action", filter.action),
        ];
        let app = ("app_id", filter.app_id.map(AppId::as_str));
        let listing = Listing::of(AUDIT).found_by_first(&filters, app);
        let mut connection = self.reads().acquire().await?;
        listing.fetch(&mut connection, "*", &part.into()).await
    }

    /// Deletes at most `limit` entries older than `at` (µs). Returns the number deleted.
    pub async fn delete_audit_before(&self, at: i64, limit: i64) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE created_at < $1 \
                     ORDER BY created_at LIMIT $2)",
                )
                .bind(at)
                .bind(limit)
                .execute(connection)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}

pub(super) async fn append(connection: &mut AnyConnection, entry: &AuditEntry) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (id, app_id, principal, principal_name, key_prefix, address, action, \
         resource, resource_id, resource_name, before, after, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(&entry.id)
    .bind(&entry.app_id)
    .bind(&entry.principal)
    .bind(&entry.principal_name)
    .bind(&entry.key_prefix)
    .bind(&entry.address)
    .bind(&entry.action)
    .bind(&entry.resource)
    .bind(&entry.resource_id)
    .bind(&entry.resource_name)
    .bind(&entry.before)
    .bind(&entry.after)
    .bind(entry.created_at)
    .execute(connection)
    .await?;
    Ok(())
}
