//! Users: the first owner, sign-in, invitations and passwords.
//!
//! ```text
//!  first start ─▶ owner `admin` with a password that is printed once
//!  created by admin ─▶ invited ─┬─ link used ─▶ own password ─▶ signs in
//!                               └─ expired ──▶ invited again
//! ```
//!
//! Invariant: tokens of invitations and passwords are never stored, only their hashes.
//! Invariant: a refused sign-in does not show whether the user exists.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use axum::http::request::Parts;

use super::cookies::SESSION;
use super::key_hash::KeyHash;
use super::passwords::{self, Lane, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};
use super::sessions::{self, Begun};
use super::tries::network_of;
use super::{Auth, Caller, Inner, Principal};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, InstanceRole, User, UserChange, UserId};

/// The first owner's name.
const FIRST_NAME: &str = "admin";
/// The lifetime of an invitation, in days.
pub const INVITATION_DAYS: u32 = 7;

const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// The longest name.
pub const NAME_CHARS_MAX: usize = 63;

/// The first owner's password in clear text. `Debug` does not show it.
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

/// A sign-in attempt that has begun.
struct Trying {
    account: String,
    /// When it began, µs.
    at: i64,
    by: By,
}

/// The counter that an attempt counts against.
enum By {
    /// A device that has signed in to this account before.
    Device(String),
    /// Any other caller: counted for its network, and for the account.
    Stranger(IpAddr),
}

impl Trying {
    fn lane(&self) -> Lane {
        match self.by {
            By::Device(_) => Lane::Known,
            By::Stranger(_) => Lane::Anybody,
        }
    }
}

/// A new invitation.
pub struct Invitation {
    /// The token of the link: to be handed over once.
    pub token: String,
    /// The stored record of the invitation.
    pub kept: store::NewInvitation,
}

/// Refuses a text that cannot be the name of a user.
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
    /// Creates the owner `admin` if there is no user. Returns the password if it was generated.
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
            invited_by: None,
            invited_with: None,
            oidc_issuer: None,
            oidc_subject: None,
            disabled_at: None,
            signed_in_at: None,
            created_at: now,
            updated_at: now,
        };
        // If two processes start at once, only one creates the user and prints the password.
        let is_first = inner.store.insert_first_user(user).await?;
        Ok((is_first && made).then_some(password))
    }

    /// Begins a session for the user with this name and password.
    ///
    /// # Errors
    /// `Unauthorized` if one is wrong; `RateLimited` after too many attempts; `Forbidden` for a
    /// request from another site; `Unavailable`.
    pub async fn sign_in(&self, name: &str, password: &str, request: &Parts) -> Result<Begun> {
        self.check_sign_in(request)?;
        let inner = &*self.inner;
        let account = name.chars().take(NAME_CHARS_MAX).collect::<String>();
        let trying = self.begin_try(account, request).await?;
        let user = match inner.store.find_user_by_name(name).await {
            Ok(user) => Some(user),
            Err(store::Error::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let is_right = inner.passwords.is_right(password, hash, trying.lane()).await?;
        let user = user.filter(|user| is_right && user.disabled_at.is_none());
        let Some(user) = user else {
            self.log_failure(&trying, request);
            let message = "the name or the password is wrong";
            return Err(Error::Unauthorized(Refusal::new("wrong_credentials", message)));
        };
        self.take_back(&trying);
        self.begin_session(user.id, user.password_hash, request).await
    }

    /// Begins an attempt to sign in to an account.
    ///
    /// # Errors
    /// `RateLimited` after too many attempts: of the device if it has signed in to this account
    /// before, otherwise of the network or for the account. `Unavailable` from the store.
    async fn begin_try(&self, account: String, request: &Parts) -> Result<Trying> {
        let (inner, at) = (&*self.inner, self.inner.clock.now_us());
        if let Some(device) = self.device_of(&account, request).await? {
            inner.tries_of_devices.begin(&device, at).map_err(too_many)?;
            return Ok(Trying { account, at, by: By::Device(device) });
        }
        let network = self.network(request);
        inner.tries_of_networks.begin(&network, at).map_err(too_many)?;
        if let Err(wait_s) = inner.tries_of_accounts.begin(&account, at) {
            // No attempt was made, so others in the network do not wait for it.
            inner.tries_of_networks.take_back(&network, at);
            return Err(too_many(wait_s));
        }
        Ok(Trying { account, at, by: By::Stranger(network) })
    }

    fn take_back(&self, trying: &Trying) {
        let (inner, Trying { account, at, by }) = (&*self.inner, trying);
        match by {
            By::Device(device) => inner.tries_of_devices.take_back(device, *at),
            By::Stranger(network) => {
                inner.tries_of_networks.take_back(network, *at);
                inner.tries_of_accounts.take_back(account, *at);
            }
        }
    }

    /// Returns the device of a request, if it has signed in to this account before. It is known by
    /// its own cookie, or by that of a session, even an expired one.
    async fn device_of(&self, account: &str, request: &Parts) -> Result<Option<String>> {
        let inner = &*self.inner;
        let (headers, is_https) =
            (&request.headers, self.is_https(&request.extensions, &request.headers));
        if let Some(device) = inner.devices.known(headers, is_https, account) {
            return Ok(Some(device));
        }
        let Ok(Some(token)) = SESSION.read(headers, is_https) else { return Ok(None) };
        let Some((principal, device)) = sessions::remembered(&inner.store, token).await? else {
            return Ok(None);
        };
        let Principal::User(id) = principal else { return Ok(None) };
        match inner.store.find_user(&id).await {
            Ok(user) => Ok((user.name == account).then_some(device)),
            Err(store::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the `Set-Cookie` that identifies the browser of a signed-in user later; `None` if it
    /// has one already, or if the caller is not a browser.
    #[must_use]
    pub fn remember_device(&self, caller: &Caller, request: &Parts) -> Option<String> {
        caller.session().and(caller.user_id())?;
        let Inner { devices, clock, .. } = &*self.inner;
        let is_https = self.is_https(&request.extensions, &request.headers);
        devices.remember(clock, &request.headers, is_https, &caller.name)
    }

    /// Returns the network of a request's sender.
    pub(super) fn network(&self, request: &Parts) -> IpAddr {
        let from = self.caller_address(&request.extensions, &request.headers);
        network_of(from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// Writes the line that `packaging/fail2ban` reads: docs/operations.md. The name is last and
    /// quoted, so that it cannot imitate another line.
    fn log_failure(&self, trying: &Trying, request: &Parts) {
        let address = self.caller_address(&request.extensions, &request.headers);
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let name = trying.account.as_str();
        tracing::warn!(target: "picloud::auth", %address, name, "sign-in failed");
    }

    /// Begins a session of a user. Its token is always new, so that an attacker cannot plant a
    /// known one in a browser. If a hash is given, the session begins only if it still is the
    /// user's password hash.
    ///
    /// # Errors
    /// `Unauthorized` if the user was disabled, or the password was changed in the meantime.
    pub(super) async fn begin_session(
        &self,
        id: UserId,
        password_hash: Option<String>,
        request: &Parts,
    ) -> Result<Begun> {
        let inner = &*self.inner;
        let is_https = self.is_https(&request.extensions, &request.headers);
        let place = (&inner.store, &inner.clock);
        let settings = inner.settings.sessions;
        let begun = sessions::begin(place, settings, &id, password_hash, is_https).await?;
        begun.ok_or_else(|| {
            let message = "the name or the password is wrong";
            Error::Unauthorized(Refusal::new("wrong_credentials", message))
        })
    }

    /// Ends the caller's session, if there is one.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        match caller.session() {
            Some(session) => Ok(self.inner.store.delete_session(&session.token_sha256).await?),
            None => Ok(()),
        }
    }

    /// Ends all sessions of a principal, and returns their number.
    ///
    /// # Errors
    /// `Unavailable` from the store.
    pub async fn sign_out_everywhere(&self, principal: &Principal) -> Result<u64> {
        Ok(self.inner.store.delete_sessions_of(&principal.to_string()).await?)
    }

    /// Creates an invitation by a caller.
    #[must_use]
    pub fn invite(&self, caller: &Caller) -> Invitation {
        let token = hex::encode(self.inner.clock.random::<32>());
        let kept = store::NewInvitation {
            sha256: KeyHash::of(token.as_bytes()).to_hex(),
            expires_at: self.inner.clock.now_us() + i64::from(INVITATION_DAYS) * DAY_US,
            by: caller.principal.to_string(),
            with: caller.key().map(|key| key.id.to_string()),
        };
        Invitation { kept, token }
    }

    /// Returns the user that an invitation is for.
    ///
    /// # Errors
    /// `NotFound` if the invitation does not exist, was used, or has expired.
    pub async fn invited(&self, token: &str) -> Result<User> {
        let inner = &*self.inner;
        let sha256 = KeyHash::of(token.as_bytes()).to_hex();
        match inner.store.find_invited_user(&sha256, inner.clock.now_us()).await {
            Ok(user) if user.disabled_at.is_none() => Ok(user),
            Ok(_) | Err(store::Error::NotFound(_)) => Err(invitation_not_found()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the password of an invited user, ends their sessions, and begins a new one.
    ///
    /// # Errors
    /// As [`Auth::invited`]; `Invalid` if the password is not valid.
    pub async fn accept_invitation(
        &self,
        token: &str,
        password: &str,
        request: &Parts,
    ) -> Result<Begun> {
        self.check_sign_in(request)?;
        let user = self.invited(token).await?;
        let password_hash = Some(self.inner.passwords.hash(password).await?);
        let change = UserChange { password_hash: password_hash.clone(), ..UserChange::default() };
        self.accept(&user.id, token, change).await?;
        self.begin_session(user.id, password_hash, request).await
    }

    /// Makes the change that an invitation allows, unless it was used in the meantime, and ends the
    /// user's sessions.
    pub(super) async fn accept(&self, id: &UserId, token: &str, change: UserChange) -> Result<()> {
        let accepts = Some(KeyHash::of(token.as_bytes()).to_hex());
        let change = UserChange { accepts, updated_at: self.inner.clock.now_us(), ..change };
        match self.inner.store.update_user(id, change).await {
            Ok(_) => {}
            Err(store::Error::NotFound(_)) => return Err(invitation_not_found()),
            Err(error) => return Err(error.into()),
        }
        self.sign_out_everywhere(&Principal::User(id.clone())).await?;
        Ok(())
    }

    /// Changes a user's password. Ends all their other sessions, and begins a new one for this
    /// browser.
    ///
    /// # Errors
    /// `Forbidden` if the current password is wrong; `Invalid`; `RateLimited`.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &str,
        password: &str,
        request: &Parts,
    ) -> Result<Begun> {
        let inner = &*self.inner;
        let Some(id) = caller.user_id().filter(|_| caller.session().is_some()) else {
            let message = "changing the password needs a session of a browser";
            return Err(Error::Forbidden(Refusal::new("no_password", message)));
        };
        let user = inner.store.find_user(id).await?;
        // Counted for this session alone: other attempts on this account do not slow its owner.
        let device = caller.session().map(|session| session.token_sha256.clone());
        let (device, at) = (device.unwrap_or_default(), inner.clock.now_us());
        inner.tries_of_devices.begin(&device, at).map_err(too_many)?;
        let hash = user.password_hash.as_deref();
        // A user who signed in another way has no password yet.
        if hash.is_some() && !inner.passwords.is_right(current, hash, Lane::Known).await? {
            return Err(wrong_password());
        }
        inner.tries_of_devices.take_back(&device, at);
        let password_hash = inner.passwords.hash(password).await?;
        let changed = inner.store.change_password(id, hash, &password_hash, inner.clock.now_us());
        match changed.await {
            Ok(()) => {}
            // Another request changed it in the meantime.
            Err(store::Error::NotFound(_)) => return Err(wrong_password()),
            Err(error) => return Err(error.into()),
        }
        self.begin_session(user.id, Some(password_hash), request).await
    }
}

fn wrong_password() -> Error {
    let message = "the current password is wrong";
    Error::Forbidden(Refusal::new("wrong_password", message))
}

fn invitation_not_found() -> Error {
    let message = "the invitation is not valid any more: ask for a new one";
    Error::NotFound(Refusal::new("invitation_not_found", message))
}

pub(super) fn too_many(retry_after_s: u32) -> Error {
    let message = "too many attempts to sign in; wait before the next one";
    let refusal = Refusal::new("too_many_sign_ins", message).with("retry_after_s", retry_after_s);
    Error::RateLimited { refusal, retry_after_s }
}
