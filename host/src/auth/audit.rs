//! What a caller does, as the audit log keeps it.

use serde::Serialize;
use serde_json::Value;

use super::Caller;
use crate::clock::Clock;
use crate::store::{AppId, AuditEntry, Json, Resource};

/// A change that somebody makes: what to what.
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
    /// The operation `action` on the thing of this id and name.
    #[must_use]
    pub fn new(action: &'static str, resource: Resource, id: &str, name: &str) -> Self {
        let (id, name) = (id.to_owned(), name.to_owned());
        Self { action, resource, id, name, app_id: None, before: None, after: None }
    }

    /// In an app.
    #[must_use]
    pub fn in_app(self, app_id: &AppId) -> Self {
        Self { app_id: Some(app_id.clone()), ..self }
    }

    /// What is there before it; without any secret value.
    #[must_use]
    pub fn from(self, before: &impl Serialize) -> Self {
        Self { before: serde_json::to_value(before).ok(), ..self }
    }

    /// What is there after it; without any secret value.
    #[must_use]
    pub fn to(self, after: &impl Serialize) -> Self {
        Self { after: serde_json::to_value(after).ok(), ..self }
    }
}

impl Caller {
    /// A change that this caller makes, as it is kept.
    #[must_use]
    pub fn entry(&self, clock: &Clock, change: Change) -> AuditEntry {
        let json = |value: Option<Value>| value.map(|value| Json::from_text(value.to_string()));
        AuditEntry {
            id: clock.new_id().into(),
            app_id: change.app_id,
            principal: self.principal.to_string(),
            principal_name: self.name.clone(),
            key_prefix: self.key().map(|key| key.prefix.clone()),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            action: change.action.to_owned(),
            resource: change.resource.to_string(),
            resource_id: change.id,
            resource_name: change.name,
            before: json(change.before),
            after: json(change.after),
            created_at: clock.now_us(),
        }
    }
}
