//! Users, who can sign in.
//!
//! Invariant: once an owner exists, an owner can always sign in: the last one is never deleted,
//! disabled or demoted.
//! Invariant: only hashes of passwords and invitations are stored.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{Conflict, Error, InstanceRole, Page, Resource, Result, Store, UserId, text};

/// A stored user.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name used to sign in.
    pub name: String,
    /// The role in the instance.
    #[sqlx(try_from = "String")]
    pub role: InstanceRole,
    /// The argon2id hash of the password; `None` without a password.
    pub password_hash: Option<String>,
    /// The SHA-256 of the token of a pending invitation.
    pub invitation_sha256: Option<String>,
    /// When the invitation expires, µs.
    pub invitation_expires_at: Option<i64>,
    /// The principal that created the invitation; `None` for an old one.
    pub invited_by: Option<String>,
    /// The id of the key used to create the invitation, if any.
    pub invited_with: Option<String>,
    /// The issuer of the user's OIDC identity.
    pub oidc_issuer: Option<String>,
    /// The subject of that identity, which never changes.
    pub oidc_subject: Option<String>,
    /// When the user was disabled, µs.
    pub disabled_at: Option<i64>,
    /// When the user last signed in, µs.
    pub signed_in_at: Option<i64>,
    /// When the user was created, µs.
    pub created_at: i64,
    /// When the user was last changed, µs.
    pub updated_at: i64,
}

/// A new invitation.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// The SHA-256 of the token.
    pub sha256: String,
    /// When it expires, µs.
    pub expires_at: i64,
    /// The principal that creates it.
    pub by: String,
    /// The id of the key used to create it, if any.
    pub with: Option<String>,
}

/// A change to a user; a `None` field stays unchanged.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// The role in the instance.
    pub role: Option<InstanceRole>,
    /// Whether the user can sign in.
    pub enabled: Option<bool>,
    /// The hash of a new password, which ends a pending invitation.
    pub password_hash: Option<String>,
    /// A new invitation.
    pub invitation: Option<NewInvitation>,
    /// The issuer and subject of an OIDC identity, which end a pending invitation.
    pub identity: Option<(String, String)>,
    /// The SHA-256 of the invitation that this change accepts. It must be valid at `updated_at`,
    /// and the user must be enabled. Only one of several concurrent changes succeeds.
    pub accepts: Option<String>,
    /// The current time, µs.
    pub updated_at: i64,
}

const INSERT: &str = "INSERT INTO users (id, name, role, password_hash, invitation_sha256, \
    invitation_expires_at, oidc_issuer, oidc_subject, disabled_at, signed_in_at, created_at, \
    updated_at, invited_by, invited_with) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

impl Store {
    /// Inserts a user. Errors: `Conflict(UserName)`, `Invalid`.
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

    /// Inserts the first user. Does nothing and returns `false` if a user exists.
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

    /// Returns the user with this id. Errors: `NotFound(User)`.
    pub async fn find_user(&self, id: &UserId) -> Result<User> {
        self.user("SELECT * FROM users WHERE id = $1", id.as_str()).await
    }

    /// Returns the user with this name. Errors: `NotFound(User)`.
    pub async fn find_user_by_name(&self, name: &str) -> Result<User> {
        text::check_sought(Resource::User, name)?;
        self.user("SELECT * FROM users WHERE name = $1", name).await
    }

    /// Returns the user with this invitation, if it is valid at `now`, µs.
    /// Errors: `NotFound(User)`.
    pub async fn find_invited_user(&self, invitation_sha256: &str, now: i64) -> Result<User> {
        let user = self.user("SELECT * FROM users WHERE invitation_sha256 = $1", invitation_sha256);
        let user = user.await?;
        let is_open = user.invitation_expires_at.is_some_and(|expires_at| now < expires_at);
        if is_open { Ok(user) } else { Err(Error::NotFound(Resource::User)) }
    }

    /// Returns the user with this OIDC identity. Errors: `NotFound(User)`.
    pub async fn find_user_by_identity(&self, issuer: &str, subject: &str) -> Result<User> {
        text::check_sought(Resource::User, subject)?;
        sqlx::query_as("SELECT * FROM users WHERE oidc_issuer = $1 AND oidc_subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::User))
    }

    /// Lists all users by name.
    pub async fn list_users(&self, page: Page) -> Result<Vec<User>> {
        let users = sqlx::query_as("SELECT * FROM users ORDER BY name LIMIT $1 OFFSET $2")
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(users)
    }

    /// Changes a user. Errors: `NotFound(User)`, also if the accepted invitation is not valid;
    /// `Conflict(LastOwner)`; `Conflict(Identity)` if the identity belongs to another user.
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

    /// Replaces the password with the hash `before`, or sets the first one. Ends the user's
    /// sessions and a pending invitation. Errors: `NotFound(User)`, also if the password has
    /// changed in between.
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

    /// Deletes a user with their memberships, keys and sessions. Their triggers stay, but stop
    /// firing. Errors: `NotFound(User)`, `Conflict(LastOwner)`.
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

/// Locks the user until this change is committed, and takes the accepted invitation. One statement
/// does both, so that only one change can accept an invitation.
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

/// Refuses an invitation whose creator could not create it now: a deleted or disabled creator, one
/// with a lower role, or one whose key is revoked. Errors: `NotFound(User)`.
async fn check_invitation(connection: &mut AnyConnection, id: &UserId) -> Result<()> {
    // Locks the user's row first, so that the role stays the same.
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
