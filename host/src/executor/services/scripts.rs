//! `scripts::*`: runs a script as part of this run, or as an event of its own.

use std::sync::Arc;

use picloud_shared::calls::scripts::{Call, Enqueue};
use picloud_shared::calls::{HostError, HostResult};
use picloud_shared::execution::ScriptValue;

use super::count_call;
use crate::events::rules::{NAME_BYTES_MAX, check_delay, check_name};
use crate::events::sent::{Enqueued, Sent};
use crate::executor::entries::{check_value, context, failed, send, unavailable};
use crate::executor::outcome::Status;
use crate::executor::pool::CALLS_DEPTH_MAX;
use crate::executor::room::take_for_event;
use crate::executor::sandbox::{RunContext, Sandbox};
use crate::store::{self, Script};

/// Runs a script later.
pub(in crate::executor) async fn enqueue(
    sandbox: &mut Sandbox,
    enqueue: Enqueue,
) -> HostResult<String> {
    count_call(sandbox)?;
    check_value(sandbox, "the payload", &enqueue.payload)?;
    check_delay(enqueue.delay_ms)?;
    let context = context(sandbox)?;
    let script = find_script(sandbox, &context, &enqueue.script).await?;
    let id = store::EventId::from(sandbox.clock.new_id());
    let payload_bytes = enqueue.payload.len();
    let call = Enqueued {
        id: id.clone(),
        script_id: script.id,
        script: script.name,
        payload: enqueue.payload,
        delay_ms: enqueue.delay_ms,
    };
    let sent = Sent::to_script(call, sandbox.limits.value_bytes_max)?;
    take_for_event(sandbox, payload_bytes).await?;
    send(sandbox, sent)?;
    Ok(id.into())
}

/// Runs a script now. `fuel_left` is the caller's fuel, and is reduced by the fuel that the script
/// uses.
///
/// If the script fails, its effects are undone.
pub(in crate::executor) async fn call(
    sandbox: &mut Sandbox,
    call: Call,
    fuel_left: &mut u64,
) -> HostResult<ScriptValue> {
    count_call(sandbox)?;
    check_value(sandbox, "the payload", &call.payload)?;
    let context = context(sandbox)?;
    if context.depth >= CALLS_DEPTH_MAX {
        return Err(failed(format!("script calls can be nested at most {CALLS_DEPTH_MAX} deep")));
    }
    let script = find_script(sandbox, &context, &call.script).await?;
    let scripts = Arc::clone(&context.scripts);
    let mut called = scripts.run(sandbox, script, &call.payload, fuel_left).await?;
    if called.outcome.status == Status::LimitExceeded
        && let Some(limit) =
            called.outcome.failure.as_ref().and_then(|failure| failure.limit.clone())
    {
        // The limit belongs to the whole run, and no script continues after a limit.
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

async fn find_script(
    sandbox: &mut Sandbox,
    context: &RunContext,
    name: &str,
) -> HostResult<Script> {
    check_name("script", "a script's name", name, NAME_BYTES_MAX)?;
    match context.platform.store.find_script_by_name(&context.app_id, name).await {
        Ok(script) => Ok(script),
        Err(store::Error::NotFound(_)) => {
            Err(sandbox.refuse(format!("there is no script {name:?}")))
        }
        Err(error) => Err(unavailable(sandbox, &error)),
    }
}
