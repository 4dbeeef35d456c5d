//! One run: from its target to its commit.
//!
//! ```text
//!            ┌───────────── what it saw has changed: once more, nothing has happened
//!            ▼                                                       │
//!  image ─▶ execute ─▶ no effects, no event ─▶ row through the buffer
//!                  └─▶ effects or an event ──▶ one commit ───────────┘
//! ```
//!
//! Runs that have to be made again take turns within their app, so that however many
//! want the same key, one of them gets it each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picloud_shared::execution::{AnswerKind, ExecutionInfo, RunRequest};
use tokio::sync::OwnedMutexGuard;

use super::Orchestrator;
use super::rows::rows;
use super::work::{Finished, Work};
use crate::definitions::{Table, Target};
use crate::error::{Error, Refusal};
use crate::events::causes::{Cause, Consequences, consequences, reads, told_of};
use crate::executor::{Image, Outcome, Run};
use crate::store::{self, AppId, Commit, Committed, End, Ending, ExecutionId, ExecutionStatus};

/// How long a finished run waits for room in the buffer of rows. Longer, and the
/// answer would be late because of a row that the caller does not need.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a run is made again because what it saw has changed. On each node one run of an
/// app has its turn, so at most as many compete as there are nodes.
const RERUNS_MAX: u32 = 16;

/// The longest wait before a run is made again, so that nodes do not meet each time.
const RERUN_WAIT_MS_MAX: u64 = 32;

/// How long a run that has to be made again waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a run that started from an event.
pub(super) enum Settled {
    /// It is recorded.
    Done(Box<Finished>),
    /// The event is somebody else's by now.
    LeaseLost,
}

/// Why a run has come to nothing.
pub(super) enum NotSettled {
    /// Nothing was written.
    NothingDone(Error),
    /// It is unknown whether it was written.
    Unknown(Error),
}

impl From<NotSettled> for Error {
    fn from(error: NotSettled) -> Self {
        match error {
            NotSettled::NothingDone(error) | NotSettled::Unknown(error) => error,
        }
    }
}

/// Who runs again, app by app.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<AppId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The right to run again in an app; none when it does not come in time, and the
    /// run is made without.
    async fn take(&self, app_id: &AppId) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody holds what only the map knows.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(app_id.clone()).or_default())
        };
        tokio::time::timeout(TURN_TIMEOUT, turn.lock_owned()).await.ok()
    }
}

/// The error of a run whose reads were changed by others each time.
fn always_in_conflict() -> Error {
    let message = format!(
        "what the script reads is changed all the time; it was run {} times, and nothing was \
         written",
        RERUNS_MAX + 1
    );
    let refusal = Refusal::new("execution_conflict", message);
    Error::Unavailable { refusal, retry_after_s: 1 }
}

/// The error of an event that did not begin before the server stops.
fn stopping() -> Error {
    store::Error::Unavailable("the server stops".into()).into()
}

impl Orchestrator {
    /// Runs a request's script and records what it came to.
    ///
    /// # Errors
    /// `Unavailable` when no slot came free in time, the source cannot be read or the
    /// effects cannot be written. The script's own failure is an outcome.
    pub(super) async fn run(&self, work: Work) -> Result<Finished, Error> {
        let id = ExecutionId::from(self.parts.clock.new_id());
        match self.run_and_end(&work, id, |_| None).await.map_err(Error::from)? {
            Settled::Done(finished) => Ok(*finished),
            Settled::LeaseLost => Err(Error::internal("a request has no lease to lose")),
        }
    }

    /// Runs `work`, and again while its commit conflicts with another one (at most
    /// [`RERUNS_MAX`] times); `end` says what becomes of its event, by the outcome.
    ///
    /// # Errors
    /// As [`Orchestrator::run`].
    pub(super) async fn run_and_end(
        &self,
        work: &Work,
        id: ExecutionId,
        mut end: impl FnMut(&Outcome) -> Option<End>,
    ) -> Result<Settled, NotSettled> {
        let mut turn = None;
        for rerun in 0..=RERUNS_MAX {
            let mut outcome = self.execute(work, &id).await.map_err(NotSettled::NothingDone)?;
            if outcome.failure.is_some()
                && outcome.effects.was_cut_off
                && !outcome.effects.called_outside
            {
                // Not the script's failure: nothing has happened, and it may work later.
                let reason = "a run was not served and failed";
                let error = store::Error::Unavailable(reason.into());
                let error = self.parts.store.check_room().err().unwrap_or(error);
                return Err(NotSettled::NothingDone(error.into()));
            }
            let settled = self.settle(work, &id, &outcome, &mut end).await;
            let settled = settled.map_err(NotSettled::Unknown)?;
            self.remove_needless_blobs(work, &outcome, settled).await;
            match settled {
                Committed::Done => {}
                Committed::LeaseLost => return Ok(Settled::LeaseLost),
                // It is not done again silently: it has sent a request.
                Committed::Conflict if outcome.effects.called_outside => {
                    outcome.fail_in_conflict();
                    let failed = self.settle(work, &id, &outcome, &mut end).await;
                    match failed.map_err(NotSettled::Unknown)? {
                        Committed::LeaseLost => return Ok(Settled::LeaseLost),
                        Committed::Done
                        | Committed::Conflict
                        | Committed::Stale
                        | Committed::Full(_) => {}
                    }
                }
                // The failure is written, and nothing of what the script did.
                Committed::Full(full) => {
                    outcome.fail_for_want_of_storage(full);
                    let failed = self.settle(work, &id, &outcome, &mut end).await;
                    if failed.map_err(NotSettled::Unknown)? == Committed::LeaseLost {
                        return Ok(Settled::LeaseLost);
                    }
                }
                Committed::Conflict | Committed::Stale => {
                    if turn.is_none() {
                        turn = self.turns.take(&work.target.app_id).await;
                    }
                    let longest = (1 << rerun.min(16)).min(RERUN_WAIT_MS_MAX);
                    let wait = u64::from_le_bytes(self.parts.clock.random()) % longest;
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    continue;
                }
            }
            self.count(&outcome);
            return Ok(Settled::Done(Box::new(Finished { execution_id: id, outcome })));
        }
        tracing::debug!(%id, "a run was in conflict each time");
        Err(NotSettled::NothingDone(always_in_conflict()))
    }

    /// Removes the contents of files that a run has written for nothing: of a failed run, and
    /// of one that is not committed, all.
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
            tracing::warn!(%error, %app_id, "contents of files that are not needed remain");
        }
    }

    async fn execute(&self, work: &Work, id: &ExecutionId) -> Result<Outcome, Error> {
        let (parts, target) = (&self.parts, &*work.target);
        let image = match self.image(target).await? {
            Ok(image) => image,
            Err(mut not_compiled) => {
                not_compiled.started_at = parts.clock.now_us();
                return Ok(*not_compiled);
            }
        };
        let limits = parts.ceiling.grant_at_most(&target.budget);
        let request = RunRequest {
            execution: ExecutionInfo {
                id: id.to_string(),
                app: target.app.clone(),
                script: target.script.clone(),
                version: target.version,
                attempt: u32::try_from(work.origin.attempt).unwrap_or(u32::MAX),
            },
            input: work.input.clone(),
            call_depth_max: limits.call_depth_max,
            answer: AnswerKind::Response,
        };
        let (app_id, execution_id) = (Some(target.app_id.clone()), id.clone());
        // Events leave slots for requests.
        let _slot = match work.origin.event_id {
            Some(_) => {
                let slot = self.event_slots.take(&target.app_id).await;
                Some(slot.map_err(|_| stopping())?)
            }
            None => None,
        };
        // The first attempt has the event's own id.
        let first = work.origin.event_id.as_ref().and_then(|event| event.as_str().parse().ok());
        let run = Run {
            image,
            request,
            limits,
            app_id,
            first_execution_id: first.unwrap_or_else(|| execution_id.clone()),
            execution_id,
            private_hosts: Arc::clone(&target.private_hosts),
        };
        Ok(parts.executor.execute(run).await?)
    }

    /// The target's image; compiled now if it was not lately.
    async fn image(&self, target: &Target) -> Result<Result<Image, Box<Outcome>>, Error> {
        let parts = &self.parts;
        if let Some(image) = parts.executor.image(&target.source_sha256).await {
            return Ok(Ok(image));
        }
        let source = parts.store.find_script_version(&target.script_id, target.version).await?;
        let compiled = parts.executor.compile(&source.source).await?;
        // Checked when it was uploaded; a newer interpreter may think otherwise.
        Ok(compiled.map_err(|error| Box::new(Outcome::not_compiled(&error))))
    }

    /// Records a run, and writes what it did.
    async fn settle(
        &self,
        work: &Work,
        id: &ExecutionId,
        outcome: &Outcome,
        end: &mut impl FnMut(&Outcome) -> Option<End>,
    ) -> Result<Committed, Error> {
        let (store, at) = (&self.parts.store, self.parts.clock.now_us());
        let seen = reads(&work.target.app_id, &outcome.effects);
        let writes_nothing = outcome.effects.are_none();
        if outcome.effects.are_torn() {
            return Ok(Committed::Conflict);
        }
        // What was seen at one look is as it was at some moment; of several, a run that is
        // not committed with them may have seen no one state.
        let looked_again = outcome.effects.looked_again();
        if writes_nothing && looked_again && !store.reads_are_current(&seen, at).await? {
            return Ok(Committed::Conflict);
        }
        let end = end(outcome);
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
        end: Option<End>,
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
        if let Some(End { ending: Ending::Bury(letter), .. }) = &end {
            events.extend(told_of(&cause, letter, table, self.parts.events.depth_max));
        }
        // A failed run changes nothing, so it does not matter what it saw.
        let reads = if outcome.failure.is_none() { reads } else { Vec::new() };
        let executions = rows(work, id, outcome).map_err(Error::internal)?;
        // Also of a run that wrote nothing: it may have called another server.
        let audit = work.origin.audit.clone();
        // A dead letter is written, and told of, also when the app is full.
        let is_limited = !outcome.effects.are_none();
        let definitions = None;
        Ok(Commit { executions, reads, writes, events, end, audit, is_limited, definitions, at })
    }

    /// Hands the row over. A row that cannot be kept is a warning: it must never
    /// hide what the run came to.
    async fn record(&self, work: &Work, id: &ExecutionId, outcome: &Outcome) {
        let rows = match rows(work, id, outcome) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%id, %error, "an execution has no row");
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
                    tracing::warn!(%id, "an execution was not recorded: the database is behind");
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
