//! Who has sent a request, and what they may do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::capability::{Capability, Scope};
use super::principal::Principal;
use super::sessions::Session;
use crate::error::{Error, Refusal};
use crate::store::{ApiKeyId, AppId, AppRole, InstanceRole, Resource, UserId};

/// What a request was recognised by.
#[derive(Clone, Debug)]
pub enum Via {
    /// The owner key.
    OwnerKey,
    /// The session of a browser.
    Session(Session),
    /// An API key.
    ApiKey(KeyGrant),
}

/// What a key gives of what its owner has.
#[derive(Clone, Debug)]
pub struct KeyGrant {
    /// The key.
    pub id: ApiKeyId,
    /// The part of it that may be shown.
    pub prefix: String,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// The one app that it may be used in.
    pub app_id: Option<AppId>,
    /// When its time is up, µs.
    pub expires_at: Option<i64>,
}

/// Who has sent a request, and how that is known.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// Their name.
    pub name: String,
    /// What they may do in the instance.
    pub role: InstanceRole,
    /// How that is known.
    pub via: Via,
    /// Where the request came from, if that is known.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// Whoever has the owner key.
    pub(super) fn owner(via: Via) -> Self {
        let (principal, name) = (Principal::Owner, "owner".to_owned());
        Self { principal, name, role: InstanceRole::Owner, via, address: None }
    }

    /// Their session, if they have one.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        if let Via::Session(session) = &self.via { Some(session) } else { None }
    }

    /// What they came with, if it was an API key.
    #[must_use]
    pub fn key(&self) -> Option<&KeyGrant> {
        if let Via::ApiKey(grant) = &self.via { Some(grant) } else { None }
    }

    /// The user that they are; none for the owner key's.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        if let Principal::User(id) = &self.principal { Some(id) } else { None }
    }

    /// Whether they may do something that is asked for in no app.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check(&self, capability: Capability) -> Result<(), Error> {
        self.check_with(capability, None)
    }

    /// Whether they may do something in an app, where they have `app_role`. `resource` is
    /// what they asked for: of an app that they may not even see, it is not there.
    ///
    /// # Errors
    /// `NotFound(resource)`, `Forbidden`.
    pub fn check_in(
        &self,
        app_id: &AppId,
        app_role: Option<AppRole>,
        capability: Capability,
        resource: Resource,
    ) -> Result<(), Error> {
        let is_seen = Capability::AppRead.is_had_by(self.role, app_role);
        let is_other_app =
            self.key().and_then(|key| key.app_id.as_ref()).is_some_and(|only| only != app_id);
        if !is_seen || is_other_app {
            return Err(Error::not_found(resource));
        }
        self.check_with(capability, app_role)
    }

    fn check_with(&self, capability: Capability, app_role: Option<AppRole>) -> Result<(), Error> {
        let Some(scope) = capability.scope() else { return Ok(()) };
        if let Some(key) = self.key() {
            if !key.scopes.contains(&scope) {
                let message = if key.scopes.is_empty() {
                    "this release does not know a scope of the key, so the key grants nothing"
                        .into()
                } else {
                    format!("the key lacks the scope {}", scope.as_str())
                };
                let refusal = Refusal::new("scope_missing", message);
                return Err(Error::Forbidden(refusal.with("scope", scope.as_str())));
            }
            // A key of an app has nothing to say outside of it.
            let is_outside = !capability.is_in_app() && !capability.is_of_platform();
            if key.app_id.is_some() && is_outside {
                let message = "the key is for one app only";
                return Err(Error::Forbidden(Refusal::new("key_of_app", message)));
            }
        }
        if capability.is_had_by(self.role, app_role) {
            return Ok(());
        }
        let message = format!("{} may not do this: it needs {}", self.name, capability.as_str());
        let refusal = Refusal::new("not_allowed", message);
        Err(Error::Forbidden(refusal.with("capability", capability.as_str())))
    }

    /// Whether they may give a person rights that are used by these scopes: by a role, or by
    /// an invitation. A person keeps them after the key's end and signs in without scopes, so
    /// a key gives only scopes that it has, and nothing if it expires. Without a key, the
    /// capability that was asked before is enough.
    ///
    /// # Errors
    /// `Forbidden` with the code `scope_missing` or `key_expires`.
    pub fn check_gives(&self, scopes: &BTreeSet<Scope>) -> Result<(), Error> {
        let Some(key) = self.key() else { return Ok(()) };
        if let Some(missing) = scopes.difference(&key.scopes).next() {
            let scope = missing.as_str();
            let message = format!(
                "this would give more than the key has: it lacks the scope {scope}; sign in \
                 instead, or use a key with that scope"
            );
            let refusal = Refusal::new("scope_missing", message);
            return Err(Error::Forbidden(refusal.with("scope", scope)));
        }
        if key.expires_at.is_some() {
            let message = "the key expires, and what it gives would not: sign in instead, or use \
                           a key without an end";
            return Err(Error::Forbidden(Refusal::new("key_expires", message)));
        }
        Ok(())
    }

    /// Everything that they may do in an app where they have `app_role`, as far as the
    /// way that they came by allows.
    #[must_use]
    pub fn capabilities_in(&self, app_id: &AppId, app_role: Option<AppRole>) -> Vec<Capability> {
        let all = Capability::ALL.iter().copied().filter(|capability| capability.is_in_app());
        let may = |capability: &Capability| {
            self.check_in(app_id, app_role, *capability, Resource::App).is_ok()
        };
        all.filter(may).collect()
    }

    /// Everything that they may do outside of apps.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let all = Capability::ALL.iter().copied().filter(|capability| !capability.is_in_app());
        all.filter(|capability| self.check(*capability).is_ok()).collect()
    }
}

/// Behind [`super::Auth::require_caller`] only.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("nobody was asked who is calling"))
    }
}
