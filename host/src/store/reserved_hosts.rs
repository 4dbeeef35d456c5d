//! The hosts of the dashboard and the API, as each node is configured. No app can claim them on any
//! node.

use sqlx::AnyConnection;

use super::signals::Touches;
use super::{Result, Store};

impl Store {
    /// Publishes a node's hosts to all nodes. Called when the node starts, and repeatedly while it
    /// runs. Deletes hosts that no node has repeated since `forget_before`, µs. On a database with
    /// only one node, deletes all hosts that are not repeated now.
    pub async fn reserve_hosts(
        &self,
        node_id: &str,
        hosts: &[String],
        now: i64,
        forget_before: i64,
    ) -> Result<()> {
        let (node_id, hosts) = (node_id.to_owned(), hosts.to_owned());
        let forget_before = if self.is_shared() { forget_before } else { i64::MAX };
        let known = self.list_reserved_hosts().await?;
        // Every node is notified of a changed list. Most calls change nothing.
        let touches = match hosts.iter().all(|host| known.contains(host)) && self.is_shared() {
            true => Touches::Records,
            false => Touches::Definitions,
        };
        self.write(touches, move |connection| {
            Box::pin(async move {
                for host in &hosts {
                    put(connection, host, &node_id, now).await?;
                }
                sqlx::query("DELETE FROM reserved_hosts WHERE node_id <> $1 AND seen_at < $2")
                    .bind(&node_id)
                    .bind(forget_before)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Lists every host that a node has reserved.
    pub async fn list_reserved_hosts(&self) -> Result<Vec<String>> {
        let query = sqlx::query_scalar("SELECT DISTINCT host FROM reserved_hosts ORDER BY host");
        Ok(query.fetch_all(self.reads()).await?)
    }
}

async fn put(connection: &mut AnyConnection, host: &str, node_id: &str, now: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO reserved_hosts (host, node_id, seen_at) VALUES ($1, $2, $3) \
         ON CONFLICT (host, node_id) DO UPDATE SET seen_at = excluded.seen_at",
    )
    .bind(host)
    .bind(node_id)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
