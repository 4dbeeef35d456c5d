//! Secrets: names with opaque bytes.
//!
//! Invariant: one master key wraps all secrets, or two while one replaces the other. `put_secret`
//! accepts only secrets wrapped by the newest.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{AppId, Conflict, Error, Resource, Result, Store, text};

/// The name of the setting that stores the id of the newest master key.
const KEY_ID_SETTING: &str = "master_key_id";

/// A stored secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Secret {
    /// The app it belongs to.
    pub app_id: AppId,
    /// The name in the app.
    pub name: String,
    /// The version, from 1; each new value increments it.
    pub version: i64,
    /// The encrypted value.
    pub sealed_value: String,
    /// The encrypted key of the value.
    pub wrapped_key: String,
    /// The id of the master key that opens the key.
    pub key_id: String,
    /// When the secret was first set, µs.
    pub created_at: i64,
    /// When the value was set, µs.
    pub updated_at: i64,
}

/// The public facts about a secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SecretFacts {
    /// The name in the app.
    pub name: String,
    /// The version, from 1; each new value increments it.
    pub version: i64,
    /// When the secret was first set, µs.
    pub created_at: i64,
    /// When the value was set, µs.
    pub updated_at: i64,
}

impl Store {
    /// Sets a secret. Its `version` and `created_at` only matter if it is new. An app has at most
    /// `most` secrets.
    ///
    /// Errors: `NotFound(App)`, `Conflict(SecretsMax)`, `Conflict(MasterKey)` if secrets use a
    /// newer master key.
    pub async fn put_secret(&self, secret: Secret, most: i64) -> Result<SecretFacts> {
        text::check("name", &secret.name, text::NAME_BYTES_MAX)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                // Locks the setting's row, so that two nodes do this in sequence.
                let newest = lock_key_id(connection, &secret.key_id, secret.updated_at).await?;
                if newest != secret.key_id {
                    if count(connection, "SELECT COUNT(*) FROM secrets", None).await? > 0 {
                        return Err(Error::Conflict(Conflict::MasterKey));
                    }
                    set_key_id(connection, &secret.key_id, secret.updated_at).await?;
                }
                let others = "SELECT COUNT(*) FROM secrets WHERE app_id = $1 AND name <> $2";
                if count(connection, others, Some(&secret)).await? >= most {
                    return Err(Error::Conflict(Conflict::SecretsMax(most)));
                }
                upsert(connection, secret).await
            })
        })
        .await
    }

    /// Returns the secret, if it exists.
    pub async fn find_secret(&self, app_id: &AppId, name: &str) -> Result<Option<Secret>> {
        if name.contains('\0') {
            return Ok(None);
        }
        let found = sqlx::query_as("SELECT * FROM secrets WHERE app_id = $1 AND name = $2")
            .bind(app_id)
            .bind(name)
            .fetch_optional(self.reads())
            .await?;
        Ok(found)
    }

    /// Lists the app's secrets by name.
    pub async fn list_secrets(&self, app_id: &AppId) -> Result<Vec<SecretFacts>> {
        let secrets = sqlx::query_as(
            "SELECT name, version, created_at, updated_at FROM secrets \
             WHERE app_id = $1 ORDER BY name",
        )
        .bind(app_id)
        .fetch_all(self.reads())
        .await?;
        Ok(secrets)
    }

    /// Deletes a secret. Errors: `NotFound(Secret)`.
    pub async fn delete_secret(&self, app_id: &AppId, name: &str) -> Result<()> {
        text::check_sought(Resource::Secret, name)?;
        let (app_id, name) = (app_id.clone(), name.to_owned());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM secrets WHERE app_id = $1 AND name = $2")
                    .bind(app_id)
                    .bind(name)
                    .execute(connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(Error::NotFound(Resource::Secret));
                }
                Ok(())
            })
        })
        .await
    }

    /// Lists the ids of the master keys in use.
    pub async fn list_secret_key_ids(&self) -> Result<Vec<String>> {
        let ids = sqlx::query_scalar("SELECT DISTINCT key_id FROM secrets ORDER BY key_id")
            .fetch_all(self.reads())
            .await?;
        Ok(ids)
    }

    /// Accepts only secrets wrapped by this master key from now on.
    pub async fn begin_rewrapping(&self, key_id: &str, at: i64) -> Result<()> {
        let key_id = key_id.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { set_key_id(connection, &key_id, at).await })
        })
        .await
    }

    /// Lists at most `limit` secrets of all apps that this master key does not wrap.
    pub async fn list_secrets_to_rewrap(&self, key_id: &str, limit: i64) -> Result<Vec<Secret>> {
        let secrets = sqlx::query_as(
            "SELECT * FROM secrets WHERE key_id <> $1 ORDER BY app_id, name LIMIT $2",
        )
        .bind(key_id)
        .bind(limit)
        .fetch_all(self.reads())
        .await?;
        Ok(secrets)
    }

    /// Re-wraps a secret's key, unless the secret has changed since `seen` was read.
    pub async fn rewrap_secret(
        &self,
        seen: Secret,
        wrapped_key: String,
        key_id: String,
    ) -> Result<bool> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE secrets SET wrapped_key = $1, key_id = $2 \
                     WHERE app_id = $3 AND name = $4 AND wrapped_key = $5",
                )
                .bind(wrapped_key)
                .bind(key_id)
                .bind(seen.app_id)
                .bind(seen.name)
                .bind(seen.wrapped_key)
                .execute(connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }
}

/// Returns the id of the newest master key, if one was recorded.
pub(super) async fn newest_key_id(store: &Store) -> Result<Option<String>> {
    store.find_setting(KEY_ID_SETTING).await
}

/// Returns the id of the newest master key, or records this one if unset. Other writers
/// that call this wait.
pub(super) async fn lock_key_id(
    connection: &mut AnyConnection,
    key_id: &str,
    at: i64,
) -> Result<String> {
    let newest = sqlx::query_scalar(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at RETURNING value",
    )
    .bind(KEY_ID_SETTING)
    .bind(key_id)
    .bind(at)
    .fetch_one(connection)
    .await?;
    Ok(newest)
}

pub(super) async fn set_key_id(
    connection: &mut AnyConnection,
    key_id: &str,
    at: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(KEY_ID_SETTING)
    .bind(key_id)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn count(
    connection: &mut AnyConnection,
    query: &'static str,
    besides: Option<&Secret>,
) -> Result<i64> {
    let mut query = sqlx::query_scalar(query);
    if let Some(secret) = besides {
        query = query.bind(&secret.app_id).bind(&secret.name);
    }
    Ok(query.fetch_one(connection).await?)
}

async fn upsert(connection: &mut AnyConnection, secret: Secret) -> Result<SecretFacts> {
    sqlx::query_as(
        "INSERT INTO secrets (app_id, name, version, sealed_value, wrapped_key, key_id, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (app_id, name) DO UPDATE SET version = secrets.version + 1, \
         sealed_value = excluded.sealed_value, wrapped_key = excluded.wrapped_key, \
         key_id = excluded.key_id, updated_at = excluded.updated_at \
         RETURNING name, version, created_at, updated_at",
    )
    .bind(secret.app_id)
    .bind(secret.name)
    .bind(secret.version)
    .bind(secret.sealed_value)
    .bind(secret.wrapped_key)
    .bind(secret.key_id)
    .bind(secret.created_at)
    .bind(secret.updated_at)
    .fetch_one(connection)
    .await
    .map_err(|error| Error::from(error).on_foreign_key(Resource::App))
}
