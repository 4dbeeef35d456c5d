//! API keys: the credentials of programs.
//!
//! Invariant: only a key's prefix, which may be shown, and its SHA-256 are stored.

use sqlx::FromRow;

use super::signals::Touches;
use super::{ApiKeyId, AppId, Error, Page, Resource, Result, Store, UserId, text};

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ApiKey {
    /// The id.
    pub id: ApiKeyId,
    /// The user the key belongs to; `None` for a key created with the owner key.
    pub user_id: Option<UserId>,
    /// The principal it acts as.
    pub principal: String,
    /// The name its owner gave it.
    pub name: String,
    /// The part that may be shown.
    pub prefix: String,
    /// The SHA-256 of the whole key, in hexadecimal.
    pub key_sha256: String,
    /// The key's scopes, separated by spaces.
    pub scopes: String,
    /// The only app it can be used in.
    pub app_id: Option<AppId>,
    /// The key it was created with; revoking that key revokes this one too. `None` without a key.
    pub made_with: Option<ApiKeyId>,
    /// When it expires, µs.
    pub expires_at: Option<i64>,
    /// When it was last used, µs, accurate to a minute.
    pub last_used_at: Option<i64>,
    /// When it was created, µs.
    pub created_at: i64,
}

/// Selects whose keys to list.
#[derive(Debug, Clone, Copy)]
pub enum ApiKeyScope<'a> {
    /// The keys of one principal.
    Principal(&'a str),
    /// The keys of all principals that are limited to this app.
    App(&'a AppId),
    /// All keys.
    Instance,
}

impl Store {
    /// Inserts a key. Errors: `NotFound(App)` if the key's app, its user or the key it is made with
    /// does not exist; `Invalid`.
    pub async fn insert_api_key(&self, key: ApiKey) -> Result<()> {
        text::check("name", &key.name, text::NAME_BYTES_MAX)?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO api_keys (id, user_id, principal, name, prefix, key_sha256, \
                     scopes, app_id, made_with, expires_at, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                )
                .bind(key.id)
                .bind(key.user_id)
                .bind(key.principal)
                .bind(key.name)
                .bind(key.prefix)
                .bind(key.key_sha256)
                .bind(key.scopes)
                .bind(key.app_id)
                .bind(key.made_with)
                .bind(key.expires_at)
                .bind(key.created_at)
                .execute(connection)
                .await
                .map_err(|error| Error::from(error).on_foreign_key(Resource::App))?;
                Ok(())
            })
        })
        .await
    }

    /// Returns the key with this id. Errors: `NotFound(ApiKey)`.
    pub async fn find_api_key(&self, id: &ApiKeyId) -> Result<ApiKey> {
        sqlx::query_as("SELECT * FROM api_keys WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::ApiKey))
    }

    /// Returns the key with this prefix, even an expired one.
    pub async fn find_api_key_by_prefix(&self, prefix: &str) -> Result<Option<ApiKey>> {
        let found = sqlx::query_as("SELECT * FROM api_keys WHERE prefix = $1")
            .bind(prefix)
            .fetch_optional(self.reads())
            .await?;
        Ok(found)
    }

    /// Lists keys, newest first.
    pub async fn list_api_keys(&self, scope: ApiKeyScope<'_>, page: Page) -> Result<Vec<ApiKey>> {
        let (principal, app_id) = match scope {
            ApiKeyScope::Principal(principal) => (Some(principal), None),
            ApiKeyScope::App(app_id) => (None, Some(app_id)),
            ApiKeyScope::Instance => (None, None),
        };
        let keys = sqlx::query_as(
            "SELECT * FROM api_keys WHERE ($1 IS NULL OR principal = $1) \
             AND ($2 IS NULL OR app_id = $2) ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4",
        )
        .bind(principal)
        .bind(app_id)
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(keys)
    }

    /// Records that a key was used.
    pub async fn note_api_key_use(&self, id: &ApiKeyId, at: i64) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE api_keys SET last_used_at = $2 WHERE id = $1")
                    .bind(id)
                    .bind(at)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Revokes a key and the keys created with it. Errors: `NotFound(ApiKey)`.
    pub async fn delete_api_key(&self, id: &ApiKeyId) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM api_keys WHERE id = $1")
                    .bind(id)
                    .execute(connection)
                    .await?;
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::ApiKey))
                }
            })
        })
        .await
    }
}
