//! What other nodes have committed, as PostgreSQL passes it on.
//!
//! A notification is sent inside of the transaction that it tells of, so it comes after
//! the commit and never without it. It can be lost with the connection: it is a hint,
//! and whoever must not miss anything also looks by himself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgListener;
use tokio::time::sleep;

use super::Dialect;
use crate::store::Result;
use crate::store::writer::{Signals, Touches};

const CHANNEL: &str = "picloud";
/// The wait after a failure, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The session of this process's writer: what it sends itself it knows already. 0 until
/// there is one.
pub(in crate::store) type OwnSession = Arc<AtomicI64>;

impl Dialect {
    /// The statement that tells other nodes, inside of a transaction.
    pub(in crate::store) fn tell(self, touched: Touches) -> Option<&'static str> {
        match (self, touched) {
            (Self::Sqlite, _) | (_, Touches::Records) => None,
            (Self::Postgres, Touches::Definitions) => {
                Some("SELECT pg_notify('picloud', 'definitions')")
            }
            (Self::Postgres, Touches::Triggers) => Some("SELECT pg_notify('picloud', 'triggers')"),
            (Self::Postgres, Touches::Outbox) => Some("SELECT pg_notify('picloud', 'outbox')"),
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

/// Listens to other nodes from now on.
pub(in crate::store) async fn listen(options: &AnyConnectOptions) -> Result<PgListener> {
    let mut listener = PgListener::connect(options.database_url.as_str()).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes on what other nodes tell, for as long as the store lives.
pub(in crate::store) async fn pass_on(
    mut listener: PgListener,
    own_session: OwnSession,
    signals: Signals,
) {
    let mut retry = RETRY_MIN;
    loop {
        match listener.try_recv().await {
            Ok(Some(told)) => {
                retry = RETRY_MIN;
                if i64::from(told.process_id()) == own_session.load(Ordering::Relaxed) {
                    continue;
                }
                signals.tell(match told.payload() {
                    "definitions" => Touches::Definitions,
                    "triggers" => Touches::Triggers,
                    _ => Touches::Outbox,
                });
            }
            // The connection was lost and is there again: who knows what was told
            // meanwhile.
            Ok(None) => signals.tell(Touches::Triggers),
            Err(error) => {
                tracing::warn!(%error, "other nodes cannot be heard");
                sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}
