//! One execution: fresh instance, image, request, run, outcome.
//!
//! ```text
//! instance ─► restore image ─► write request ─► run ─► reply ─► Success, Error
//!                                               │                LimitExceeded
//!                                               └─► trap ─► BudgetExceeded …
//!                                                     │
//!                                                     └─► address of the instruction
//!                                                         ─► fresh instance: its position
//! ```
//!
//! After a trap the interpreter cannot report its position. But it stores the address of the
//! current instruction in memory, where the host reads it. A fresh instance of the same image then
//! returns the position in the script. Nothing of the run is repeated.

use std::sync::Arc;
use std::time::Duration;

use picloud_shared::execution::{
    Answer, Input, Position, RunError, RunErrorKind, RunReply, RunRequest, ScriptValue,
};
use picloud_shared::limit::LimitExceeded;
use picloud_shared::{Slice, codec};
use wasmtime::{Result, Store, Trap};

use super::engine::{GuestEngine, GuestInstance, WASM_STACK_BYTES_MAX};
use super::image::Image;
use super::memory::{bytes_of, bytes_of_mut};
use super::outcome::{Failure, Outcome, Response, Status};
use super::response;
use super::sandbox::{RunContext, Sandbox};
use super::spent::Spent;
use super::threads::{SHORT_BYTES_MAX, end_slice};
use crate::clock::Clock;
use crate::events::effects::Effects;
use crate::limits::Limits;
use crate::secrets::Masker;

/// The maximum overhead of a response's encoding.
const REPLY_OVERHEAD_BYTES: u64 = 64 << 10;

/// Runs a script once. Within a context, it starts with its callers' effects and used limits.
pub(super) async fn execute(
    engine: &GuestEngine,
    clock: &Clock,
    image: &Image,
    request: RunRequest<Arc<Input>>,
    limits: Limits,
    context: Option<(RunContext, Effects, Spent)>,
) -> Outcome {
    let started_at = clock.now_us();
    let started = tokio::time::Instant::now();
    let mut sandbox = Sandbox::new(limits, clock.clone());
    if let Some((context, effects, spent)) = context {
        (sandbox.context, sandbox.effects, sandbox.spent) =
            (Some(Arc::new(context)), effects, spent);
    }
    let wall = Duration::from_millis(limits.wall_ms_max);
    let mut run = match attempt(engine, image, request, sandbox, wall).await {
        Ok(run) => run,
        Err(error) => return no_instance(&error, started_at),
    };
    let fuel_left = run.store.get_fuel().unwrap_or(0);
    let memory_peak_bytes = run.store.data().memory_peak_bytes;
    let (status, response, mut failure) = judge(&mut run);
    let value = run.value.take();
    let instruction = run.unplaced;
    let mut sandbox = run.store.into_data();
    // The script is not too slow: the service that it waits for does not respond.
    sandbox.effects.was_cut_off |= status == Status::Timeout && sandbox.waits_for_store;
    let log = std::mem::take(&mut sandbox.log);
    let (effects, called) =
        (std::mem::take(&mut sandbox.effects), std::mem::take(&mut sandbox.called));
    if let Some(failure) = &mut failure
        && failure.line.is_none()
        && let Some(instruction) = instruction
        && let Ok(place) = place(engine, clock, image, instruction).await
    {
        failure.line = (place.line > 0).then_some(place.line);
        failure.column = (place.column > 0).then_some(place.column);
    }
    Outcome {
        status,
        value_bytes: value.as_ref().map(ScriptValue::size_bytes),
        value,
        response,
        failure,
        log,
        fuel_used: limits.fuel_max - fuel_left.min(limits.fuel_max),
        memory_peak_bytes,
        duration_us: i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX),
        started_at,
        effects,
        called,
        masker: Masker::default(),
        spent: sandbox.spent,
    }
}

/// A run that has ended.
struct Exited {
    store: Store<Sandbox>,
    end: Exit,
    /// The value that a called script returned.
    value: Option<ScriptValue>,
    /// The address of the last instruction, if the guest does not report its position.
    unplaced: Option<u32>,
}

enum Exit {
    Reply(RunReply),
    Timeout,
    Trap(wasmtime::Error),
}

/// # Errors
/// Fails if there is no instance or the image does not fit, which are errors of the host.
async fn attempt(
    engine: &GuestEngine,
    image: &Image,
    request: RunRequest<Arc<Input>>,
    sandbox: Sandbox,
    wall: Duration,
) -> Result<Exited> {
    let (mut store, instance) = engine.instantiate(sandbox).await?;
    image.restore(instance.memory, &mut store)?;
    store.data_mut().instruction_ptr = Some(image.instruction_ptr());
    let ran = tokio::time::timeout(wall, async {
        let request = hand_over(image, request, &mut store, &instance).await?;
        engine.run(&mut store, &instance, request).await
    })
    .await;
    let unplaced = store.data().instruction(instance.memory.data(&store));
    let reached_at = store.data().reached_at;
    let (end, unplaced) = match ran {
        Err(_) => (Exit::Timeout, unplaced),
        Ok(Err(trap)) => (Exit::Trap(trap), reached_at.or(unplaced)),
        Ok(Ok(reply)) => (read_reply(&mut store, &instance, reply), reached_at),
    };
    Ok(Exited { store, end, value: None, unplaced })
}

/// Encodes a request into guest memory: into the image's buffer if it fits there.
async fn hand_over(
    image: &Image,
    request: RunRequest<Arc<Input>>,
    store: &mut Store<Sandbox>,
    instance: &GuestInstance,
) -> Result<Slice> {
    if bytes_about(&request.input) > SHORT_BYTES_MAX {
        end_slice().await;
    }
    let RunRequest { execution, input, answer, call_depth_max } = request;
    let request = RunRequest { execution, input: &*input, answer, call_depth_max };
    let buffer = image.request_buffer();
    if let Some(memory) = bytes_of_mut(instance.memory.data_mut(&mut *store), buffer)
        && let Some(len) = codec::encode_into(&request, memory)
    {
        return Ok(Slice { ptr: buffer.ptr, len: u32::try_from(len)? });
    }
    let encoded = codec::encode(&request);
    let ptr = instance.alloc(&mut *store, encoded.len()).await?;
    instance.memory.write(&mut *store, ptr as usize, &encoded)?;
    Ok(Slice { ptr, len: u32::try_from(encoded.len())? })
}

/// Returns the size of the part of an input that can be large.
fn bytes_about(input: &Input) -> usize {
    match input {
        Input::Http(request) => request.raw.len(),
        Input::Event(event) => event.len(),
    }
}

/// Returns the position of an instruction in the script of `image`.
///
/// # Errors
/// Fails if there is no instance or it does not reply.
async fn place(
    engine: &GuestEngine,
    clock: &Clock,
    image: &Image,
    instruction: u32,
) -> Result<Position> {
    let (mut store, instance) =
        engine.instantiate(Sandbox::new(Limits::DEFAULT, clock.clone())).await?;
    image.restore(instance.memory, &mut store)?;
    engine.place(&mut store, &instance, instruction).await
}

fn read_reply(store: &mut Store<Sandbox>, instance: &GuestInstance, reply: Slice) -> Exit {
    let (memory, sandbox) = instance.memory.data_and_store_mut(store);
    let Some(bytes) = bytes_of(memory, reply) else {
        return Exit::Trap(wasmtime::format_err!("the guest's reply is outside its memory"));
    };
    let allowed = sandbox.limits.response_bytes_max;
    if bytes.len() as u64 > allowed + REPLY_OVERHEAD_BYTES {
        let limit =
            LimitExceeded { limit: "response_bytes".to_owned(), used: bytes.len() as u64, allowed };
        sandbox.reached.get_or_insert(limit);
        return Exit::Reply(Ok(Answer::Response(Default::default())));
    }
    match codec::decode(bytes) {
        Ok(reply) => Exit::Reply(reply),
        Err(error) => Exit::Trap(wasmtime::format_err!("the guest's reply is malformed: {error}")),
    }
}

/// Determines the result from the end of a run. The host's own record takes precedence over the
/// guest's message.
fn judge(run: &mut Exited) -> (Status, Option<Response>, Option<Failure>) {
    let end = std::mem::replace(&mut run.end, Exit::Timeout);
    let sandbox = run.store.data();
    let limits = &sandbox.limits;
    let failed = |status, failure| (status, None, Some(failure));
    if let Some(limit) = sandbox.reached.clone() {
        let at = match &end {
            // Any other error came after the script had continued, so its position would be wrong.
            Exit::Reply(Err(RunError { kind: RunErrorKind::Limit(it), position, .. }))
                if *it == limit =>
            {
                *position
            }
            Exit::Reply(_) | Exit::Timeout | Exit::Trap(_) => Position::NONE,
        };
        return failed(Status::LimitExceeded, Failure::limit(limit, at));
    }
    let over =
        |limit: &str, used, allowed| LimitExceeded { limit: limit.to_owned(), used, allowed };
    match end {
        Exit::Reply(Ok(Answer::Value(value))) => match value_over(&value, limits) {
            Some(limit) => failed(Status::LimitExceeded, Failure::limit(limit, Position::NONE)),
            None => {
                let response = Response::of_value(&value.json);
                run.value = Some(value);
                (Status::Success, Some(response), None)
            }
        },
        Exit::Reply(Ok(Answer::Response(answer))) => match response::check(answer) {
            Ok(response) => match response_over(&response, limits) {
                Some(limit) => failed(Status::LimitExceeded, Failure::limit(limit, Position::NONE)),
                None => (Status::Success, Some(response), None),
            },
            Err(message) => failed(Status::Error, Failure::new(message, Position::NONE)),
        },
        Exit::Reply(Err(error)) => match error.kind {
            RunErrorKind::Limit(limit) => {
                failed(Status::LimitExceeded, Failure::limit(limit, error.position))
            }
            RunErrorKind::Script => {
                let thrown = error.thrown;
                let is_final = sandbox.was_refused_with(&error.message);
                let failure = Failure::new(error.message, error.position);
                failed(Status::Error, Failure { thrown, is_final, ..failure })
            }
        },
        Exit::Timeout => {
            let allowed = limits.wall_ms_max;
            failed(
                Status::Timeout,
                Failure::limit(over("wall_ms", allowed, allowed), Position::NONE),
            )
        }
        Exit::Trap(trap) => match trap.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => {
                let allowed = limits.fuel_max;
                failed(
                    Status::BudgetExceeded,
                    Failure::limit(over("fuel", allowed, allowed), Position::NONE),
                )
            }
            // There is no memory below the guest's own stack, so a stack overflow is the only way
            // in which safe code leaves its memory.
            Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => {
                let allowed = WASM_STACK_BYTES_MAX as u64;
                failed(
                    Status::LimitExceeded,
                    Failure::limit(over("stack_bytes", allowed, allowed), Position::NONE),
                )
            }
            _ => match memory_wanted(sandbox) {
                Some(used) => {
                    let limit = over("memory_bytes", used, limits.memory_bytes_max);
                    failed(Status::MemoryExceeded, Failure::limit(limit, Position::NONE))
                }
                None => failed(Status::Crashed, crash(sandbox, &trap)),
            },
        },
    }
}

fn response_over(response: &Response, limits: &Limits) -> Option<LimitExceeded> {
    let headers: usize =
        response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let used = (response.body.len() + headers) as u64;
    let allowed = limits.response_bytes_max;
    (used > allowed).then(|| LimitExceeded { limit: "response_bytes".to_owned(), used, allowed })
}

fn value_over(value: &ScriptValue, limits: &Limits) -> Option<LimitExceeded> {
    let (used, allowed) = (value.size_bytes() as u64, limits.response_bytes_max);
    (used > allowed).then(|| LimitExceeded { limit: "response_bytes".to_owned(), used, allowed })
}

/// Returns the memory that a trapped guest asked for and did not get. The host never sees a size
/// above 32 bits, because the guest panics.
fn memory_wanted(sandbox: &Sandbox) -> Option<u64> {
    let absurd = || {
        let panic = sandbox.panic.as_ref()?;
        panic.contains("capacity overflow").then_some(u64::from(u32::MAX))
    };
    sandbox.memory_refused_bytes.or_else(absurd)
}

fn crash(sandbox: &Sandbox, trap: &wasmtime::Error) -> Failure {
    let reason = match &sandbox.panic {
        Some(panic) => panic.clone(),
        None => trap.root_cause().to_string(),
    };
    let reason = sandbox.masker().text(&reason).into_owned();
    tracing::error!(%reason, "a sandbox crashed");
    Failure::new(format!("the sandbox crashed: {reason}"), Position::NONE)
}

/// Returns the outcome of a run without an instance. This is an error of the host: the pool has an
/// instance for every slot, and this engine created the image.
fn no_instance(error: &wasmtime::Error, started_at: i64) -> Outcome {
    tracing::error!(%error, "no sandbox could be created");
    Outcome {
        status: Status::Crashed,
        response: None,
        value: None,
        value_bytes: None,
        failure: Some(Failure::new("no sandbox could be created", Position::NONE)),
        log: Vec::new(),
        fuel_used: 0,
        memory_peak_bytes: 0,
        duration_us: 0,
        started_at,
        effects: Effects::default(),
        called: Vec::new(),
        masker: Masker::default(),
        spent: Spent::default(),
    }
}
