//! Internal settings of the instance, such as the hash of the owner key. Each is a name and a text.

use super::signals::Touches;
use super::{Error, Resource, Result, Store, text};

impl Store {
    /// Returns the setting's value, if it is set.
    pub async fn find_setting(&self, name: &str) -> Result<Option<String>> {
        let value = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(self.reads())
            .await?;
        Ok(value)
    }

    /// Sets a setting unless it is already set; returns `false` if it was.
    pub async fn insert_setting(&self, name: &str, value: &str, at: i64) -> Result<bool> {
        let (name, value) = checked(name, value)?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(name)
                .bind(value)
                .bind(at)
                .execute(connection)
                .await?;
                Ok(done.rows_affected() == 1)
            })
        })
        .await
    }

    /// Sets a setting, replacing any value.
    pub async fn put_setting(&self, name: &str, value: &str, at: i64) -> Result<()> {
        let (name, value) = checked(name, value)?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value, \
                     updated_at = excluded.updated_at",
                )
                .bind(name)
                .bind(value)
                .bind(at)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Changes a setting. Errors: `NotFound` if it is not set.
    pub async fn update_setting(&self, name: &str, value: &str, at: i64) -> Result<()> {
        let (name, value) = checked(name, value)?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let done =
                    sqlx::query("UPDATE settings SET value = $2, updated_at = $3 WHERE name = $1")
                        .bind(name)
                        .bind(value)
                        .bind(at)
                        .execute(connection)
                        .await?;
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::Setting))
                }
            })
        })
        .await
    }

    /// Replaces a setting that authenticates a principal, and revokes everything created with the
    /// old value: sessions, keys and invitations. Errors: `NotFound` if it is not set.
    pub async fn replace_credential(
        &self,
        name: &str,
        value: &str,
        principal: &str,
        at: i64,
    ) -> Result<()> {
        let (name, value) = checked(name, value)?;
        let principal = principal.to_owned();
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let set = "UPDATE settings SET value = $2, updated_at = $3 WHERE name = $1";
                let done = sqlx::query(set).bind(name).bind(value).bind(at);
                if done.execute(&mut *connection).await?.rows_affected() != 1 {
                    return Err(Error::NotFound(Resource::Setting));
                }
                for ends in [
                    "DELETE FROM sessions WHERE principal = $1",
                    "DELETE FROM api_keys WHERE principal = $1",
                    "UPDATE users SET invitation_sha256 = NULL, invitation_expires_at = NULL \
                     WHERE invited_by = $1",
                ] {
                    sqlx::query(ends).bind(&principal).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn checked(name: &str, value: &str) -> Result<(String, String)> {
    text::check("name", name, text::NAME_BYTES_MAX)?;
    text::check("value", value, text::UNLIMITED)?;
    Ok((name.to_owned(), value.to_owned()))
}
