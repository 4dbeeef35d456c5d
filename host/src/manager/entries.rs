//! Keys and files, read and changed through the API.
//!
//! A change is committed like a run's change: in one transaction with the events of the triggers on
//! it.

mod files;
mod keys;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::ControlPlane;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::events::causes::{self, Cause};
use crate::events::effects::{EntryKey, Written};
use crate::events::rules::Violation;
use crate::store::{
    self, App, AuditEntry, Commit, Committed, Conflict, Entry, EntryName, Read, Resource, Space,
    Stamp,
};
pub use files::File;
pub use keys::{Key, SetKey};

/// The endpoints of keys and files, below `/api/v1`.
pub(super) fn api() -> OpenApiRouter<ControlPlane> {
    keys::api().merge(files::api())
}

impl ControlPlane {
    /// Returns the app and the entry's key, if the caller has the capability in the app.
    async fn entry_key(
        &self,
        caller: &Caller,
        capability: Capability,
        space: Space,
        (app, collection, name): (String, String, String),
    ) -> Result<(App, EntryKey)> {
        let app = self.app(caller, &app, capability).await?;
        Ok((
            app,
            EntryKey::checked(space, collection, name).map_err(|violation| invalid(&violation))?,
        ))
    }

    async fn find_entry(&self, app: &App, key: &EntryKey) -> Result<Option<Entry>> {
        let name = EntryName { space: key.space, collection: &key.collection, name: &key.name };
        Ok(self.store.find_entry(&app.id, name, self.clock.now_us()).await?)
    }

    async fn delete_entry(&self, caller: &Caller, app: &App, key: &EntryKey) -> Result<()> {
        self.find_entry(app, key).await?.ok_or_else(|| not_found(key.space))?;
        let deleted = Written { value: None, expires_at: None };
        self.change_entry(caller, app, key, deleted, None).await?;
        Ok(())
    }

    /// Commits one change and its events. Returns the version of a written entry.
    async fn change_entry(
        &self,
        caller: &Caller,
        app: &App,
        key: &EntryKey,
        written: Written,
        if_version: Option<i64>,
    ) -> Result<Option<Stamp>> {
        let at = self.clock.now_us();
        let principal = caller.principal.to_string();
        let cause = Cause {
            app_id: &app.id,
            app: &app.name,
            script: None,
            execution_id: None,
            depth: 0,
            principal: &principal,
            clock: &self.clock,
            at,
        };
        let seen = |version| Read {
            collection: cause.collection(key.space, &key.collection),
            name: Some(key.name.clone()),
            version,
            until: None,
        };
        let audit = Arc::new(self.audit_entry(caller, app, key, &written));
        let committed = self.definitions.commit(|table| {
            Ok(Commit {
                reads: if_version.map(seen).into_iter().collect(),
                events: causes::of_change(&cause, 0, key, &written, table),
                writes: vec![causes::write(&cause, key, &written)],
                at,
                audit: Some(Arc::clone(&audit)),
                is_limited: true,
                ..Commit::default()
            })
        });
        let (committed, stamp) = committed.await?;
        match committed {
            Committed::Done => Ok(stamp),
            Committed::Full(full) => {
                Err(store::Error::Conflict(Conflict::StorageFull(full)).into())
            }
            Committed::Conflict | Committed::Stale | Committed::LeaseLost => {
                let message = "the key has another version";
                Err(Error::Conflict(Refusal::new("version_conflict", message)))
            }
        }
    }

    /// Returns the audit entry. It names the entry but not its value, which belongs to the app.
    fn audit_entry(
        &self,
        caller: &Caller,
        app: &App,
        key: &EntryKey,
        written: &Written,
    ) -> AuditEntry {
        let (action, resource) = match (key.space, written.value.is_some()) {
            (Space::Kv, true) => ("set_key", Resource::Key),
            (Space::Kv, false) => ("delete_key", Resource::Key),
            (Space::Files, true) => ("put_file", Resource::File),
            (Space::Files, false) => ("delete_file", Resource::File),
        };
        let change = Change::new(action, resource, &key.collection, &key.name).in_app(&app.id);
        caller.entry(&self.clock, change)
    }
}

fn not_found(space: Space) -> Error {
    Error::not_found(match space {
        Space::Kv => Resource::Key,
        Space::Files => Resource::File,
    })
}

/// 400 `entry_invalid`.
fn invalid(violation: &Violation) -> Error {
    Error::Invalid(Refusal::new("entry_invalid", violation.to_string()))
}
