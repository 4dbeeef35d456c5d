//! API keys: what programs call with.
//!
//! Invariant: a key is known here by its prefix, which may be shown, and its SHA-256.

use sqlx::FromRow;

use super::signals::Touches;
use super::{ApiKeyId, AppId, Error, Page, Resource, Result, Store, UserId, text};

/// A key as stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is; none for one that the owner key has made.
    pub user_id: Option<UserId>,
    /// For whom it acts.
    pub principal: String,
    /// What its owner calls it.
    pub name: String,
    /// The part that may be shown.
    pub prefix: String,
    /// The SHA-256 of the whole key, in hexadecimal.
    pub key_sha256: String,
    /// What it may be used for, separated by spaces.
    pub scopes: String,
    /// The one app that it may be used in.
    pub app_id: Option<AppId>,
    /// The key that it was made with, and that it is revoked with; none for one that was made
    /// without a key.
    pub made_with: Option<ApiKeyId>,
    /// When its time is up, µs.
    pub expires_at: Option<i64>,
    /// When it was used last, µs, a minute more or less.
    pub last_used_at: Option<i64>,
    /// When it was made, µs.
    pub created_at: i64,
}

/// Whose keys.
#[derive(Debug, Clone, Copy)]
pub enum ApiKeyScope<'a> {
    /// One principal's.
    Principal(&'a str),
    /// Those of everybody that may be used in this app only.
    App(&'a AppId),
    /// All.
    Instance,
}

impl Store {
    /// Makes a key. Errors: `NotFound(App)` and `NotFound(User)` are one `NotFound(App)`
    /// here: the app of the key, its user or the key that it is made with is gone; `Invalid`.
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

    /// Errors: `NotFound(ApiKey)`.
    pub async fn find_api_key(&self, id: &ApiKeyId) -> Result<ApiKey> {
        sqlx::query_as("SELECT * FROM api_keys WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::ApiKey))
    }

    /// The key with this prefix, whatever its time.
    pub async fn find_api_key_by_prefix(&self, prefix: &str) -> Result<Option<ApiKey>> {
        let found = sqlx::query_as("SELECT * FROM api_keys WHERE prefix = $1")
            .bind(prefix)
            .fetch_optional(self.reads())
            .await?;
        Ok(found)
    }

    /// Keys, newest first.
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

    /// Notes that a key was used.
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

    /// Revokes a key, and the keys that were made with it. Errors: `NotFound(ApiKey)`.
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
