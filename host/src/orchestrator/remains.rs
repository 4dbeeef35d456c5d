//! Does in parts what a change of definitions has left behind: messages that change hands, and
//! the rows of deleted apps.
//!
//! Invariant: between two parts every other write gets its turn.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::store::{self, Moving, Store};

/// The wait after a failure, and for what another node is doing.
const RETRY: Duration = Duration::from_secs(1);

/// How often a node looks at what another one may have left undone.
const LOOK: Duration = Duration::from_secs(60);

/// Does what was left behind. Cheap to clone.
#[derive(Clone)]
pub struct Remains {
    /// Where it is.
    pub store: Store,
}

impl Remains {
    /// Does what is left behind, now and after each change. Never returns.
    pub async fn run(self) {
        let mut changes = self.store.watch_remains();
        loop {
            // Before looking: what is left behind while we look wakes us afterwards.
            changes.mark_unchanged();
            let wait = match self.run_once().await {
                Ok(true) => self.store.is_shared().then_some(LOOK),
                Ok(false) => Some(RETRY),
                Err(error) => {
                    error.tell("what is left of a change could not be done");
                    Some(RETRY)
                }
            };
            wait_for(&mut changes, wait).await;
        }
    }

    /// Does all that is left behind; `false` if another node is doing the rest.
    ///
    /// # Errors
    /// From the store; what was done before stays done.
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
        // The store outlives us.
        _ = changes.changed() => {}
        () = late => {}
    }
}
