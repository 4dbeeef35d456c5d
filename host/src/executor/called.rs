//! The scripts that one run calls, and their images.
//!
//! A run is charged for compiling a script the first time it calls it, even if the server has the
//! image already: the charge must not depend on earlier runs. The image is kept until the run ends,
//! so that no run compiles a script twice.
//!
//! Invariant: a run keeps at most [`BYTES_MAX`] bytes of images. Other images are charged at every
//! call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use picloud_shared::calls::{HostError, HostResult};
use picloud_shared::execution::{AnswerKind, ExecutionInfo, Input, RunRequest};
use serde_json::json;

use super::entries::{context, failed, unavailable};
use super::outcome::{Called, Outcome};
use super::sandbox::{CallScripts, RunContext, Sandbox};
use super::{Executor, Image, Saturated, run};
use crate::json::Verbatim;
use crate::limits::Budget;
use crate::store::{ExecutionId, Script, ScriptId, ScriptSource};

const BYTES_MAX: usize = 16 << 20;

/// Runs the scripts that a run calls. Shared by the run and all runs it calls.
pub(super) struct CalledScripts {
    executor: Executor,
    images: CalledImages,
}

impl CalledScripts {
    pub(super) fn new(executor: Executor) -> Self {
        Self { executor, images: CalledImages::default() }
    }

    /// Returns the image of a script, which is charged the first time that the run calls it.
    async fn image(
        &self,
        sandbox: &mut Sandbox,
        context: &RunContext,
        script: &Script,
        fuel_left: &mut u64,
    ) -> HostResult<Image> {
        if let Some(image) = self.images.find(&script.id, script.version) {
            return Ok(image);
        }
        let source = context.platform.store.find_script_version(&script.id, script.version).await;
        let source: ScriptSource = source.map_err(|error| unavailable(sandbox, &error))?;
        let compiled = self.executor.compile(&source.source).await;
        let image = match compiled.map_err(|saturated| no_slot(script, saturated))? {
            Ok(image) => image,
            Err(error) => return Err(failed(format!("script {}: {}", script.name, error.message))),
        };
        *fuel_left = fuel_left.saturating_sub(image.compile_fuel());
        self.images.keep(script.id.clone(), script.version, image.clone());
        Ok(image)
    }

    async fn run_script(
        &self,
        sandbox: &mut Sandbox,
        context: &RunContext,
        (script, image): (Script, Image),
        payload: &str,
        fuel_left: u64,
    ) -> HostResult<Called> {
        let slot = self.executor.called_slot(context.depth + 1).await;
        let slot = slot.map_err(|saturated| no_slot(&script, saturated))?;

        let execution_id = ExecutionId::from(sandbox.clock.new_id());
        let event = event(context, &script, &execution_id, payload, sandbox.clock.now_us())?;
        let mut limits = sandbox.limits.grant_at_most(&Budget::from(&script.limits));
        limits.fuel_max = limits.fuel_max.min(fuel_left);
        let request = RunRequest {
            execution: ExecutionInfo {
                id: execution_id.to_string(),
                app: context.app.clone(),
                script: script.name.clone(),
                version: script.version,
                attempt: 1,
            },
            input: Arc::new(Input::Event(event)),
            answer: AnswerKind::Value,
            call_depth_max: limits.call_depth_max,
        };
        let inner = RunContext {
            script: script.name.clone(),
            depth: context.depth + 1,
            execution_id: execution_id.clone(),
            ..context.clone()
        };
        let mark = sandbox.effects.mark();
        let effects = std::mem::take(&mut sandbox.effects);
        let spent = sandbox.spent;
        // Boxed with a named type, because the call is recursive.
        let outcome: futures::future::BoxFuture<'_, Outcome> = Box::pin(run::execute(
            self.executor.engine(),
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
            parent_id: context.execution_id.clone(),
            script_id: script.id,
            script_name: script.name,
            version: script.version,
            outcome,
        })
    }
}

impl CallScripts for CalledScripts {
    fn run<'r>(
        &'r self,
        sandbox: &'r mut Sandbox,
        script: Script,
        payload: &'r str,
        fuel_left: &'r mut u64,
    ) -> BoxFuture<'r, HostResult<Called>> {
        Box::pin(async move {
            let context = context(sandbox)?;
            let image = self.image(sandbox, &context, &script, fuel_left).await?;
            let script = (script, image);
            let called = self.run_script(sandbox, &context, script, payload, *fuel_left).await?;
            *fuel_left = fuel_left.saturating_sub(called.outcome.fuel_used);
            Ok(called)
        })
    }
}

fn no_slot(script: &Script, _: Saturated) -> HostError {
    failed(format!("script {}: every execution slot is taken", script.name))
}

fn event(
    context: &RunContext,
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
        "app": context.app,
        "id": id.as_str(),
        "attempt": 1,
        "depth": context.depth + 1,
        "created_at": now_us.div_euclid(1000),
        "script": { "name": script.name, "caller": context.script, "payload": payload },
    });
    Ok(event.to_string())
}

#[derive(Default)]
struct CalledImages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    images: HashMap<(ScriptId, i64), Image>,
    bytes: usize,
}

impl CalledImages {
    /// Returns the image of a version that was called before.
    fn find(&self, script_id: &ScriptId, version: i64) -> Option<Image> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.images.get(&(script_id.clone(), version)).cloned()
    }

    /// Keeps an image, if it fits.
    fn keep(&self, script_id: ScriptId, version: i64, image: Image) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.bytes + image.size_bytes();
        if bytes <= BYTES_MAX && kept.images.insert((script_id, version), image).is_none() {
            kept.bytes = bytes;
        }
    }
}
