//! Receives notifications of commits by other nodes, from PostgreSQL.
//!
//! A notification is sent inside the transaction that it reports, so it arrives after the commit
//! and never without it. It can be lost with the connection, and a connection can die unnoticed: a
//! notification is only a hint. Every ten seconds one statement on the same connection finds missed
//! changes and checks the connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use tokio::time::{Instant, sleep, sleep_until};

use super::definitions::Currency;
use super::dialect::{ANSWER_TIMEOUT, Dialect, Listener, Told};
use super::signals::{Signals, Touches};
use super::writer::OwnSession;
use super::{DatabaseTime, outbox};

/// The wait after a failure, doubled each time up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often the database is checked without a notification.
const LOOK: Duration = Duration::from_secs(10);

/// Receives notifications of other nodes, and finds missed changes.
pub(super) struct Ear {
    pub(super) options: AnyConnectOptions,
    pub(super) own_session: OwnSession,
    pub(super) signals: Signals,
    pub(super) currency: Currency,
}

impl Ear {
    /// Passes on notifications of other nodes as long as the store lives.
    pub(super) async fn pass_on(self, mut listener: Listener) {
        let mut next_look = Instant::now() + LOOK;
        loop {
            let lost = tokio::select! {
                heard = listener.hear() => match heard {
                    Ok(told) => {
                        self.tell(&told);
                        None
                    }
                    Err(error) => Some(error),
                },
                // Detects a connection that died without an error.
                () = sleep_until(next_look) => {
                    next_look = Instant::now() + LOOK;
                    self.look(&mut listener, ANSWER_TIMEOUT).await.err()
                }
            };
            if let Some(error) = lost {
                tracing::warn!(error, "lost the connection for notifications from other nodes");
                drop(listener);
                listener = self.listen_again().await;
                tracing::info!("notifications from other nodes arrive again");
            }
        }
    }

    fn tell(&self, told: &Told) {
        if told.session != self.own_session.load(Ordering::Relaxed) {
            self.signals.tell(told.touched);
        }
    }

    /// Compares the revision this node has read with the database's. Also finds when an event can
    /// next be claimed: one of another node, or one whose lease has expired.
    pub(super) async fn look(
        &self,
        listener: &mut Listener,
        timeout: Duration,
    ) -> Result<(), String> {
        let query = outbox::look_query(Dialect::Postgres);
        let begun = Instant::now();
        let (revision, next_in_us, now_us) = listener.ask(query, timeout).await?;
        let answered = Instant::now();
        // The midpoint between query and response.
        let at = answered.into_std() - (answered - begun) / 2;
        self.signals.time.send_replace(Some(DatabaseTime { at, us: now_us }));
        self.currency.is_stored(revision, &self.signals);
        let next_in = next_in_us.map(|us| Duration::from_micros(us.max(0).unsigned_abs()));
        self.signals.due_at.send_replace(next_in.map(|next_in| Instant::now() + next_in));
        Ok(())
    }

    /// Retries until it is connected. Then signals a check for changes whose notification was lost.
    async fn listen_again(&self) -> Listener {
        let mut retry = RETRY_MIN;
        loop {
            match Listener::connect(&self.options).await {
                Ok(mut listener) => {
                    if self.look(&mut listener, ANSWER_TIMEOUT).await.is_ok() {
                        self.signals.tell(Touches::Triggers);
                        return listener;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot reconnect for notifications yet"),
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }
}
