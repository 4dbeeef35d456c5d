//! The audit log: who did what to what.
//!
//! [`Store::on_behalf`] gives a store whose next writes carry an entry each: change and
//! entry are one transaction, so that neither is there without the other.
//!
//! Invariant: an entry is never changed; retention deletes it when it is old.

use sqlx::{AnyConnection, FromRow};

use super::listing::{Listing, Table};
use super::signals::Touches;
use super::{AppId, AuditId, Json, Listed, Part, Result, Store};
use std::sync::Arc;

const AUDIT: Table = Table { name: "audit", at: "created_at", id: "id" };

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// The app that it concerns, if it concerns one.
    pub app_id: Option<AppId>,
    /// Who.
    pub principal: String,
    /// Their name at that time.
    pub principal_name: String,
    /// The prefix of the key that they used, if it was one.
    pub key_prefix: Option<String>,
    /// From where, as an address; empty where that is not known.
    pub address: String,
    /// What they did, as the operation of the API.
    pub action: String,
    /// To what kind of thing.
    pub resource: String,
    /// To which.
    pub resource_id: String,
    /// Its name at that time.
    pub resource_name: String,
    /// What was there before.
    pub before: Option<Json>,
    /// What is there now.
    pub after: Option<Json>,
    /// When, µs.
    pub created_at: i64,
}

impl AuditEntry {
    /// Whether it may be done while the disk is full: it makes room, or closes a door.
    pub(super) fn is_done_without_room(&self) -> bool {
        const BEGINNINGS: [&str; 7] =
            ["cancel_", "delete_", "purge_", "release_", "revoke_", "sign_out", "change_password"];
        BEGINNINGS.iter().any(|beginning| self.action.starts_with(beginning))
    }
}

/// Which entries.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFilter<'a> {
    /// Only those that concern this app.
    pub app_id: Option<&'a AppId>,
    /// Only what this principal did.
    pub principal: Option<&'a str>,
    /// Only this action.
    pub action: Option<&'a str>,
    /// Only what was done to this.
    pub resource_id: Option<&'a str>,
}

impl Store {
    /// The same store for one change that somebody makes: what it writes, it writes with
    /// this entry.
    #[must_use]
    pub fn on_behalf(&self, entry: AuditEntry) -> Self {
        Self { entry: Some(Arc::new(entry)), ..self.clone() }
    }

    /// Writes an entry by itself, of what is written elsewhere or not at all.
    pub async fn append_audit(&self, entry: AuditEntry) -> Result<()> {
        self.on_behalf(entry).write(Touches::Records, |_| Box::pin(async { Ok(()) })).await
    }

    /// Entries, newest first.
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

    /// Deletes at most `limit` entries that are older than `at`, µs, and says how many.
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
