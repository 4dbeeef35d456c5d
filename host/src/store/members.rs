//! Members: the roles of users in apps.

use sqlx::FromRow;

use super::signals::Touches;
use super::{AppId, AppRole, Error, Page, Resource, Result, Store, UserId};

/// A stored member, with the user's name.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Member {
    /// The app.
    pub app_id: AppId,
    /// The user.
    pub user_id: UserId,
    /// The user's name.
    pub user_name: String,
    /// The user's role in the app.
    #[sqlx(try_from = "String")]
    pub role: AppRole,
    /// When the user became a member, µs.
    pub created_at: i64,
    /// When the role was last changed, µs.
    pub updated_at: i64,
}

const SELECT: &str = "SELECT m.app_id, m.user_id, u.name AS user_name, m.role, m.created_at, \
    m.updated_at FROM members m JOIN users u ON u.id = m.user_id WHERE m.app_id = $1";

impl Store {
    /// Returns a user's role in an app; `None` if the user is not a member.
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

    /// Returns a member of an app. Errors: `NotFound(Member)`.
    pub async fn find_member(&self, app_id: &AppId, user_id: &UserId) -> Result<Member> {
        let query = format!("{SELECT} AND m.user_id = $2");
        sqlx::query_as(sqlx::AssertSqlSafe(query))
            .bind(app_id)
            .bind(user_id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Member))
    }

    /// Lists the app's members by name.
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

    /// Adds a user to an app, or changes the user's role there.
    /// Errors: `NotFound(Member)` if the user or the app does not exist.
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

    /// Removes a member. Errors: `NotFound(Member)`.
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
