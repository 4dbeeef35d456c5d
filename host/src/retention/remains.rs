//! Finishes changes of definitions in parts: moves messages to another trigger, and deletes the
//! rows of deleted apps.
//!
//! Invariant: other writes run between two parts.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{self, Moving, Store};

/// The wait after an error, or while another node does the work.
const RETRY: Duration = Duration::from_secs(1);

/// The interval between looks for work that another node left unfinished.
const LOOK: Duration = Duration::from_secs(60);

/// Finishes changes of definitions. Cheap to clone.
#[derive(Clone)]
pub struct Remains {
    /// The database.
    pub store: Store,
}

impl Remains {
    /// Does the pending work now and after each change. Never returns.
    pub async fn run(self) {
        let mut changes = self.store.watch_remains();
        loop {
            // Before looking, so that a change meanwhile wakes the loop.
            changes.mark_unchanged();
            let wait = match self.run_once().await {
                Ok(true) => self.store.is_shared().then_some(LOOK),
                Ok(false) => Some(RETRY),
                Err(error) => {
                    error.tell("a change of definitions could not be finished");
                    Some(RETRY)
                }
            };
            wait_for(&mut changes, wait).await;
        }
    }

    /// Does all pending work. Returns `false` if another node is doing the rest.
    ///
    /// # Errors
    /// Errors of the store. Finished parts stay finished.
    pub async fn run_once(&self) -> Result<bool, store::Error> {
        let is_done = loop {
            match self.store.move_messages().await? {
                Moving::More => {}
                Moving::Elsewhere => break false,
                Moving::Done => break true,
            }
        };
        while self.store.remove_remains().await? {}
        Ok(is_done)
    }
}

async fn wait_for(changes: &mut watch::Receiver<u64>, at_most: Option<Duration>) {
    let late = async {
        match at_most {
            Some(at_most) => sleep(at_most).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The store outlives this task.
        _ = changes.changed() => {}
        () = late => {}
    }
}
