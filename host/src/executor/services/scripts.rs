//! `scripts::*`: a script as a part of this run, or as an event of its own.

use picloud_shared::calls::scripts::{Call, Enqueue};
use picloud_shared::calls::{HostError, HostResult};
use picloud_shared::execution::{AnswerKind, ExecutionInfo, Input, RunRequest, ScriptValue};
use serde_json::json;

use super::{check_delay, count_call};
use crate::executor::effects::Sent;
use crate::executor::entries::{
    NAME_BYTES_MAX, check_name, check_value, failed, scope, send, unavailable,
};
use crate::executor::outcome::{Called, Outcome, Status};
use crate::executor::pool::CALLS_DEPTH_MAX;
use crate::executor::room::take_for_event;
use crate::executor::sandbox::{Sandbox, Scope};
use crate::executor::{Image, Saturated, run};
use crate::limits::Budget;
use crate::store::{self, ExecutionId, Script, ScriptSource, Verbatim};

/// Runs a script later.
pub(in crate::executor) async fn enqueue(
    sandbox: &mut Sandbox,
    enqueue: Enqueue,
) -> HostResult<String> {
    count_call(sandbox)?;
    check_value(sandbox, "the payload", &enqueue.payload)?;
    check_delay(enqueue.delay_ms)?;
    let scope = scope(sandbox)?;
    let script = find_script(sandbox, &scope, &enqueue.script).await?;
    let id = store::EventId::from(sandbox.clock.new_id());
    let payload_bytes = enqueue.payload.len();
    let sent = Sent::Script {
        id: id.clone(),
        script_id: script.id,
        script: script.name,
        payload: enqueue.payload,
        delay_ms: enqueue.delay_ms,
    };
    take_for_event(sandbox, payload_bytes).await?;
    send(sandbox, sent)?;
    Ok(id.into())
}

/// Runs a script now. `fuel_left` is the caller's, and is less afterwards by what the
/// other script took.
///
/// What the other script did is undone if it fails.
pub(in crate::executor) async fn call(
    sandbox: &mut Sandbox,
    call: Call,
    fuel_left: &mut u64,
) -> HostResult<ScriptValue> {
    count_call(sandbox)?;
    check_value(sandbox, "the payload", &call.payload)?;
    let scope = scope(sandbox)?;
    if scope.depth >= CALLS_DEPTH_MAX {
        return Err(failed(format!("scripts call each other at most {CALLS_DEPTH_MAX} deep")));
    }
    let script = find_script(sandbox, &scope, &call.script).await?;
    let image = image(sandbox, &scope, &script, fuel_left).await?;
    let mut called =
        run_script(sandbox, &scope, (script, image), &call.payload, *fuel_left).await?;
    *fuel_left = fuel_left.saturating_sub(called.outcome.fuel_used);
    if called.outcome.status == Status::LimitExceeded
        && let Some(limit) =
            called.outcome.failure.as_ref().and_then(|failure| failure.limit.clone())
    {
        // It is the whole run's, and no script goes on after a limit.
        sandbox.reached.get_or_insert_with(|| limit.clone());
        sandbox.called.push(called);
        return Err(HostError::Limit(limit));
    }
    let answer = match (called.outcome.value.take(), &called.outcome.failure) {
        (Some(value), _) => Ok(value),
        (None, Some(failure)) => {
            let at = failure.line.map_or_else(String::new, |line| format!(" (line {line})"));
            let said = format!("script {}: {}{at}", called.script_name, failure.message);
            Err(if failure.is_final { sandbox.refuse(said) } else { failed(said) })
        }
        (None, None) => Err(failed(format!("script {} failed", called.script_name))),
    };
    sandbox.called.push(called);
    answer
}

async fn find_script(sandbox: &mut Sandbox, scope: &Scope, name: &str) -> HostResult<Script> {
    check_name("a script's name", name, NAME_BYTES_MAX)?;
    match scope.platform.store.find_script_by_name(&scope.app_id, name).await {
        Ok(script) => Ok(script),
        Err(store::Error::NotFound(_)) => {
            Err(sandbox.refuse(format!("there is no script {name:?}")))
        }
        Err(error) => Err(unavailable(sandbox, &error)),
    }
}

/// The image of a script, which is paid for the first time that the run calls it.
async fn image(
    sandbox: &mut Sandbox,
    scope: &Scope,
    script: &Script,
    fuel_left: &mut u64,
) -> HostResult<Image> {
    if let Some(image) = scope.called_images.find(&script.id, script.version) {
        return Ok(image);
    }
    let source = scope.platform.store.find_script_version(&script.id, script.version).await;
    let source: ScriptSource = source.map_err(|error| unavailable(sandbox, &error))?;
    let compiled = scope.executor.compile(&source.source).await;
    let image = match compiled.map_err(|saturated| no_slot(script, saturated))? {
        Ok(image) => image,
        Err(error) => return Err(failed(format!("script {}: {}", script.name, error.message))),
    };
    *fuel_left = fuel_left.saturating_sub(image.compile_fuel());
    scope.called_images.keep(script.id.clone(), script.version, image.clone());
    Ok(image)
}

fn no_slot(script: &Script, _: Saturated) -> HostError {
    failed(format!("script {}: every execution slot is taken", script.name))
}

async fn run_script(
    sandbox: &mut Sandbox,
    scope: &Scope,
    (script, image): (Script, Image),
    payload: &str,
    fuel_left: u64,
) -> HostResult<Called> {
    let slot = scope.executor.called_slot(scope.depth + 1).await;
    let slot = slot.map_err(|saturated| no_slot(&script, saturated))?;

    let execution_id = ExecutionId::from(sandbox.clock.new_id());
    let event = event(scope, &script, &execution_id, payload, sandbox.clock.now_us())?;
    let mut limits = sandbox.limits.grant_at_most(&Budget::from(&script.limits));
    limits.fuel_max = limits.fuel_max.min(fuel_left);
    let request = RunRequest {
        execution: ExecutionInfo {
            id: execution_id.to_string(),
            app: scope.app.clone(),
            script: script.name.clone(),
            version: script.version,
            attempt: 1,
        },
        input: Input::Event(event),
        answer: AnswerKind::Value,
        call_depth_max: limits.call_depth_max,
    };
    let inner = Scope {
        script: script.name.clone(),
        depth: scope.depth + 1,
        execution_id: execution_id.clone(),
        ..scope.clone()
    };
    let mark = sandbox.effects.mark();
    let effects = std::mem::take(&mut sandbox.effects);
    let spent = sandbox.spent;
    // Boxed by its type, because a run may get here again.
    let outcome: futures::future::BoxFuture<'_, Outcome> = Box::pin(run::execute(
        scope.executor.engine(),
        &sandbox.clock,
        &image,
        request,
        limits,
        Some((inner, effects, spent)),
    ));
    let mut outcome = outcome.await;
    drop(slot);
    sandbox.effects = std::mem::take(&mut outcome.effects);
    sandbox.spent = outcome.spent;
    if outcome.failure.is_some() {
        sandbox.effects.undo_to(mark);
    }
    sandbox.called.append(&mut outcome.called);
    Ok(Called {
        execution_id,
        parent_id: scope.execution_id.clone(),
        script_id: script.id,
        script_name: script.name,
        version: script.version,
        outcome,
    })
}

fn event(
    scope: &Scope,
    script: &Script,
    id: &ExecutionId,
    payload: &str,
    now_us: i64,
) -> Result<String, HostError> {
    let payload =
        Verbatim::read(payload).map_err(|error| failed(format!("the payload: {error}")))?;
    let event = json!({
        "kind": "script",
        "operation": "call",
        "app": scope.app,
        "id": id.as_str(),
        "attempt": 1,
        "depth": scope.depth + 1,
        "created_at": now_us.div_euclid(1000),
        "script": { "name": script.name, "caller": scope.script, "payload": payload },
    });
    Ok(event.to_string())
}
