//! Delivers one event, from its claim to its acknowledgement.
//!
//! ```text
//!  claimed ─▶ too deep, too many attempts, no script, trigger stopped ─▶ dead letter
//!         └─▶ a message whose trigger has stopped ─▶ back to its queue
//!         └─▶ no slot, or a conflict every time ─▶ released, the attempt not counted
//!         └─▶ run ─▶ success ─────────────────────────────────▶ done
//!                └─▶ failure ─▶ a waiting caller is told ─────▶ done
//!                          └─▶ a dead letter's handler ───────▶ retried, then handler_failed
//!                          └─▶ attempts left ─▶ retried, else ▶ dead letter
//! ```
//!
//! Invariant: the decision and its consequences are one commit, which names the claim. A claim that
//! was lost writes nothing.

use std::sync::Arc;

use picloud_shared::execution::Input;

use super::inbox::Callers;
use super::rows::summary_of_response;
use super::run::Settled;
use super::tries::Tries;
use super::work::{Origin, RecordedRun, Work};
use super::{Orchestrator, answer};
use crate::auth::stop_reason;
use crate::definitions::{Table, Target};
use crate::error::Error;
use crate::events::causes::{Cause, told_of};
use crate::events::form;
use crate::events::retry::{self, Decision, Policy};
use crate::executor::Outcome;
use crate::faults::{self, Point};
use crate::requests::{self, CredentialsLost};
use crate::secrets::RequestKey;
use crate::store::{
    self, AbandonedExecution, Commit, Committed, DeadLetter, DeadLetterId, Disposition, Event,
    ExecutionId, Lease, Resolution, RetryOverrides, ScriptId, Settlement, Trigger, TriggerKind,
};

/// The maximum length of a stored error message, in characters.
const ERROR_CHARS_MAX: usize = 4096;

/// The delay of an event that found no slot, or whose trigger has stopped.
const NO_SLOT_DELAY_US: i64 = 1_000_000;

/// The result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The event is done, scheduled for a retry or dead-lettered.
    Settled,
    /// The event did not run. It is claimed again soon.
    Released,
    /// Another dispatcher has claimed the event.
    Lost,
}

impl Orchestrator {
    /// Runs a claimed event's script and settles the event.
    ///
    /// # Errors
    /// `Unavailable` if the database fails. The event is unchanged, and is claimed again when its
    /// lease expires.
    pub(super) async fn deliver(&self, event: Event) -> Result<Delivered, Error> {
        let table = self.table().await?;
        let depth_max = self.parts.events.depth_max;
        if event.depth > depth_max && event.kind != TriggerKind::DeadLetter {
            let reason = format!(
                "the chain of events is {} long, at most {depth_max} are allowed: its triggers \
                 probably cause each other without end (limit trigger_depth)",
                event.depth
            );
            return self.bury_unrun(&event, &table, event.attempt, &reason).await;
        }
        // `decide` settled the attempts that failed in a run. Attempts that crashed the process or
        // could not be committed end up here.
        let attempts = event.attempt - 1;
        if attempts >= self.policy(&event, &table).attempts_max.max(1) {
            let reason = event.last_error.clone().unwrap_or_else(|| store::NO_END.to_owned());
            return self.bury_unrun(&event, &table, attempts, &reason).await;
        }
        let trigger = event.trigger_id.as_ref().and_then(|id| table.triggers().find(id));
        if let Some((trigger, reason)) = trigger.and_then(|t| Some((t, stop_reason(t)?))) {
            if event.kind == TriggerKind::Queue {
                return self.put_back(&event, trigger).await;
            }
            let reason = format!("the trigger has stopped: {reason}");
            return self.bury_unrun(&event, &table, event.attempt, &reason).await;
        }
        let Some(target) = self.target_of(&event, &table).await? else {
            return self.bury_unrun(&event, &table, event.attempt, "the script was deleted").await;
        };
        let input = match self.input(&event, &target).await? {
            Ok(input) => input,
            Err(lost) => {
                return self.bury_unrun(&event, &table, event.attempt, &lost.to_string()).await;
            }
        };
        self.run_and_settle(&event, work(&event, target, input), &table).await
    }

    /// Runs the script, decides the outcome and commits it, until a commit succeeds.
    async fn run_and_settle(
        &self,
        event: &Event,
        work: Work,
        table: &Table,
    ) -> Result<Delivered, Error> {
        let key = self.answer_key(event).await;
        let id = execution_id(self, event);
        let mut callers: Option<Callers> = None;
        let mut tries = Tries::new(self, &work, &id);
        loop {
            let mut outcome = match tries.next().await {
                Err(Error::Unavailable { .. }) => return self.release(event).await,
                tried => tried?,
            };
            loop {
                faults::point(Point::AfterRun);
                callers = callers.take().or_else(|| self.inbox.take(&event.id));
                let run = (&id, &outcome, key.as_ref());
                let end = self.end(event, &work, run, callers.is_some(), table);
                match self.settle(&work, &id, &mut outcome, Some(end)).await? {
                    Settled::Committed => {
                        let finished = RecordedRun { execution_id: id, outcome };
                        self.reply(event, callers, finished).await;
                        return Ok(Delivered::Settled);
                    }
                    Settled::LeaseLost => return Ok(Delivered::Lost),
                    Settled::Refused => {}
                    Settled::Changed => break,
                }
            }
        }
    }

    /// Returns the script's input.
    async fn input(
        &self,
        event: &Event,
        target: &Target,
    ) -> Result<Result<Input, CredentialsLost>, Error> {
        if event.kind == TriggerKind::Http {
            let (secrets, limits) = (&self.parts.secrets, &self.parts.form_limits);
            let stored = requests::of_stored(secrets, &event.app_id, &event.payload, limits);
            match stored.await {
                Ok(Some(request)) => return Ok(Ok(Input::Http(request))),
                Ok(None) => {}
                Err(requests::Error::Lost(lost)) => return Ok(Err(lost)),
                Err(error) => return Err(error.into()),
            }
        }
        let event = form::as_script_sees_it(event, &target.app).to_string();
        Ok(Ok(Input::Event(event)))
    }

    /// Returns the key that seals credentials in the response to a stored request. Without the key
    /// the credentials are not stored.
    async fn answer_key(&self, event: &Event) -> Option<RequestKey> {
        if event.kind != TriggerKind::Http {
            return None;
        }
        let key = self.parts.secrets.request_key(&event.app_id).await;
        key.inspect_err(|error| tracing::warn!(%error, "a response is stored without credentials"))
            .ok()
    }

    /// Puts the messages of a stopped trigger back into its queue, where they wait for this trigger
    /// or another one.
    async fn put_back(&self, event: &Event, trigger: &Trigger) -> Result<Delivered, Error> {
        let store = &self.parts.store;
        if !store.release_event(lease_of(event), NO_SLOT_DELAY_US).await? {
            return Ok(Delivered::Lost);
        }
        store.take_back_messages(&trigger.id).await?;
        // The trigger may have resumed meanwhile, and missed this event when it took the messages.
        let table = self.table().await?;
        if table.triggers().find(&trigger.id).is_some_and(|now| stop_reason(now).is_none()) {
            store.hand_over_messages(&trigger.id).await?;
        }
        Ok(Delivered::Released)
    }

    async fn release(&self, event: &Event) -> Result<Delivered, Error> {
        let released = self.parts.store.release_event(lease_of(event), NO_SLOT_DELAY_US).await?;
        Ok(if released { Delivered::Released } else { Delivered::Lost })
    }

    /// Returns the script to run, in its current version or the one that a replay names.
    async fn target_of(&self, event: &Event, table: &Table) -> Result<Option<Arc<Target>>, Error> {
        let current = event.script_id.as_ref().and_then(|id| table.find_script(id));
        let (Some(current), Some(version)) = (&current, event.script_version) else {
            return Ok(current);
        };
        match self.parts.store.find_script_version(&current.script_id, version).await {
            Ok(source) => Ok(Some(Arc::new(Target {
                version,
                source_sha256: source.version.source_sha256,
                ..Target::clone(current)
            }))),
            Err(store::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn end(
        &self,
        event: &Event,
        work: &Work,
        (id, outcome, key): (&ExecutionId, &Outcome, Option<&RequestKey>),
        is_awaited: bool,
        table: &Table,
    ) -> Settlement {
        let at = self.parts.clock.now_us();
        let is_handler = event.kind == TriggerKind::DeadLetter;
        let is_final = outcome.failure.as_ref().is_some_and(|failure| failure.is_final);
        let failure = outcome.failure.as_ref().map(|failure| error_text(&failure.message));
        let (disposition, resolution) = match failure {
            None => (Disposition::Complete, Resolution::HandledByScript),
            // The caller learns of the failure and can send the request again.
            Some(_) if is_awaited => (Disposition::Complete, Resolution::HandlerFailed),
            Some(error) => match self.decide(event, table, is_final) {
                Decision::Retry { delay_us } => {
                    return self.end_with(event, Disposition::Retry { delay_us, error });
                }
                Decision::Bury if is_handler => (Disposition::Complete, Resolution::HandlerFailed),
                Decision::Bury => {
                    let script =
                        (&work.target.script_id, &*work.target.script, work.target.version);
                    let letter = self.dead_letter(event, script, error, at);
                    (Disposition::Bury(Box::new(letter)), Resolution::HandlerFailed)
                }
            },
        };
        let resolves = event.dead_letter_id.clone().filter(|_| is_handler);
        let gone = event.reply_to.is_some() && !is_awaited;
        let response = outcome.response.as_ref();
        Settlement {
            resolves: resolves.map(|letter| (letter, resolution)),
            abandoned: response
                .filter(|_| gone)
                .and_then(|response| summary_of_response(response, &outcome.masker).ok())
                .map(|response| AbandonedExecution {
                    execution_id: id.clone(),
                    app_id: event.app_id.clone(),
                    event_id: event.id.clone(),
                    script_id: work.target.script_id.clone(),
                    response,
                    created_at: at,
                }),
            answer: (event.kind == TriggerKind::Http && (response.is_some() || is_awaited))
                .then(|| answer::to_keep(id, outcome, key, &self.parts.clock))
                .flatten(),
            ..self.end_with(event, disposition)
        }
    }

    fn end_with(&self, event: &Event, disposition: Disposition) -> Settlement {
        Settlement {
            lease: lease_of(event),
            disposition,
            resolves: None,
            abandoned: None,
            answer: None,
        }
    }

    fn decide(&self, event: &Event, table: &Table, is_final: bool) -> Decision {
        if is_final {
            return Decision::Bury;
        }
        let random = u64::from_le_bytes(self.parts.clock.random());
        retry::decide(&self.policy(event, table), event.attempt, random)
    }

    fn policy(&self, event: &Event, table: &Table) -> Policy {
        let defaults = &self.parts.events.retry;
        let trigger = event.trigger_id.as_ref().and_then(|id| table.triggers().find(id));
        match trigger {
            Some(trigger) => policy_of(defaults, &trigger.retry),
            None => defaults.clone(),
        }
    }

    fn dead_letter(
        &self,
        event: &Event,
        (script_id, script_name, version): (&ScriptId, &str, i64),
        last_error: String,
        at: i64,
    ) -> DeadLetter {
        DeadLetter {
            id: DeadLetterId::from(self.parts.clock.new_id()),
            app_id: event.app_id.clone(),
            event_id: event.id.clone(),
            trigger_id: event.trigger_id.clone(),
            script_id: script_id.clone(),
            script_name: script_name.to_owned(),
            script_version: version,
            kind: event.kind,
            operation: event.operation.clone(),
            source: event.source.clone(),
            payload: event.payload.clone(),
            principal: event.principal.clone(),
            depth: event.depth,
            attempts: event.attempt,
            first_attempt_at: event.first_attempt_at.unwrap_or(at),
            last_attempt_at: event.last_attempt_at.unwrap_or(at),
            last_error,
            resolution: None,
            resolved_at: None,
            event_created_at: event.created_at,
            created_at: at,
        }
    }

    /// Gives up an event whose script cannot run at all.
    async fn bury_unrun(
        &self,
        event: &Event,
        table: &Table,
        attempts: i64,
        reason: &str,
    ) -> Result<Delivered, Error> {
        let at = self.parts.clock.now_us();
        let none = ScriptId::from(uuid::Uuid::nil());
        let script_id = event.script_id.as_ref().unwrap_or(&none);
        let target = table.find_script(script_id);
        let deleted = match &target {
            Some(_) => None,
            None => self.parts.store.find_deleted_script_name(script_id).await?,
        };
        let (name, version) = match &target {
            Some(target) => (&*target.script, target.version),
            None => (deleted.as_deref().unwrap_or_default(), 0),
        };
        let letter = self.dead_letter(event, (script_id, name, version), reason.to_owned(), at);
        let letter = DeadLetter { attempts, ..letter };
        let resolves = event.dead_letter_id.clone();
        let cause = Cause {
            app_id: &event.app_id,
            app: target.as_ref().map_or("", |target| &target.app),
            script: None,
            execution_id: None,
            depth: event.depth,
            principal: &event.principal,
            clock: &self.parts.clock,
            at,
        };
        let committed = self.commit_with(|table| {
            let (disposition, events) = if event.kind == TriggerKind::DeadLetter {
                (Disposition::Complete, Vec::new())
            } else {
                let told = told_of(&cause, &letter, table, self.parts.events.depth_max);
                (Disposition::Bury(Box::new(letter.clone())), told)
            };
            let end = Settlement {
                resolves: resolves.clone().map(|letter| (letter, Resolution::HandlerFailed)),
                ..self.end_with(event, disposition)
            };
            Ok(Commit { events, end: Some(end), at, ..Commit::default() })
        });
        match committed.await? {
            Committed::Done => Ok(Delivered::Settled),
            Committed::Conflict
            | Committed::Stale
            | Committed::LeaseLost
            // This commit only ends an event, so the storage limit never refuses it.
            | Committed::Full(_) => Ok(Delivered::Lost),
        }
    }

    /// Responds to the waiting callers. Stores the response if all of them have disconnected.
    async fn reply(&self, event: &Event, callers: Option<Callers>, finished: RecordedRun) {
        let Some(callers) = callers else { return };
        let reply = Arc::new(finished);
        if callers.answer(&reply) {
            return;
        }
        let Some(response) = &reply.outcome.response else { return };
        let summary = summary_of_response(response, &reply.outcome.masker);
        let Ok(response) = summary else { return };
        let abandoned = AbandonedExecution {
            execution_id: reply.execution_id.clone(),
            app_id: event.app_id.clone(),
            event_id: event.id.clone(),
            script_id: event.script_id.clone().unwrap_or_else(|| uuid::Uuid::nil().into()),
            response,
            created_at: self.parts.clock.now_us(),
        };
        if let Err(error) = self.parts.store.insert_abandoned_execution(abandoned).await {
            let what = format!("the abandoned response to the event {} was not stored", event.id);
            error.tell(&what);
        }
    }
}

fn lease_of(event: &Event) -> Lease {
    Lease {
        event_id: event.id.clone(),
        attempt: event.attempt,
        token: event.lease_token.clone().unwrap_or_default(),
    }
}

/// Returns a trigger's policy. Settings that the trigger leaves out are the platform's.
fn policy_of(defaults: &Policy, own: &RetryOverrides) -> Policy {
    Policy {
        attempts_max: own.attempts_max.unwrap_or(defaults.attempts_max),
        backoff: own.backoff.unwrap_or(defaults.backoff),
        base_ms: own.backoff_base_ms.unwrap_or(defaults.base_ms),
        cap_ms: own.backoff_cap_ms.unwrap_or(defaults.cap_ms),
        jitter: own.jitter.unwrap_or(defaults.jitter),
    }
}

fn work(event: &Event, target: Arc<Target>, input: Input) -> Work {
    Work {
        kind: event.kind,
        input: Arc::new(input),
        origin: Origin {
            event_id: Some(event.id.clone()),
            trigger_id: event.trigger_id.clone(),
            attempt: event.attempt,
            depth: event.depth,
            principal: event.principal.clone(),
            caused_by: event.caused_by.clone(),
            audit: None,
        },
        target,
    }
}

/// Returns the execution id of an attempt. The first one is the event's own id, so that the sender
/// can ask for the execution before it exists.
fn execution_id(orchestrator: &Orchestrator, event: &Event) -> ExecutionId {
    match event.id.as_str().parse() {
        Ok(id) if event.attempt == 1 => id,
        _ => ExecutionId::from(orchestrator.parts.clock.new_id()),
    }
}

fn error_text(message: &str) -> String {
    // PostgreSQL refuses NUL in text.
    message.chars().take(ERROR_CHARS_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}
