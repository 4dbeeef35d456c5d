//! Repeats a run while the data it reads changes before its commit.
//!
//! Reruns take turns within their app. One of them commits each time, no matter how many want the
//! same key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use picloud_shared::execution::{AnswerKind, ExecutionInfo, RunRequest};
use tokio::sync::OwnedMutexGuard;

use super::Orchestrator;
use super::work::Work;
use crate::definitions::Target;
use crate::error::{Error, Refusal};
use crate::executor::{Image, Outcome, Run};
use crate::store::{self, AppId, ExecutionId};

/// The maximum number of reruns. On each node one run of an app has its turn, so at most as many
/// runs compete as there are nodes.
const RERUNS_MAX: u32 = 16;

/// The maximum wait before a rerun. The wait is random, so that nodes do not collide each time.
const RERUN_WAIT_MS_MAX: u64 = 32;

/// The timeout for a rerun's turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The turn of each app.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<AppId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Takes the turn of an app; `None` after a timeout, in which case the run starts without it.
    async fn take(&self, app_id: &AppId) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the map holds these turns, so they are free.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(app_id.clone()).or_default())
        };
        tokio::time::timeout(TURN_TIMEOUT, turn.lock_owned()).await.ok()
    }
}

/// The tries of one run.
pub(super) struct Tries<'a> {
    orchestrator: &'a Orchestrator,
    work: &'a Work,
    id: &'a ExecutionId,
    made: u32,
    turn: Option<OwnedMutexGuard<()>>,
}

impl<'a> Tries<'a> {
    pub(super) fn new(orchestrator: &'a Orchestrator, work: &'a Work, id: &'a ExecutionId) -> Self {
        Self { orchestrator, work, id, made: 0, turn: None }
    }

    /// Runs the script, after waiting for its turn if this is a rerun. Writes nothing.
    ///
    /// # Errors
    /// `Unavailable` after [`RERUNS_MAX`] reruns, if no slot comes free in time, or if the database
    /// or the disk failed during the run.
    pub(super) async fn next(&mut self) -> Result<Outcome, Error> {
        if let Some(rerun) = self.made.checked_sub(1) {
            if rerun >= RERUNS_MAX {
                tracing::debug!(id = %self.id, "a run conflicted with other runs every time");
                return Err(always_in_conflict());
            }
            self.wait(rerun).await;
        }
        self.made += 1;
        let outcome = self.orchestrator.execute(self.work, self.id).await?;
        let effects = &outcome.effects;
        if outcome.failure.is_some() && effects.was_cut_off && !effects.called_outside {
            // Not a failure of the script: nothing was written, and a later try can succeed.
            let reason = "a run failed because of the database or the disk";
            let error = store::Error::Unavailable(reason.into());
            let room = self.orchestrator.parts.store.check_room();
            return Err(room.err().unwrap_or(error).into());
        }
        Ok(outcome)
    }

    async fn wait(&mut self, rerun: u32) {
        let orchestrator = self.orchestrator;
        if self.turn.is_none() {
            self.turn = orchestrator.turns.take(&self.work.target.app_id).await;
        }
        let longest = (1 << rerun.min(16)).min(RERUN_WAIT_MS_MAX);
        let wait = u64::from_le_bytes(orchestrator.parts.clock.random()) % longest;
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

impl Orchestrator {
    /// Runs the script once, without writing anything.
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
            input: Arc::clone(&work.input),
            call_depth_max: limits.call_depth_max,
            answer: AnswerKind::Response,
        };
        let (app_id, execution_id) = (Some(target.app_id.clone()), id.clone());
        // Only events take these slots, so that requests always find free ones.
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
            starts_here: work.origin.event_id.is_none(),
        };
        Ok(parts.executor.execute(run).await?)
    }

    /// Returns the target's image. Compiles the source if the image is not cached.
    async fn image(&self, target: &Target) -> Result<Result<Image, Box<Outcome>>, Error> {
        let parts = &self.parts;
        if let Some(image) = parts.executor.image(&target.source_sha256).await {
            return Ok(Ok(image));
        }
        let source = parts.store.find_script_version(&target.script_id, target.version).await?;
        let compiled = parts.executor.compile(&source.source).await?;
        // The source compiled when it was uploaded, but a newer interpreter can refuse it.
        Ok(compiled.map_err(|error| Box::new(Outcome::not_compiled(&error))))
    }
}

/// Returns the error of an event that did not start before the server stops.
fn stopping() -> Error {
    store::Error::Unavailable("the server is stopping".into()).into()
}

/// Returns the error of a run whose reads changed before every commit.
fn always_in_conflict() -> Error {
    let message = format!(
        "the data that the script reads keeps changing; it ran {} times, and nothing was \
         written",
        RERUNS_MAX + 1
    );
    let refusal = Refusal::new("execution_conflict", message);
    Error::Unavailable { refusal, retry_after_s: 1 }
}
