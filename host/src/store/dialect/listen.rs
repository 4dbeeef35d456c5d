//! What other nodes have committed, as PostgreSQL passes it on.
//!
//! A notification is sent inside of the transaction that it tells of, so it comes after
//! the commit and never without it. It can be lost with the connection, and a connection can
//! die without anybody being told: a notification is a hint. Every ten seconds one statement
//! on the same connection finds what was missed, and whether the connection is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::{PgListener, PgNotification};
use tokio::time::{Instant, sleep, sleep_until};

use super::{CONNECT_TIMEOUT, Dialect};
use crate::store::definitions::Currency;
use crate::store::writer::{Signals, Touches};
use crate::store::{DatabaseTime, Error, Result, outbox};

const CHANNEL: &str = "picloud";
/// The wait after a failure, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often the database is looked at without being told to.
const LOOK: Duration = Duration::from_secs(10);
/// A look that takes longer has lost its connection.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Listens to other nodes from now on.
pub(in crate::store) async fn listen(options: &AnyConnectOptions) -> Result<PgListener> {
    let connect = async {
        let mut listener = PgListener::connect(options.database_url.as_str()).await?;
        // We connect again ourselves, and tell that something may have been missed.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(listener) => listener,
        Err(_) => Err(Error::unavailable("no connection to the database in time")),
    }
}

/// Hears what other nodes tell, and looks for what was not heard.
pub(in crate::store) struct Ear {
    pub(in crate::store) options: AnyConnectOptions,
    pub(in crate::store) own_session: OwnSession,
    pub(in crate::store) signals: Signals,
    pub(in crate::store) currency: Currency,
}

impl Ear {
    /// Passes on what other nodes tell, for as long as the store lives.
    pub(in crate::store) async fn pass_on(self, mut listener: PgListener) {
        let mut next_look = Instant::now() + LOOK;
        loop {
            let lost = tokio::select! {
                told = listener.try_recv() => match told {
                    Ok(Some(told)) => {
                        self.tell(&told);
                        None
                    }
                    Ok(None) => Some("the connection was closed".to_owned()),
                    Err(error) => Some(error.to_string()),
                },
                // A connection that died without a word is noticed here.
                () = sleep_until(next_look) => {
                    next_look = Instant::now() + LOOK;
                    self.look(&mut listener).await.err()
                }
            };
            if let Some(error) = lost {
                tracing::warn!(error, "other nodes cannot be heard");
                drop(listener);
                listener = self.listen_again().await;
                tracing::info!("other nodes are heard again");
            }
        }
    }

    fn tell(&self, told: &PgNotification) {
        if i64::from(told.process_id()) == self.own_session.load(Ordering::Relaxed) {
            return;
        }
        self.signals.tell(match told.payload() {
            "definitions" => Touches::Definitions,
            "triggers" => Touches::Triggers,
            _ => Touches::Outbox,
        });
    }

    /// Compares what this node has read with what is in the database, and learns when there
    /// will be an event to claim: one of another node, or one whose lease that let run out.
    pub(in crate::store) async fn look(&self, listener: &mut PgListener) -> Result<(), String> {
        let query = outbox::look_query(Dialect::Postgres);
        let begun = Instant::now();
        let asked = sqlx::query_as(AssertSqlSafe(query)).fetch_one(listener);
        let (revision, next_in_us, now_us): (i64, Option<i64>, i64) =
            match tokio::time::timeout(LOOK_TIMEOUT, asked).await {
                Ok(answer) => answer.map_err(|error| error.to_string())?,
                Err(_) => return Err("the database did not answer in time".to_owned()),
            };
        let answered = Instant::now();
        // In the middle between the question and the answer.
        let at = answered.into_std() - (answered - begun) / 2;
        self.signals.time.send_replace(Some(DatabaseTime { at, us: now_us }));
        self.currency.is_stored(revision, &self.signals);
        let next_in = next_in_us.map(|us| Duration::from_micros(us.max(0).unsigned_abs()));
        self.signals.due_at.send_replace(next_in.map(|next_in| Instant::now() + next_in));
        Ok(())
    }

    /// Tries until it is connected. Who knows what was told meanwhile: everybody looks.
    async fn listen_again(&self) -> PgListener {
        let mut retry = RETRY_MIN;
        loop {
            match listen(&self.options).await {
                Ok(mut listener) => {
                    if self.look(&mut listener).await.is_ok() {
                        self.signals.tell(Touches::Triggers);
                        return listener;
                    }
                }
                Err(error) => tracing::debug!(%error, "other nodes cannot be heard yet"),
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }
}
