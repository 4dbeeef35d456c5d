//! The nodes of a cluster: the processes that are connected to the database.
//!
//! Each node's connections carry its name, so PostgreSQL's own list of sessions shows the nodes. No
//! heartbeat is needed, and a dead node leaves no row behind. SQLite has one node.

use super::{DatabaseUrl, Dialect};

/// The prefix of the names. A name has at most 63 bytes, so id and version fit.
const PREFIX: &str = "picloud/";

/// A process connected to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The id, new at every start.
    pub id: String,
    /// The PiCloud version.
    pub version: String,
    /// When it connected, by the database's time, µs.
    pub connected_at: i64,
}

impl DatabaseUrl {
    /// Sets the node's name for connections to this database.
    #[must_use]
    pub fn of_node(mut self, id: &str, version: &str) -> Self {
        if self.dialect.is_shared() {
            let name = format!("{PREFIX}{version}/{id}");
            let url = &mut self.options.database_url;
            url.query_pairs_mut().append_pair("application_name", &name);
        }
        self
    }
}

impl Dialect {
    /// Returns a query for the names of the nodes and the time, µs, at which each connected.
    pub(in crate::store) fn nodes(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT application_name, \
                 CAST(EXTRACT(EPOCH FROM MIN(backend_start)) * 1000000 AS BIGINT) \
                 FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name LIKE 'picloud/%' GROUP BY application_name ORDER BY 2, 1",
            ),
        }
    }
}

/// Returns the node of a connection with that name.
pub(in crate::store) fn node((name, connected_at): (String, i64)) -> Option<Node> {
    let (version, id) = name.strip_prefix(PREFIX)?.split_once('/')?;
    Some(Node { id: id.to_owned(), version: version.to_owned(), connected_at })
}
