//! Receives PostgreSQL's notifications about commits of other nodes, on its own connection.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgListener;

use super::{CONNECT_TIMEOUT, Dialect};
use crate::store::signals::Touches;
use crate::store::{Error, Result};

const CHANNEL: &str = "picloud";
/// The timeout of a query, after which the connection counts as lost.
pub(in crate::store) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of the first query. A start has nothing to fall back on, so it waits longer.
pub(in crate::store) const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

impl Dialect {
    /// Returns the statement that notifies other nodes, inside a transaction.
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

    /// Returns the query for the number of a connection's session.
    pub(in crate::store) fn session_query(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT CAST(pg_backend_pid() AS BIGINT)"),
        }
    }
}

/// A notification that a session has committed a change.
pub(in crate::store) struct Told {
    /// The session's number.
    pub(in crate::store) session: i64,
    pub(in crate::store) touched: Touches,
}

/// A connection that receives the notifications of all sessions.
pub(in crate::store) struct Listener(PgListener);

impl Listener {
    /// Connects and starts to listen.
    pub(in crate::store) async fn connect(options: &AnyConnectOptions) -> Result<Self> {
        let connect = async {
            let mut listener = PgListener::connect(options.database_url.as_str()).await?;
            // The caller reconnects, and knows that it can have missed notifications.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Self(listener))
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(listener) => listener,
            Err(_) => Err(Error::unavailable("no connection to the database in time")),
        }
    }

    /// Waits for the next notification.
    ///
    /// # Errors
    /// The reason why the connection was lost.
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

    /// Queries a revision, the time until the next event is due (in microseconds), and the current
    /// time, on the same connection. Waits for them as long as `timeout`.
    ///
    /// # Errors
    /// The reason why the connection was lost.
    pub(in crate::store) async fn ask(
        &mut self,
        query: String,
        timeout: Duration,
    ) -> Result<(i64, Option<i64>, i64), String> {
        let asked = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&mut self.0);
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the database did not answer in time".to_owned()),
        }
    }
}
