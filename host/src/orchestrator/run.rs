//! One run, from its target to its commit.
//!
//! ```text
//!            ┌────────────── Changed: nothing was written, run again
//!            ▼                                   │
//!  image ─▶ execute ─▶ no effects, no event ─▶ row through the buffer
//!                  └─▶ effects or an event ──▶ one commit ─▶ Committed
//!                                  ▲             │
//!                                  └── Refused: the run becomes a failure, commit that
//! ```

use std::time::Duration;

use super::Orchestrator;
use super::rows::rows;
use super::tries::Tries;
use super::work::{RecordedRun, Work};
use crate::definitions::Table;
use crate::error::Error;
use crate::events::causes::{Cause, Consequences, consequences, reads, told_of};
use crate::executor::Outcome;
use crate::store::{Commit, Committed, Disposition, ExecutionId, ExecutionStatus, Settlement};

/// The time that a finished run waits until its row is in the buffer. A longer wait would delay the
/// response for a row that the caller does not need.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of the commit of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The run and its effects are recorded.
    Committed,
    /// Something that the run read has changed. Nothing is written, and the run can be repeated.
    Changed,
    /// The effects were refused for good. Nothing is written. The outcome becomes a failure without
    /// effects, which is never refused.
    Refused,
    /// Another dispatcher holds the event.
    LeaseLost,
}

impl Orchestrator {
    /// Runs a request's script and records the run.
    ///
    /// # Errors
    /// `Unavailable` if no slot comes free in time, the source cannot be read or the effects cannot
    /// be written. A failure of the script is an outcome, not an error.
    pub(super) async fn run(&self, work: Work) -> Result<RecordedRun, Error> {
        let id = ExecutionId::from(self.parts.clock.new_id());
        let mut tries = Tries::new(self, &work, &id);
        loop {
            let mut outcome = tries.next().await?;
            loop {
                match self.settle(&work, &id, &mut outcome, None).await? {
                    Settled::Committed => return Ok(RecordedRun { execution_id: id, outcome }),
                    Settled::Changed => break,
                    Settled::Refused => {}
                    Settled::LeaseLost => {
                        return Err(Error::internal("a request has no lease to lose"));
                    }
                }
            }
        }
    }

    /// Commits a run, and with it the `end` of its event.
    ///
    /// # Errors
    /// Errors of the store. It is then unknown whether the run is committed.
    pub(super) async fn settle(
        &self,
        work: &Work,
        id: &ExecutionId,
        outcome: &mut Outcome,
        end: Option<Settlement>,
    ) -> Result<Settled, Error> {
        let committed = self.commit_run(work, id, outcome, end).await?;
        self.remove_needless_blobs(work, outcome, committed).await;
        Ok(match committed {
            Committed::Done => {
                self.count(outcome);
                Settled::Committed
            }
            Committed::LeaseLost => Settled::LeaseLost,
            Committed::Full(full) => {
                outcome.fail_for_want_of_storage(full);
                Settled::Refused
            }
            // The run has sent a request, so it is never repeated silently.
            Committed::Conflict if outcome.effects.called_outside => {
                outcome.fail_in_conflict();
                Settled::Refused
            }
            Committed::Conflict | Committed::Stale => Settled::Changed,
        })
    }

    /// Removes file contents that no entry refers to. If the run was not committed, removes all its
    /// contents.
    async fn remove_needless_blobs(&self, work: &Work, outcome: &Outcome, settled: Committed) {
        let Some(blobs) = self.parts.executor.blobs() else { return };
        let names: Vec<_> = match settled {
            Committed::Done => outcome.effects.needless_blobs().collect(),
            _ => outcome.effects.blobs().map(ToString::to_string).collect(),
        };
        if names.is_empty() {
            return;
        }
        let app_id = &work.target.app_id;
        if let Err(error) = blobs.remove(app_id.as_str(), names).await {
            tracing::warn!(%error, %app_id, "unneeded file contents remain on the disk");
        }
    }

    async fn commit_run(
        &self,
        work: &Work,
        id: &ExecutionId,
        outcome: &Outcome,
        end: Option<Settlement>,
    ) -> Result<Committed, Error> {
        let (store, at) = (&self.parts.store, self.parts.clock.now_us());
        let seen = reads(&work.target.app_id, &outcome.effects);
        let writes_nothing = outcome.effects.are_none();
        if outcome.effects.are_torn() {
            return Ok(Committed::Conflict);
        }
        // One read shows a single state. Several reads may not, and this is the only check for a
        // run without a commit.
        let looked_again = outcome.effects.looked_again();
        if writes_nothing && looked_again && !store.reads_are_current(&seen, at).await? {
            return Ok(Committed::Conflict);
        }
        if writes_nothing && end.is_none() && work.origin.audit.is_none() {
            self.record(work, id, outcome).await;
            return Ok(Committed::Done);
        }
        self.commit_with(|table| self.commit_of(work, id, outcome, end.clone(), table, at)).await
    }

    fn commit_of(
        &self,
        work: &Work,
        id: &ExecutionId,
        outcome: &Outcome,
        end: Option<Settlement>,
        table: &Table,
        at: i64,
    ) -> Result<Commit, Error> {
        let cause = Cause {
            app_id: &work.target.app_id,
            app: &work.target.app,
            script: Some(&work.target.script),
            execution_id: Some(id),
            depth: work.origin.depth,
            principal: &work.origin.principal,
            clock: &self.parts.clock,
            at,
        };
        let Consequences { reads, writes, mut events } =
            consequences(&cause, &outcome.effects, table);
        if let Some(Settlement { disposition: Disposition::Bury(letter), .. }) = &end {
            events.extend(told_of(&cause, letter, table, self.parts.events.depth_max));
        }
        // A failed run changes nothing, so its reads are not validated.
        let reads = if outcome.failure.is_none() { reads } else { Vec::new() };
        let executions = rows(work, id, outcome).map_err(Error::internal)?;
        // Written even if the run changed nothing: it may have called another server.
        let audit = work.origin.audit.clone();
        // The storage limit never refuses a dead letter and its events.
        let is_limited = !outcome.effects.are_none();
        let definitions = None;
        Ok(Commit { executions, reads, writes, events, end, audit, is_limited, definitions, at })
    }

    /// Hands the row to the buffer. Only warns if the row cannot be stored, so that the caller
    /// still gets the result.
    async fn record(&self, work: &Work, id: &ExecutionId, outcome: &Outcome) {
        let rows = match rows(work, id, outcome) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%id, %error, "the row of an execution could not be built");
                return;
            }
        };
        for row in rows {
            match tokio::time::timeout(RECORD_TIMEOUT, self.parts.store.record(row)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let what = format!("the execution {id} was not recorded");
                    error.tell(&what);
                }
                Err(_) => {
                    tracing::warn!(%id, "an execution was not recorded: the database is too slow");
                }
            }
        }
    }

    fn count(&self, outcome: &Outcome) {
        self.parts.metrics.executed(
            ExecutionStatus::from(outcome.status).as_str(),
            outcome.duration_us,
            outcome.fuel_used,
        );
    }
}
