//! The nodes of a cluster: who is connected to the database.
//!
//! Each node's connections bear its name, and PostgreSQL's own list of sessions tells who
//! is there: no heartbeat, no row that a dead node leaves behind. SQLite has one node.

use super::{DatabaseUrl, Dialect};

/// What the names begin with. A name has at most 63 bytes; id and version fit.
const PREFIX: &str = "picloud/";

/// A process that is connected to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, new with every start.
    pub id: String,
    /// Its version of PiCloud.
    pub version: String,
    /// Since when it is connected, by the database's time, µs.
    pub connected_at: i64,
}

impl DatabaseUrl {
    /// The same database; connections to it bear the name of the node.
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
    /// A query for the names of the nodes and since when, µs, each is connected.
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

/// The node of a connection with that name.
pub(in crate::store) fn node((name, connected_at): (String, i64)) -> Option<Node> {
    let (version, id) = name.strip_prefix(PREFIX)?.split_once('/')?;
    Some(Node { id: id.to_owned(), version: version.to_owned(), connected_at })
}
