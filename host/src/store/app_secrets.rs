//! Secrets that the platform keeps for an app: bytes that mean nothing here.
//!
//! Invariant: scripts and lists of secrets never see them. They are under a master key like
//! other secrets, and a rotation takes them along; one whose master key is lost stays closed,
//! and stops nothing.

use sqlx::FromRow;

use super::secrets::{lock_key_id, newest_key_id, set_key_id};
use super::signals::Touches;
use super::{AppId, Conflict, Error, Resource, Result, Store};

/// A secret of the platform as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AppSecret {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub app_id: AppId,
    /// What it is for.
    pub name: String,
    /// The encrypted value.
    pub sealed_value: String,
    /// The encrypted key of the value.
    pub wrapped_key: String,
    /// Which master key opens the key.
    pub key_id: String,
    /// When it was made, µs.
    pub created_at: i64,
}

impl Store {
    /// Keeps a secret. Errors: `NotFound(App)`; `Conflict(MasterKey)` if there is a newer
    /// master key.
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

    /// An app's secrets of this name, the newest first.
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

    /// Some secrets of all apps that are under this master key; at most `limit`.
    pub async fn list_app_secrets_under(&self, key_id: &str, limit: i64) -> Result<Vec<AppSecret>> {
        let secrets =
            sqlx::query_as("SELECT * FROM app_secrets WHERE key_id = $1 ORDER BY id LIMIT $2")
                .bind(key_id)
                .bind(limit)
                .fetch_all(self.reads())
                .await?;
        Ok(secrets)
    }

    /// Puts a secret's key under another master key, if it is still the `seen` one.
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

    /// This is the newest master key from now on.
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
