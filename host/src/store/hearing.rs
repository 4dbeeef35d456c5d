//! What other nodes have committed, as PostgreSQL passes it on.
//!
//! A notification is sent inside of the transaction that it tells of, so it comes after
//! the commit and never without it. It can be lost with the connection, and a connection can
//! die without anybody being told: a notification is a hint. Every ten seconds one statement
//! on the same connection finds what was missed, and whether the connection is alive.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use tokio::time::{Instant, sleep, sleep_until};

use super::definitions::Currency;
use super::dialect::{Dialect, Listener, Told};
use super::signals::{Signals, Touches};
use super::writer::OwnSession;
use super::{DatabaseTime, outbox};

/// The wait after a failure, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often the database is looked at without being told to.
const LOOK: Duration = Duration::from_secs(10);

/// Hears what other nodes tell, and looks for what was not heard.
pub(super) struct Ear {
    pub(super) options: AnyConnectOptions,
    pub(super) own_session: OwnSession,
    pub(super) signals: Signals,
    pub(super) currency: Currency,
}

impl Ear {
    /// Passes on what other nodes tell, for as long as the store lives.
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

    fn tell(&self, told: &Told) {
        if told.session != self.own_session.load(Ordering::Relaxed) {
            self.signals.tell(told.touched);
        }
    }

    /// Compares what this node has read with what is in the database, and learns when there
    /// will be an event to claim: one of another node, or one whose lease that let run out.
    pub(super) async fn look(&self, listener: &mut Listener) -> Result<(), String> {
        let query = outbox::look_query(Dialect::Postgres);
        let begun = Instant::now();
        let (revision, next_in_us, now_us) = listener.ask(query).await?;
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
    async fn listen_again(&self) -> Listener {
        let mut retry = RETRY_MIN;
        loop {
            match Listener::connect(&self.options).await {
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
