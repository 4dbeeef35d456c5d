//! Domains: host names that apps have claimed for their routes.
//!
//! ```text
//! claim ─▶ pending (domain_claims) ─▶ proof or approval ─▶ verified (domains)
//! ```
//!
//! Invariant: a verified domain belongs to one app; a pending claim does not stop other claims.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{AppId, Conflict, Error, Resource, Result, Store, text};

/// A domain claimed by an app.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Domain {
    /// The host name in its normal form; at most 253 bytes.
    pub host: String,
    /// The app it belongs to.
    pub app_id: AppId,
    /// When it was claimed, µs.
    pub created_at: i64,
    /// The required text of the TXT record; `None` for a verified domain.
    pub token: Option<String>,
    /// When it was verified, µs; `None` while it is pending.
    pub verified_at: Option<i64>,
    /// `dns`, a principal, or `upgrade`; `None` while it is pending.
    pub verified_by: Option<String>,
}

/// A new, pending claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// The host name in its normal form.
    pub host: String,
    /// The app that claims it.
    pub app_id: AppId,
    /// The required text of the TXT record.
    pub token: String,
    /// The current time, µs.
    pub created_at: i64,
}

/// The maximum number of domains of an app, verified and pending.
pub const DOMAINS_MAX: i64 = 200;

/// Selects all domains, verified and pending; the WHERE clause follows.
const SELECT: &str = "SELECT host, app_id, created_at, token, verified_at, verified_by FROM \
    (SELECT host, app_id, created_at, CAST(NULL AS TEXT) AS token, verified_at, verified_by \
     FROM domains UNION ALL \
     SELECT host, app_id, created_at, token, CAST(NULL AS BIGINT), CAST(NULL AS TEXT) \
     FROM domain_claims) AS d";

impl Store {
    /// Claims a domain for an app; the domain is then pending.
    /// Errors: `Conflict(Domain)` if the app has already claimed it, or it is verified for another
    /// app; `Conflict(DomainsMax)`; `NotFound(App)`; `Invalid`.
    pub async fn claim_domain(&self, claim: NewClaim) -> Result<Domain> {
        text::check("host", &claim.host, text::HOST_BYTES_MAX)?;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                check_free(connection, &claim.host).await?;
                check_room(connection, &claim.app_id).await?;
                sqlx::query(
                    "INSERT INTO domain_claims (host, app_id, token, created_at) \
                     VALUES ($1, $2, $3, $4)",
                )
                .bind(&claim.host)
                .bind(&claim.app_id)
                .bind(&claim.token)
                .bind(claim.created_at)
                .execute(&mut *connection)
                .await
                .map_err(|error| {
                    Error::from(error).on_unique(Conflict::Domain).on_foreign_key(Resource::App)
                })?;
                find(connection, &claim.app_id, &claim.host).await
            })
        })
        .await
    }

    /// Verifies a pending domain; a verified domain stays unchanged. `by` is `dns` or a principal.
    /// Errors: `NotFound(Domain)`; `Conflict(Domain)` if it is verified for another app.
    pub async fn verify_domain(
        &self,
        app_id: &AppId,
        host: &str,
        by: &str,
        at: i64,
    ) -> Result<Domain> {
        text::check_sought(Resource::Domain, host)?;
        let (app_id, host, by) = (app_id.clone(), host.to_owned(), by.to_owned());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let claim = find(connection, &app_id, &host).await?;
                if claim.verified_at.is_some() {
                    return Ok(claim);
                }
                check_free(connection, &host).await?;
                sqlx::query(
                    "INSERT INTO domains (host, app_id, created_at, verified_at, verified_by) \
                     VALUES ($1, $2, $3, $4, $5)",
                )
                .bind(&host)
                .bind(&app_id)
                .bind(claim.created_at)
                .bind(at)
                .bind(by)
                .execute(&mut *connection)
                .await
                // Another node can have verified it first.
                .map_err(|error| Error::from(error).on_unique(Conflict::Domain))?;
                delete_claim(connection, &app_id, &host).await?;
                find(connection, &app_id, &host).await
            })
        })
        .await
    }

    /// Returns the app's domain with that host. Errors: `NotFound(Domain)`.
    pub async fn find_domain(&self, app_id: &AppId, host: &str) -> Result<Domain> {
        text::check_sought(Resource::Domain, host)?;
        let mut connection = self.reads().acquire().await?;
        find(&mut connection, app_id, host).await
    }

    /// Lists the app's domains, newest first.
    pub async fn list_domains(&self, app_id: &AppId) -> Result<Vec<Domain>> {
        let query = format!("{SELECT} WHERE app_id = $1 ORDER BY created_at DESC, host");
        let query = sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(app_id);
        Ok(query.fetch_all(self.reads()).await?)
    }

    /// Deletes the app's domain and its routes there.
    /// Errors: `NotFound(Domain)`, also if the domain belongs to another app.
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
                let claims = delete_claim(connection, &app_id, &host).await?;
                if done.rows_affected() + claims == 0 {
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

/// Whether the app has claimed the host, verified or pending.
pub(super) async fn is_claimed(
    connection: &mut AnyConnection,
    app_id: &AppId,
    host: &str,
) -> Result<bool> {
    match find(connection, app_id, host).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks that the host is not verified. Errors: `Conflict(Domain)`.
async fn check_free(connection: &mut AnyConnection, host: &str) -> Result<()> {
    let taken = sqlx::query("SELECT 1 FROM domains WHERE host = $1").bind(host);
    match taken.fetch_optional(connection).await? {
        Some(_) => Err(Error::Conflict(Conflict::Domain)),
        None => Ok(()),
    }
}

/// Checks the number of domains. Errors: `Conflict(DomainsMax)` at the limit.
async fn check_room(connection: &mut AnyConnection, app_id: &AppId) -> Result<()> {
    let count: i64 = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM domains WHERE app_id = $1) \
         + (SELECT COUNT(*) FROM domain_claims WHERE app_id = $1)",
    )
    .bind(app_id)
    .fetch_one(connection)
    .await?;
    match count < DOMAINS_MAX {
        true => Ok(()),
        false => Err(Error::Conflict(Conflict::DomainsMax(DOMAINS_MAX))),
    }
}

async fn find(connection: &mut AnyConnection, app_id: &AppId, host: &str) -> Result<Domain> {
    let query = format!("{SELECT} WHERE host = $1 AND app_id = $2");
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(host)
        .bind(app_id)
        .fetch_optional(connection)
        .await?
        .ok_or(Error::NotFound(Resource::Domain))
}

/// Deletes the app's claim of the host. Returns the number deleted, 0 or 1.
async fn delete_claim(connection: &mut AnyConnection, app_id: &AppId, host: &str) -> Result<u64> {
    let done = sqlx::query("DELETE FROM domain_claims WHERE host = $1 AND app_id = $2")
        .bind(host)
        .bind(app_id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
