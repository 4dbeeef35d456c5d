//! Users: how the first comes to be, how they sign in, how they are invited.
//!
//! ```text
//!  first start ─▶ owner `admin` with a password that is printed once
//!  made by an admin ─▶ invited ─┬─ link used ─▶ own password ─▶ signs in
//!                               └─ too old ──▶ invited again
//! ```
//!
//! Invariant: an invitation's token and a password are never stored, only their hashes.
//! Invariant: a refusal to sign in does not tell whether there is such a user.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use axum::http::request::Parts;

use super::key_hash::KeyHash;
use super::passwords::{self, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};
use super::sessions::{self, Begun};
use super::tries::network_of;
use super::{Auth, Caller, Principal};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, InstanceRole, User, UserChange, UserId};

/// The first owner's name.
const FIRST_NAME: &str = "admin";
/// For how many days an invitation is good.
pub const INVITATION_DAYS: u32 = 7;

const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// The longest name.
const NAME_CHARS_MAX: usize = 63;

/// The first owner's password in the clear. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstPassword(String);

impl FirstPassword {
    /// The password itself, to be printed once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for FirstPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FirstPassword(***)")
    }
}

impl FromStr for FirstPassword {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match passwords::check(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!("{PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")),
        }
    }
}

/// An invitation that has just been made.
pub struct Invitation {
    /// What the invited shows: to be handed over once.
    pub token: String,
    /// What is kept of it, and until when it is good, µs.
    pub kept: (String, i64),
}

/// Refuses what cannot be the name of a user.
///
/// # Errors
/// `Invalid`, for the field `name`.
pub fn check_user_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-@+".contains(c);
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(allowed);
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if fits && begins {
        return Ok(());
    }
    let reason = format!(
        "must be 1 to {NAME_CHARS_MAX} lower-case letters, digits, and . _ - @ +, a letter or \
         digit first"
    );
    Err(Error::Invalid(Refusal::field("name", &reason)))
}

impl Auth {
    /// Makes the owner `admin` if there is no user yet; their password if it was made.
    pub(super) async fn make_first_owner(&self) -> Result<Option<FirstPassword>> {
        let inner = &*self.inner;
        let nobody = inner.store.list_users(store::Page { limit: 1, offset: 0 }).await?.is_empty();
        if !nobody {
            return Ok(None);
        }
        let configured = inner.settings.admin_password.clone();
        let made = configured.is_none();
        let password =
            configured.unwrap_or_else(|| FirstPassword(hex::encode(inner.clock.random::<12>())));
        let now = inner.clock.now_us();
        let user = User {
            id: inner.clock.new_id().into(),
            name: FIRST_NAME.to_owned(),
            role: InstanceRole::Owner,
            password_hash: Some(inner.passwords.hash(password.reveal()).await?),
            invitation_sha256: None,
            invitation_expires_at: None,
            oidc_issuer: None,
            oidc_subject: None,
            disabled_at: None,
            signed_in_at: None,
            created_at: now,
            updated_at: now,
        };
        // Of two that start at once, one makes the user and tells the password.
        let is_first = inner.store.insert_first_user(user).await?;
        Ok((is_first && made).then_some(password))
    }

    /// Begins a session for whoever knows a user's name and password.
    ///
    /// # Errors
    /// `Unauthorized` if it is another; `RateLimited` after too many tries;
    /// `Forbidden` for a request from another site; `Unavailable`.
    pub async fn sign_in(&self, name: &str, password: &str, request: &Parts) -> Result<Begun> {
        sessions::check_site(&request.headers)?;
        let inner = &*self.inner;
        let from = self.caller_address(&request.extensions, &request.headers);
        let network = network_of(from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let account = name.chars().take(NAME_CHARS_MAX).collect::<String>();
        let now = inner.clock.now_us();
        inner.tries_of_networks.begin(&network, now).map_err(too_many)?;
        inner.tries_of_accounts.begin(&account, now).map_err(too_many)?;
        let user = match inner.store.find_user_by_name(name).await {
            Ok(user) => Some(user),
            Err(store::Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let is_right = inner.passwords.is_right(password, hash).await?;
        let user = user.filter(|user| is_right && user.disabled_at.is_none());
        let Some(user) = user else {
            let message = "there is no user with this name and password";
            return Err(Error::Unauthorized(Refusal::new("wrong_credentials", message)));
        };
        inner.tries_of_networks.succeeded(&network);
        inner.tries_of_accounts.succeeded(&account);
        self.begin_session(user.id, request).await
    }

    /// Begins a session of a user. Its token is always a new one, so that nobody can
    /// have a browser signed in with one that they know.
    pub(super) async fn begin_session(&self, id: UserId, request: &Parts) -> Result<Begun> {
        let inner = &*self.inner;
        inner.store.note_sign_in(&id, inner.clock.now_us()).await?;
        let is_https = self.is_https(&request.extensions, &request.headers);
        let place = (&inner.store, &inner.clock);
        sessions::begin(place, inner.settings.sessions, &Principal::User(id), is_https).await
    }

    /// Ends the session of a caller, if they have one.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        match caller.session() {
            Some(session) => Ok(self.inner.store.delete_session(&session.token_sha256).await?),
            None => Ok(()),
        }
    }

    /// Ends every session of a principal, and says how many those were.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn sign_out_everywhere(&self, principal: &Principal) -> Result<u64> {
        Ok(self.inner.store.delete_sessions_of(&principal.to_string()).await?)
    }

    /// A new invitation.
    #[must_use]
    pub fn invite(&self) -> Invitation {
        let token = hex::encode(self.inner.clock.random::<32>());
        let expires_at = self.inner.clock.now_us() + i64::from(INVITATION_DAYS) * DAY_US;
        Invitation { kept: (KeyHash::of(token.as_bytes()).to_hex(), expires_at), token }
    }

    /// Whom an invitation is for.
    ///
    /// # Errors
    /// `NotFound` if it is none, was used, or is too old.
    pub async fn invited(&self, token: &str) -> Result<User> {
        let inner = &*self.inner;
        let sha256 = KeyHash::of(token.as_bytes()).to_hex();
        match inner.store.find_invited_user(&sha256, inner.clock.now_us()).await {
            Ok(user) if user.disabled_at.is_none() => Ok(user),
            Ok(_) | Err(store::Error::NotFound(_)) => {
                let message = "the invitation is not good any more: ask for another";
                Err(Error::NotFound(Refusal::new("invitation_not_found", message)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the password of whoever was invited, ends sessions of before, and begins one.
    ///
    /// # Errors
    /// As [`Auth::invited`]; `Invalid` for a password that is none.
    pub async fn accept_invitation(
        &self,
        token: &str,
        password: &str,
        request: &Parts,
    ) -> Result<Begun> {
        sessions::check_site(&request.headers)?;
        let user = self.invited(token).await?;
        self.set_password(&user.id, password).await?;
        self.sign_out_everywhere(&Principal::User(user.id.clone())).await?;
        self.begin_session(user.id, request).await
    }

    /// Changes a user's password for another, which ends all their sessions but the one
    /// that it is asked by.
    ///
    /// # Errors
    /// `Forbidden` if the current one is wrong; `Invalid`; `RateLimited`.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        password: &str,
        request: &Parts,
    ) -> Result<Begun> {
        let inner = &*self.inner;
        let Some(id) = caller.user_id().filter(|_| caller.session().is_some()) else {
            let message = "only whoever is signed in with a browser has a password to change";
            return Err(Error::Forbidden(Refusal::new("no_password", message)));
        };
        let user = inner.store.find_user(id).await?;
        inner.tries_of_accounts.begin(&user.name, inner.clock.now_us()).map_err(too_many)?;
        let hash = user.password_hash.as_deref();
        // Who has signed in by another way has none yet.
        if hash.is_some() && !inner.passwords.is_right(current, hash).await? {
            let message = "this is not the current password";
            return Err(Error::Forbidden(Refusal::new("wrong_password", message)));
        }
        inner.tries_of_accounts.succeeded(&user.name);
        self.set_password(id, password).await?;
        self.sign_out_everywhere(&caller.principal).await?;
        self.begin_session(user.id, request).await
    }

    async fn set_password(&self, id: &UserId, password: &str) -> Result<()> {
        let inner = &*self.inner;
        let password_hash = Some(inner.passwords.hash(password).await?);
        let updated_at = inner.clock.now_us();
        let change = UserChange { password_hash, updated_at, ..UserChange::default() };
        inner.store.update_user(id, change).await?;
        Ok(())
    }
}

fn too_many(retry_after_s: u32) -> Error {
    let message = "too many tries to sign in; wait before the next";
    let refusal = Refusal::new("too_many_sign_ins", message).with("retry_after_s", retry_after_s);
    Error::RateLimited { refusal, retry_after_s }
}
