//! Domains: a host name that an app has claimed for its routes.

use sqlx::FromRow;

use super::writer::Touches;
use super::{AppId, Conflict, Error, Resource, Result, Store, text};

/// A claimed domain.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Domain {
    /// The host name, lower case, without a port; at most 253 bytes.
    pub host: String,
    /// Whose it is.
    pub app_id: AppId,
    /// When it was claimed, µs.
    pub created_at: i64,
}

impl Store {
    /// Claims a domain. Errors: `Conflict(Domain)`, `NotFound(App)`, `Invalid`.
    pub async fn insert_domain(&self, domain: Domain) -> Result<Domain> {
        text::check("host", &domain.host, text::HOST_BYTES_MAX)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "INSERT INTO domains (host, app_id, created_at) VALUES ($1, $2, $3) RETURNING *",
                )
                .bind(domain.host)
                .bind(domain.app_id)
                .bind(domain.created_at)
                .fetch_one(connection)
                .await
                .map_err(|error| {
                    Error::from(error).on_unique(Conflict::Domain).on_foreign_key(Resource::App)
                })
            })
        })
        .await
    }

    /// Errors: `NotFound(Domain)`.
    pub async fn find_domain(&self, host: &str) -> Result<Domain> {
        text::check_sought(Resource::Domain, host)?;
        sqlx::query_as("SELECT * FROM domains WHERE host = $1")
            .bind(host)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Domain))
    }

    /// The app's domains, newest first.
    pub async fn list_domains(&self, app_id: &AppId) -> Result<Vec<Domain>> {
        let domains = sqlx::query_as(
            "SELECT * FROM domains WHERE app_id = $1 ORDER BY created_at DESC, host",
        )
        .bind(app_id)
        .fetch_all(self.reads())
        .await?;
        Ok(domains)
    }

    /// Gives the app's domain up and deletes its routes there.
    /// Errors: `NotFound(Domain)`, also if it is another app's.
    pub async fn delete_domain(&self, app_id: &AppId, host: &str) -> Result<()> {
        text::check_sought(Resource::Domain, host)?;
        let (app_id, host) = (app_id.clone(), host.to_owned());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM domains WHERE host = $1 AND app_id = $2")
                    .bind(&host)
                    .bind(&app_id)
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 0 {
                    return Err(Error::NotFound(Resource::Domain));
                }
                sqlx::query("DELETE FROM routes WHERE app_id = $1 AND host = $2")
                    .bind(app_id)
                    .bind(host)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
