//! Audit entries for what a caller changes.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::{Caller, Principal};
use crate::clock::Clock;
use crate::store::{AppId, AuditEntry, Json, Resource};

/// A change to a resource, with its state before and after.
#[derive(Debug)]
pub struct Change {
    action: &'static str,
    resource: Resource,
    id: String,
    name: String,
    app_id: Option<AppId>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    /// A change by the operation `action` to the resource with this id and name.
    #[must_use]
    pub fn new(action: &'static str, resource: Resource, id: &str, name: &str) -> Self {
        let (id, name) = (id.to_owned(), name.to_owned());
        Self { action, resource, id, name, app_id: None, before: None, after: None }
    }

    /// Sets the app that the change belongs to.
    #[must_use]
    pub fn in_app(self, app_id: &AppId) -> Self {
        Self { app_id: Some(app_id.clone()), ..self }
    }

    /// Sets the state before the change; without any secret value.
    #[must_use]
    pub fn from(self, before: &impl Serialize) -> Self {
        Self { before: serde_json::to_value(before).ok(), ..self }
    }

    /// Sets the state after the change; without any secret value.
    #[must_use]
    pub fn to(self, after: &impl Serialize) -> Self {
        Self { after: serde_json::to_value(after).ok(), ..self }
    }

    /// Builds the entry for a principal with this name, from this address if it is known.
    #[must_use]
    pub fn by(
        self,
        principal: &Principal,
        name: &str,
        address: Option<IpAddr>,
        clock: &Clock,
    ) -> AuditEntry {
        let json = |value: Option<Value>| value.map(|value| Json::from_text(value.to_string()));
        AuditEntry {
            id: clock.new_id().into(),
            app_id: self.app_id,
            principal: principal.to_string(),
            principal_name: name.to_owned(),
            key_prefix: None,
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            action: self.action.to_owned(),
            resource: self.resource.to_string(),
            resource_id: self.id,
            resource_name: self.name,
            before: json(self.before),
            after: json(self.after),
            created_at: clock.now_us(),
        }
    }
}

impl Caller {
    /// Builds the audit entry for a change by this caller.
    #[must_use]
    pub fn entry(&self, clock: &Clock, change: Change) -> AuditEntry {
        let key_prefix = self.key().map(|key| key.prefix.clone());
        let entry = change.by(&self.principal, &self.name, self.address, clock);
        AuditEntry { key_prefix, ..entry }
    }
}
