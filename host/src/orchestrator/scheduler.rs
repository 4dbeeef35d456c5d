//! The scheduler: appends an event when a schedule is due.
//!
//! The next due time is in the database. One commit appends the event and advances the due time, so
//! a schedule fires once, no matter how many nodes look at it. The trigger's policy decides about
//! missed firings.
//!
//! Invariant: without schedules the scheduler does nothing. With schedules it executes no statement
//! until one is due.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use super::Orchestrator;
use crate::cron::{self, Dst, Misfire, Overlap, Refused, Schedule};
use crate::definitions::Target;
use crate::error::Error;
use crate::events::causes::Cause;
use crate::events::form;
use crate::metrics::Firings;
use crate::store::{Firing, Trigger, TriggerDetail, TriggerId};

/// The maximum sleep. The system's clock can be set during a sleep.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// The maximum number of firings that are counted for the metrics if a schedule is late.
const COUNTED_MAX: usize = 10_000;
/// The wait after an error.
const RETRY: Duration = Duration::from_secs(1);

/// Fires schedules. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    orchestrator: Orchestrator,
    moved: Arc<Mutex<Moved>>,
}

/// The next due times of schedules that have fired since the definitions were read.
#[derive(Default)]
struct Moved {
    /// The revision of those definitions.
    revision: u64,
    due_at: HashMap<TriggerId, Option<i64>>,
    /// Triggers whose invalid schedule was already logged.
    told: HashSet<TriggerId>,
}

impl Scheduler {
    /// Creates a scheduler for the triggers of all apps.
    #[must_use]
    pub fn new(orchestrator: Orchestrator) -> Self {
        Self { orchestrator, moved: Arc::default() }
    }

    /// Fires due schedules until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut revisions = self.orchestrator.parts.store.watch_revision();
        loop {
            // Before the definitions are read, so that a later change wakes the loop.
            revisions.mark_unchanged();
            let wait = match self.tick().await {
                Ok(wait) => wait,
                Err(error) => {
                    error.tell("schedules could not be fired");
                    Some(RETRY)
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = revisions.changed() => {}
                () = sleep(wait.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)), if wait.is_some() => {}
            }
        }
    }

    /// Fires the schedules that are due now, once.
    ///
    /// # Errors
    /// Errors of the store. Schedules that were not fired are still due.
    pub async fn run_once(&self) -> Result<(), Error> {
        self.tick().await.map(drop)
    }

    /// Fires due schedules. Returns the time until the next one; `None` without schedules.
    async fn tick(&self) -> Result<Option<Duration>, Error> {
        let parts = &self.orchestrator.parts;
        let mut moved = self.moved.lock().await;
        let revision = parts.store.revision();
        if moved.revision != revision {
            moved.revision = revision;
            moved.due_at.clear();
        }
        let table = self.orchestrator.table().await?;
        let mut first: Option<i64> = None;
        let mut unreadable = 0;
        for trigger in table.triggers().schedules() {
            let TriggerDetail::Cron { due_at, .. } = &trigger.detail else { continue };
            let due_at = moved.due_at.get(&trigger.id).copied().unwrap_or(*due_at);
            let Some(due_at) = due_at else { continue };
            let now = parts.clock.now_us();
            let schedule = schedule_of(&trigger.detail);
            let wrong = match &schedule {
                Ok(schedule) => schedule.objection().map(|refused| (refused, "fires as before")),
                Err(refused) => Some((refused, "does not fire")),
            };
            if let Some((refused, so)) = wrong
                && moved.told.insert(trigger.id.clone())
            {
                tracing::warn!(
                    trigger = %trigger.id,
                    %refused,
                    "a stored schedule is not valid: it {so}"
                );
            }
            let Ok(schedule) = schedule else {
                unreadable += 1;
                continue;
            };
            let next = if due_at <= now {
                let Some(target) = table.find_script(&trigger.script_id) else { continue };
                let next = self.fire(trigger, &schedule, &target, due_at, now).await?;
                moved.due_at.insert(trigger.id.clone(), next);
                next
            } else if let Some(next) = schedule.next_after(now).filter(|next| *next < due_at) {
                let next = parts.store.pull_schedule_back(&trigger.id, due_at, next).await?;
                tracing::warn!(trigger = %trigger.id, "the due time of a schedule was corrected");
                moved.due_at.insert(trigger.id.clone(), next);
                next
            } else {
                Some(due_at)
            };
            first = first.into_iter().chain(next).min();
        }
        parts.metrics.cannot_read_schedules(unreadable);
        let now = parts.clock.now_us();
        Ok(first.map(|at| Duration::from_micros(u64::try_from(at - now).unwrap_or(0))))
    }

    /// Fires all due firings of one schedule. Returns its next due time.
    async fn fire(
        &self,
        trigger: &Trigger,
        schedule: &Schedule,
        target: &Target,
        due_at: i64,
        now: i64,
    ) -> Result<Option<i64>, Error> {
        let parts = &self.orchestrator.parts;
        let TriggerDetail::Cron { expression, zone, misfire, overlap, .. } = &trigger.detail else {
            return Ok(None);
        };
        let misfire = Misfire::try_from(misfire.clone()).unwrap_or(Misfire::Once);
        let missed = schedule.missed(due_at, now, misfire, cron::MISSED_MAX);
        let cause = Cause {
            app_id: &target.app_id,
            app: &target.app,
            script: None,
            execution_id: None,
            depth: 0,
            principal: &trigger.registered_by_principal,
            clock: &parts.clock,
            at: now,
        };
        let events = missed.fire.iter().map(|due_at| {
            let details = form::of_schedule(expression, zone, *due_at);
            cause.by_trigger(trigger, "fire", expression, &details)
        });
        let firing = Firing {
            trigger_id: trigger.id.clone(),
            due_at,
            next_due_at: missed.next,
            events: events.collect(),
            forbids_overlap: Overlap::try_from(overlap.clone()).is_ok_and(|o| o == Overlap::Forbid),
        };
        let planned = missed.fire;
        let fired = parts.store.fire_schedule(firing).await?;
        if let Some(appended) = fired.appended {
            let due = schedule.count_due(due_at, now, COUNTED_MAX);
            parts.metrics.fired(firings(&planned, appended, due, now));
        }
        Ok(fired.next_due_at)
    }
}

/// Counts what happened to `due` firings. The policy chose those in `planned`, and the first
/// `appended` of these were fired.
fn firings(planned: &[i64], appended: usize, due: usize, now: i64) -> Firings {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (fired, overlapped) = planned.split_at(appended.min(planned.len()));
    let late = fired.iter().filter(|at| now - **at > cron::LATE_US_MAX).count();
    Firings {
        on_time: count(fired.len() - late),
        late: count(late),
        left_out: count(due.saturating_sub(planned.len())),
        overlapped: count(overlapped.len()),
    }
}

/// Returns the schedule of a trigger of kind cron.
///
/// # Errors
/// `Refused` if the schedule is invalid.
fn schedule_of(detail: &TriggerDetail) -> Result<Schedule, Refused> {
    let TriggerDetail::Cron { expression, zone, dst, .. } = detail else {
        unreachable!("the table's schedules are triggers of kind cron");
    };
    let known = Dst::try_from(dst.clone())
        .map_err(|unknown| Refused::policy("dst", dst, unknown.to_string()))?;
    Schedule::parse_stored(expression, zone, known)
}
