//! What PostgreSQL tells of what other nodes have committed, on a connection of its own.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgListener;

use super::{CONNECT_TIMEOUT, Dialect};
use crate::store::signals::Touches;
use crate::store::{Error, Result};

const CHANNEL: &str = "picloud";
/// A question that takes longer has lost its connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Dialect {
    /// The statement that tells other nodes, inside of a transaction.
    pub(in crate::store) fn tell(self, touched: Touches) -> Option<&'static str> {
        match (self, touched) {
            (Self::Sqlite, _) | (_, Touches::Records) => None,
            (Self::Postgres, Touches::Definitions) => {
                Some("SELECT pg_notify('picloud', 'definitions')")
            }
            (Self::Postgres, Touches::Triggers) => Some("SELECT pg_notify('picloud', 'triggers')"),
            (Self::Postgres, Touches::Outbox | Touches::Messages) => {
                Some("SELECT pg_notify('picloud', 'outbox')")
            }
        }
    }

    /// The statement that names a connection's session.
    pub(in crate::store) fn session_query(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(pg_backend_pid() AS BIGINT)"),
        }
    }
}

/// A change that a session has committed.
pub(in crate::store) struct Told {
    /// The session's number.
    pub(in crate::store) session: i64,
    pub(in crate::store) touched: Touches,
}

/// A connection that hears what all sessions tell.
pub(in crate::store) struct Listener(PgListener);

impl Listener {
    /// Listens from now on.
    pub(in crate::store) async fn connect(options: &AnyConnectOptions) -> Result<Self> {
        let connect = async {
            let mut listener = PgListener::connect(options.database_url.as_str()).await?;
            // The caller connects again, and knows that something may have been missed.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Self(listener))
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(listener) => listener,
            Err(_) => Err(Error::unavailable("no connection to the database in time")),
        }
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// Why the connection is lost.
    pub(in crate::store) async fn hear(&mut self) -> Result<Told, String> {
        match self.0.try_recv().await {
            Ok(Some(told)) => Ok(Told {
                session: told.process_id().into(),
                touched: match told.payload() {
                    "definitions" => Touches::Definitions,
                    "triggers" => Touches::Triggers,
                    _ => Touches::Outbox,
                },
            }),
            Ok(None) => Err("the connection was closed".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks on the same connection: a revision, when the next event is due (in microseconds from
    /// now), and the time.
    ///
    /// # Errors
    /// Why the connection is lost.
    pub(in crate::store) async fn ask(
        &mut self,
        query: String,
    ) -> Result<(i64, Option<i64>, i64), String> {
        let asked = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&mut self.0);
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the database did not answer in time".to_owned()),
        }
    }
}
