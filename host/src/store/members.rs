//! Members: what a user may do in an app.

use sqlx::FromRow;

use super::signals::Touches;
use super::{AppId, AppRole, Error, Page, Resource, Result, Store, UserId};

/// A member as stored, with the user's name.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Member {
    /// In which app.
    pub app_id: AppId,
    /// Who.
    pub user_id: UserId,
    /// Their name.
    pub user_name: String,
    /// What they may do there.
    #[sqlx(try_from = "String")]
    pub role: AppRole,
    /// Since when, µs.
    pub created_at: i64,
    /// When the role was last changed, µs.
    pub updated_at: i64,
}

const SELECT: &str = "SELECT m.app_id, m.user_id, u.name AS user_name, m.role, m.created_at, \
    m.updated_at FROM members m JOIN users u ON u.id = m.user_id WHERE m.app_id = $1";

impl Store {
    /// What a user may do in an app; nothing if they are no member.
    pub async fn find_app_role(&self, app_id: &AppId, user_id: &UserId) -> Result<Option<AppRole>> {
        let role: Option<String> =
            sqlx::query_scalar("SELECT role FROM members WHERE app_id = $1 AND user_id = $2")
                .bind(app_id)
                .bind(user_id)
                .fetch_optional(self.reads())
                .await?;
        // The table's CHECK has the same names.
        Ok(role.and_then(|role| AppRole::try_from(role).ok()))
    }

    /// Errors: `NotFound(Member)`.
    pub async fn find_member(&self, app_id: &AppId, user_id: &UserId) -> Result<Member> {
        let query = format!("{SELECT} AND m.user_id = $2");
        sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(app_id)
            .bind(user_id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Member))
    }

    /// The app's members, by name.
    pub async fn list_members(&self, app_id: &AppId, page: Page) -> Result<Vec<Member>> {
        let query = format!("{SELECT} ORDER BY u.name LIMIT $2 OFFSET $3");
        let members = sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(app_id)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(members)
    }

    /// Makes a user a member of an app, or changes their role there.
    /// Errors: `NotFound(Member)` if there is no such user or app.
    pub async fn upsert_member(
        &self,
        app_id: &AppId,
        user_id: &UserId,
        role: AppRole,
        at: i64,
    ) -> Result<()> {
        let (app_id, user_id) = (app_id.clone(), user_id.clone());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO members (app_id, user_id, role, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $4) ON CONFLICT (app_id, user_id) \
                     DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at",
                )
                .bind(app_id)
                .bind(user_id)
                .bind(role.as_str())
                .bind(at)
                .execute(connection)
                .await
                .map_err(|error| Error::from(error).on_foreign_key(Resource::Member))?;
                Ok(())
            })
        })
        .await
    }

    /// Ends a membership. Errors: `NotFound(Member)`.
    pub async fn delete_member(&self, app_id: &AppId, user_id: &UserId) -> Result<()> {
        let (app_id, user_id) = (app_id.clone(), user_id.clone());
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM members WHERE app_id = $1 AND user_id = $2")
                    .bind(app_id)
                    .bind(user_id)
                    .execute(connection)
                    .await?;
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::Member))
                }
            })
        })
        .await
    }
}
