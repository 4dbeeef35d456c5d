//! The caller of a request, and its rights.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::capability::{Capability, Scope};
use super::principal::Principal;
use super::sessions::Session;
use crate::error::{Error, Refusal};
use crate::store::{ApiKeyId, AppId, AppRole, InstanceRole, Resource, UserId};

/// How a request was authenticated.
#[derive(Clone, Debug)]
pub enum Via {
    /// The owner key.
    OwnerKey,
    /// The session of a browser.
    Session(Session),
    /// An API key.
    ApiKey(KeyGrant),
}

/// The rights of an API key.
#[derive(Clone, Debug)]
pub struct KeyGrant {
    /// The key's id.
    pub id: ApiKeyId,
    /// The part of the key that is not secret.
    pub prefix: String,
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
    /// The only app the key can be used in; `None` for all apps of its owner.
    pub app_id: Option<AppId>,
    /// When it expires, µs.
    pub expires_at: Option<i64>,
}

/// The sender of a request, and how it was authenticated.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The principal.
    pub principal: Principal,
    /// The principal's name.
    pub name: String,
    /// The role in the instance.
    pub role: InstanceRole,
    /// How the request was authenticated.
    pub via: Via,
    /// The address of the sender, if it is known.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// The holder of the owner key.
    pub(super) fn owner(via: Via) -> Self {
        let (principal, name) = (Principal::Owner, "owner".to_owned());
        Self { principal, name, role: InstanceRole::Owner, via, address: None }
    }

    /// Returns the session, if the caller has one.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        if let Via::Session(session) = &self.via { Some(session) } else { None }
    }

    /// Returns the rights of the API key, if the caller used one.
    #[must_use]
    pub fn key(&self) -> Option<&KeyGrant> {
        if let Via::ApiKey(grant) = &self.via { Some(grant) } else { None }
    }

    /// Returns the user's id; `None` for the owner key.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        if let Principal::User(id) = &self.principal { Some(id) } else { None }
    }

    /// Checks that the caller has a capability outside of apps.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check(&self, capability: Capability) -> Result<(), Error> {
        self.check_with(capability, None)
    }

    /// Checks that the caller, who has `app_role` in an app, has a capability there. If the caller
    /// cannot see the app, `resource` does not exist for it.
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
            // A key of an app cannot be used outside of it.
            let is_outside = !capability.is_in_app() && !capability.is_of_platform();
            if key.app_id.is_some() && is_outside {
                let message = "the key is for one app only";
                return Err(Error::Forbidden(Refusal::new("key_of_app", message)));
            }
        }
        if capability.is_had_by(self.role, app_role) {
            return Ok(());
        }
        let message = format!("{} cannot do this: it needs {}", self.name, capability.as_str());
        let refusal = Refusal::new("not_allowed", message);
        Err(Error::Forbidden(refusal.with("capability", capability.as_str())))
    }

    /// Checks that the caller can give a person rights that these scopes cover, by a role or an
    /// invitation. A person keeps the rights after the key expires, and signs in without scopes. So
    /// a key can give only scopes that it has, and none if it expires. Without a key, the
    /// capability checked before is enough.
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
            let message = "the key expires, but the rights it gives would not: sign in instead, or \
                           use a key that does not expire";
            return Err(Error::Forbidden(Refusal::new("key_expires", message)));
        }
        Ok(())
    }

    /// Returns the capabilities in an app where the caller has `app_role`, limited by its key.
    #[must_use]
    pub fn capabilities_in(&self, app_id: &AppId, app_role: Option<AppRole>) -> Vec<Capability> {
        let all = Capability::ALL.iter().copied().filter(|capability| capability.is_in_app());
        let may = |capability: &Capability| {
            self.check_in(app_id, app_role, *capability, Resource::App).is_ok()
        };
        all.filter(may).collect()
    }

    /// Returns the capabilities outside of apps.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let all = Capability::ALL.iter().copied().filter(|capability| !capability.is_in_app());
        all.filter(|capability| self.check(*capability).is_ok()).collect()
    }
}

/// Works only behind [`super::Auth::require_caller`].
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("the route is not behind the guard"))
    }
}
