//! The private hosts that an app's scripts can call.

use super::signals::Touches;
use super::{AppId, Error, Resource, Result, Store, text};

impl Store {
    /// Returns the app's private hosts, separated by spaces; empty if it has none.
    pub async fn find_private_hosts(&self, app_id: &AppId) -> Result<String> {
        let hosts: Option<String> =
            sqlx::query_scalar("SELECT private_hosts FROM outbound WHERE app_id = $1")
                .bind(app_id)
                .fetch_optional(self.reads())
                .await?;
        Ok(hosts.unwrap_or_default())
    }

    /// Sets the app's private hosts. Errors: `NotFound(App)`.
    pub async fn put_private_hosts(&self, app_id: &AppId, hosts: String, at: i64) -> Result<()> {
        text::check("private_hosts", &hosts, text::UNLIMITED)?;
        let app_id = app_id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO outbound (app_id, private_hosts, updated_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (app_id) DO UPDATE SET private_hosts = excluded.private_hosts, \
                     updated_at = excluded.updated_at",
                )
                .bind(app_id)
                .bind(hosts)
                .bind(at)
                .execute(connection)
                .await
                .map_err(|error| Error::from(error).on_foreign_key(Resource::App))?;
                Ok(())
            })
        })
        .await
    }
}
