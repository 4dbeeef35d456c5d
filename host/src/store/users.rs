//! Users: the people who sign in.
//!
//! Invariant: there is always an owner who can sign in, once there was one: the last
//! is neither deleted, disabled nor made less.
//! Invariant: passwords and invitations are known here by their hashes only.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{Conflict, Error, InstanceRole, Page, Resource, Result, Store, UserId, text};

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The name that they sign in with.
    pub name: String,
    /// What they may do in the instance.
    #[sqlx(try_from = "String")]
    pub role: InstanceRole,
    /// The argon2id hash of their password; none if they have none.
    pub password_hash: Option<String>,
    /// The SHA-256 of their invitation's token, while there is one.
    pub invitation_sha256: Option<String>,
    /// When the invitation's time is up, µs.
    pub invitation_expires_at: Option<i64>,
    /// The principal that has made the invitation; none of an old one.
    pub invited_by: Option<String>,
    /// The id of the key that they made it with, if they did.
    pub invited_with: Option<String>,
    /// The identity provider that knows them.
    pub oidc_issuer: Option<String>,
    /// Their name there, which never changes.
    pub oidc_subject: Option<String>,
    /// Since when they may not sign in, µs.
    pub disabled_at: Option<i64>,
    /// When they have signed in last, µs.
    pub signed_in_at: Option<i64>,
    /// When they were made, µs.
    pub created_at: i64,
    /// When they were last changed, µs.
    pub updated_at: i64,
}

/// An invitation that is made.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// The SHA-256 of its token.
    pub sha256: String,
    /// When its time is up, µs.
    pub expires_at: i64,
    /// The principal that makes it.
    pub by: String,
    /// The id of the key that they make it with, if they do.
    pub with: Option<String>,
}

/// What to change about a user; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// What they may do.
    pub role: Option<InstanceRole>,
    /// Whether they may sign in.
    pub enabled: Option<bool>,
    /// A new password's hash. It takes the place of an invitation.
    pub password_hash: Option<String>,
    /// A new invitation.
    pub invitation: Option<NewInvitation>,
    /// The identity provider's issuer and subject, which take an invitation's place.
    pub identity: Option<(String, String)>,
    /// Only while the user has the invitation with this SHA-256, whose time is not up at
    /// `updated_at`, and may sign in. Of several who accept it at once, one does.
    pub accepts: Option<String>,
    /// Now, µs.
    pub updated_at: i64,
}

const INSERT: &str = "INSERT INTO users (id, name, role, password_hash, invitation_sha256, \
    invitation_expires_at, oidc_issuer, oidc_subject, disabled_at, signed_in_at, created_at, \
    updated_at, invited_by, invited_with) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

impl Store {
    /// Makes a user. Errors: `Conflict(UserName)`, `Invalid`.
    pub async fn insert_user(&self, user: User) -> Result<()> {
        text::check("name", &user.name, text::NAME_BYTES_MAX)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                insert(connection, &user)
                    .await
                    .map_err(|error| Error::from(error).on_unique(Conflict::UserName))
            })
        })
        .await
    }

    /// Makes the first user; `false`, and nothing is made, if there is one already.
    pub async fn insert_first_user(&self, user: User) -> Result<bool> {
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users")
                    .fetch_one(&mut *connection)
                    .await?;
                if count == 0 {
                    insert(connection, &user).await?;
                }
                Ok(count == 0)
            })
        })
        .await
    }

    /// Errors: `NotFound(User)`.
    pub async fn find_user(&self, id: &UserId) -> Result<User> {
        self.user("SELECT * FROM users WHERE id = $1", id.as_str()).await
    }

    /// Errors: `NotFound(User)`.
    pub async fn find_user_by_name(&self, name: &str) -> Result<User> {
        text::check_sought(Resource::User, name)?;
        self.user("SELECT * FROM users WHERE name = $1", name).await
    }

    /// The user with this invitation, if its time is not up at `now`, µs.
    /// Errors: `NotFound(User)`.
    pub async fn find_invited_user(&self, invitation_sha256: &str, now: i64) -> Result<User> {
        let user = self.user("SELECT * FROM users WHERE invitation_sha256 = $1", invitation_sha256);
        let user = user.await?;
        let is_open = user.invitation_expires_at.is_some_and(|expires_at| now < expires_at);
        if is_open { Ok(user) } else { Err(Error::NotFound(Resource::User)) }
    }

    /// Errors: `NotFound(User)`.
    pub async fn find_user_by_identity(&self, issuer: &str, subject: &str) -> Result<User> {
        text::check_sought(Resource::User, subject)?;
        sqlx::query_as("SELECT * FROM users WHERE oidc_issuer = $1 AND oidc_subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::User))
    }

    /// All users, by name.
    pub async fn list_users(&self, page: Page) -> Result<Vec<User>> {
        let users = sqlx::query_as("SELECT * FROM users ORDER BY name LIMIT $1 OFFSET $2")
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(users)
    }

    /// Changes a user. Errors: `NotFound(User)`, also for an invitation that cannot be
    /// accepted any more; `Conflict(LastOwner)`; `Conflict(Identity)` if the identity is
    /// another user's.
    pub async fn update_user(&self, id: &UserId, change: UserChange) -> Result<User> {
        let id = id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                lock(connection, &id, &change).await?;
                let mut user = find(connection, &id).await?;
                apply(&mut user, change);
                save(connection, &user).await?;
                check_owner_remains(connection).await?;
                Ok(user)
            })
        })
        .await
    }

    /// Puts a password in the place of the one with the hash `before`, or of none, and ends the
    /// user's sessions and an invitation. Errors: `NotFound(User)`, also when the password has
    /// become another.
    pub async fn change_password(
        &self,
        id: &UserId,
        before: Option<&str>,
        after: &str,
        at: i64,
    ) -> Result<()> {
        let (id, before, after) = (id.clone(), before.map(str::to_owned), after.to_owned());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let changed = sqlx::query(
                    "UPDATE users SET password_hash = $3, invitation_sha256 = NULL, \
                     invitation_expires_at = NULL, updated_at = $4 \
                     WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2",
                )
                .bind(&id)
                .bind(before)
                .bind(after)
                .bind(at)
                .execute(&mut *connection)
                .await?;
                if changed.rows_affected() == 0 {
                    return Err(Error::NotFound(Resource::User));
                }
                sqlx::query("DELETE FROM sessions WHERE principal = $1")
                    .bind(format!("user:{id}"))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Deletes a user with their memberships, keys and sessions. Their triggers stay, and
    /// stop. Errors: `NotFound(User)`, `Conflict(LastOwner)`.
    pub async fn delete_user(&self, id: &UserId, principal: &str) -> Result<()> {
        let (id, principal) = (id.clone(), principal.to_owned());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query("DELETE FROM sessions WHERE principal = $1")
                    .bind(principal)
                    .execute(&mut *connection)
                    .await?;
                let done = sqlx::query("DELETE FROM users WHERE id = $1")
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(Error::NotFound(Resource::User));
                }
                check_owner_remains(connection).await
            })
        })
        .await
    }

    async fn user(&self, query: &'static str, by: &str) -> Result<User> {
        sqlx::query_as(query)
            .bind(by)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::User))
    }
}

fn apply(user: &mut User, change: UserChange) {
    user.role = change.role.unwrap_or(user.role);
    if let Some(enabled) = change.enabled {
        let since = user.disabled_at.unwrap_or(change.updated_at);
        user.disabled_at = (!enabled).then_some(since);
    }
    let accepts = change.password_hash.is_some() || change.identity.is_some();
    if accepts {
        (user.invitation_sha256, user.invitation_expires_at) = (None, None);
    }
    user.password_hash = change.password_hash.or(user.password_hash.take());
    if let Some((issuer, subject)) = change.identity {
        (user.oidc_issuer, user.oidc_subject) = (Some(issuer), Some(subject));
    }
    if let Some(made) = change.invitation {
        (user.invited_by, user.invited_with) = (Some(made.by), made.with);
        user.invitation_sha256 = Some(made.sha256);
        user.invitation_expires_at = Some(made.expires_at);
    }
    user.updated_at = change.updated_at;
}

/// Has every other change of this user wait until this one is committed, and takes the
/// invitation that is accepted. One statement decides, so that it is decided once.
async fn lock(connection: &mut AnyConnection, id: &UserId, change: &UserChange) -> Result<()> {
    let locked = match &change.accepts {
        None => {
            sqlx::query("UPDATE users SET updated_at = updated_at WHERE id = $1")
                .bind(id)
                .execute(connection)
                .await?
        }
        Some(sha256) => {
            check_invitation(connection, id).await?;
            sqlx::query(
                "UPDATE users SET invitation_sha256 = NULL, invitation_expires_at = NULL \
                 WHERE id = $1 AND invitation_sha256 = $2 AND invitation_expires_at > $3 \
                 AND disabled_at IS NULL",
            )
            .bind(id)
            .bind(sha256)
            .bind(change.updated_at)
            .execute(connection)
            .await?
        }
    };
    if locked.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound(Resource::User)) }
}

/// Refuses an invitation whose maker could not make it now: who is gone, disabled or of a
/// lesser role, or whose key is revoked. Errors: `NotFound(User)`.
async fn check_invitation(connection: &mut AnyConnection, id: &UserId) -> Result<()> {
    // The user's row first, so that their role stays what it is.
    sqlx::query("UPDATE users SET updated_at = updated_at WHERE id = $1")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let good = sqlx::query(
        "SELECT 1 FROM users u LEFT JOIN users i ON u.invited_by = 'user:' || i.id \
         LEFT JOIN api_keys k ON k.id = u.invited_with WHERE u.id = $1 \
         AND (u.invited_with IS NULL OR k.id IS NOT NULL) \
         AND (u.invited_by IS NULL OR u.invited_by NOT LIKE 'user:%' OR (i.disabled_at IS NULL \
         AND (i.role = 'owner' OR (i.role = 'admin' AND u.role <> 'owner'))))",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    if good.is_some() { Ok(()) } else { Err(Error::NotFound(Resource::User)) }
}

async fn find(connection: &mut AnyConnection, id: &UserId) -> Result<User> {
    sqlx::query_as("SELECT * FROM users WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?
        .ok_or(Error::NotFound(Resource::User))
}

async fn insert(connection: &mut AnyConnection, user: &User) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT)
        .bind(&user.id)
        .bind(&user.name)
        .bind(user.role.as_str())
        .bind(&user.password_hash)
        .bind(&user.invitation_sha256)
        .bind(user.invitation_expires_at)
        .bind(&user.oidc_issuer)
        .bind(&user.oidc_subject)
        .bind(user.disabled_at)
        .bind(user.signed_in_at)
        .bind(user.created_at)
        .bind(user.updated_at)
        .bind(&user.invited_by)
        .bind(&user.invited_with)
        .execute(connection)
        .await?;
    Ok(())
}

async fn save(connection: &mut AnyConnection, user: &User) -> Result<()> {
    sqlx::query(
        "UPDATE users SET role = $2, password_hash = $3, invitation_sha256 = $4, \
         invitation_expires_at = $5, oidc_issuer = $6, oidc_subject = $7, disabled_at = $8, \
         updated_at = $9, invited_by = $10, invited_with = $11 WHERE id = $1",
    )
    .bind(&user.id)
    .bind(user.role.as_str())
    .bind(&user.password_hash)
    .bind(&user.invitation_sha256)
    .bind(user.invitation_expires_at)
    .bind(&user.oidc_issuer)
    .bind(&user.oidc_subject)
    .bind(user.disabled_at)
    .bind(user.updated_at)
    .bind(&user.invited_by)
    .bind(&user.invited_with)
    .execute(connection)
    .await
    .map_err(|error| Error::from(error).on_unique(Conflict::Identity))?;
    Ok(())
}

async fn check_owner_remains(connection: &mut AnyConnection) -> Result<()> {
    let owners: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM users WHERE role = 'owner' AND disabled_at IS NULL",
    )
    .fetch_one(connection)
    .await?;
    if owners > 0 { Ok(()) } else { Err(Error::Conflict(Conflict::LastOwner)) }
}
