//! Secrets the platform stores for an app, as opaque bytes.
//!
//! Invariant: scripts and secret lists never see them. A master key seals them like other secrets,
//! and a rotation re-wraps them. A secret whose master key is lost stays sealed and blocks nothing.

use sqlx::FromRow;

use super::secrets::{lock_key_id, newest_key_id, set_key_id};
use super::signals::Touches;
use super::{AppId, Conflict, Error, Resource, Result, Store};

/// A stored platform secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AppSecret {
    /// The id.
    pub id: String,
    /// The app it belongs to.
    pub app_id: AppId,
    /// Its purpose.
    pub name: String,
    /// The encrypted value.
    pub sealed_value: String,
    /// The encrypted key of the value.
    pub wrapped_key: String,
    /// The id of the master key that opens the key.
    pub key_id: String,
    /// When it was created, µs.
    pub created_at: i64,
}

impl Store {
    /// Inserts a secret. Errors: `NotFound(App)`; `Conflict(MasterKey)` if there is a newer master
    /// key.
    pub async fn insert_app_secret(&self, secret: AppSecret) -> Result<()> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let newest = lock_key_id(connection, &secret.key_id, secret.created_at).await?;
                if newest != secret.key_id {
                    return Err(Error::Conflict(Conflict::MasterKey));
                }
                sqlx::query(
                    "INSERT INTO app_secrets (id, app_id, name, sealed_value, wrapped_key, \
                     key_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(secret.id)
                .bind(secret.app_id)
                .bind(secret.name)
                .bind(secret.sealed_value)
                .bind(secret.wrapped_key)
                .bind(secret.key_id)
                .bind(secret.created_at)
                .execute(connection)
                .await
                .map_err(|error| Error::from(error).on_foreign_key(Resource::App))?;
                Ok(())
            })
        })
        .await
    }

    /// Lists an app's secrets with this name, newest first.
    pub async fn list_app_secrets(&self, app_id: &AppId, name: &str) -> Result<Vec<AppSecret>> {
        let secrets = sqlx::query_as(
            "SELECT * FROM app_secrets WHERE app_id = $1 AND name = $2 \
             ORDER BY created_at DESC, id DESC",
        )
        .bind(app_id)
        .bind(name)
        .fetch_all(self.reads())
        .await?;
        Ok(secrets)
    }

    /// Lists at most `limit` secrets of all apps that this master key wraps.
    pub async fn list_app_secrets_under(&self, key_id: &str, limit: i64) -> Result<Vec<AppSecret>> {
        let secrets =
            sqlx::query_as("SELECT * FROM app_secrets WHERE key_id = $1 ORDER BY id LIMIT $2")
                .bind(key_id)
                .bind(limit)
                .fetch_all(self.reads())
                .await?;
        Ok(secrets)
    }

    /// Re-wraps a secret's key, unless the secret has changed since `seen` was read.
    pub async fn rewrap_app_secret(
        &self,
        seen: AppSecret,
        wrapped_key: String,
        key_id: String,
    ) -> Result<bool> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE app_secrets SET wrapped_key = $1, key_id = $2 \
                     WHERE id = $3 AND wrapped_key = $4",
                )
                .bind(wrapped_key)
                .bind(key_id)
                .bind(seen.id)
                .bind(seen.wrapped_key)
                .execute(connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Makes this the newest master key.
    pub async fn note_master_key(&self, key_id: &str, at: i64) -> Result<()> {
        if newest_key_id(self).await?.as_deref() == Some(key_id) {
            return Ok(());
        }
        let key_id = key_id.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { set_key_id(connection, &key_id, at).await })
        })
        .await
    }
}
