//! One execution: fresh instance, image, request, run, outcome.
//!
//! ```text
//! instance ─► restore image ─► write request ─► run ─► reply ─► Success, Error
//!                                               │                LimitExceeded
//!                                               └─► trap ─► BudgetExceeded …
//!                                                     │
//!                                                     └─► the same run as a walk,
//!                                                         and a walk up to where
//!                                                         that ended: its place
//! ```
//!
//! A trap leaves no interpreter to ask where it was, and bytecode does not know the
//! place of every error. But a run is a function of its request and the host's answers,
//! so it is repeated with the recorded answers by walking the script's tree, whose
//! operations have places; when the walk traps too, it is walked once more and stopped
//! by the interpreter itself where the first walk ended.

use std::time::Duration;

use picloud_shared::calls::LimitExceeded;
use picloud_shared::execution::{
    Answer, LAST, Position, RunErrorKind, RunReply, RunRequest, ScriptValue,
};
use picloud_shared::{Slice, codec};
use wasmtime::{Result, Store, Trap};

use super::effects::Effects;
use super::engine::{GuestEngine, WASM_STACK_BYTES_MAX};
use super::hostcalls::bytes_of;
use super::image::Image;
use super::outcome::{Failure, Outcome, Response, Status};
use super::response;
use super::sandbox::{Sandbox, Scope, Trace};
use crate::clock::Clock;
use crate::limits::Limits;
use crate::secrets::Masker;

/// Walking takes more fuel than bytecode.
const WALK_FUEL_FACTOR: u64 = 4;

/// A stopped walk also has to give back what the script had made, which takes fuel
/// that the first one never spent.
const LOCATE_EXTRA_FUEL: u64 = 500_000_000;

/// Room for what surrounds a response in its encoding.
const REPLY_OVERHEAD_BYTES: u64 = 64 << 10;

/// How often a run is repeated at most to find a place.
const LOCATE_RUNS_MAX: u64 = 3;

const NOWHERE: Position = Position { line: 0, column: 0 };

/// Runs a script once; within a scope, with the effects that its callers have had so
/// far.
pub(super) async fn execute(
    engine: &GuestEngine,
    clock: &Clock,
    image: &Image,
    request: RunRequest,
    limits: Limits,
    scope: Option<(Scope, Effects)>,
) -> Outcome {
    let started_at = clock.now_us();
    let started = tokio::time::Instant::now();
    let mut sandbox = Sandbox::new(limits, clock.clone(), Trace::new());
    if let Some((scope, effects)) = scope {
        (sandbox.scope, sandbox.effects) = (Some(scope), effects);
    }
    let mut run =
        match attempt(engine, image, &request, sandbox, Duration::from_millis(limits.wall_ms_max))
            .await
        {
            Ok(run) => run,
            Err(error) => return no_instance(&error, started_at),
        };
    let fuel_left = run.store.get_fuel().unwrap_or(0);
    let memory_peak_bytes = run.store.data().memory_peak_bytes;
    let value = called_value(&run.end);
    let (status, response, mut failure) = judge(&mut run);
    let unanswered = run.operations.is_some();
    let mut sandbox = run.store.into_data();
    let log = std::mem::take(&mut sandbox.log);
    let (effects, called) =
        (std::mem::take(&mut sandbox.effects), std::mem::take(&mut sandbox.called));
    if let Some(failure) = &mut failure
        && unanswered
        && failure.line.is_none()
    {
        let trace = std::mem::replace(&mut sandbox.trace, Trace::Overflown);
        let again = Again { engine, clock, image, limits, trace };
        let place = again.locate(request, status).await;
        failure.line = (place.line > 0).then_some(place.line);
        failure.column = (place.column > 0).then_some(place.column);
    }
    Outcome {
        status,
        value: value.filter(|_| response.is_some()),
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
    }
}

/// A run that has ended one way or another.
struct Ended {
    store: Store<Sandbox>,
    end: End,
    /// How far a walk had come when it failed; `None` when the script answered.
    operations: Option<u64>,
}

enum End {
    Reply(RunReply),
    Timeout,
    Trap(wasmtime::Error),
}

/// # Errors
/// When there is no instance or the image does not fit: the host's fault.
async fn attempt(
    engine: &GuestEngine,
    image: &Image,
    request: &RunRequest,
    sandbox: Sandbox,
    wall: Duration,
) -> Result<Ended> {
    let (mut store, instance) = engine.instantiate(sandbox).await?;
    image.restore(instance.memory, &mut store)?;
    let request = codec::encode(request);
    let ran = tokio::time::timeout(wall, async {
        let ptr = match image.request_buffer(request.len()) {
            Some(ptr) => ptr,
            None => instance.alloc(&mut store, request.len()).await?,
        };
        instance.memory.write(&mut store, ptr as usize, &request)?;
        let len = u32::try_from(request.len())?;
        engine.run(&mut store, &instance, Slice { ptr, len }).await
    })
    .await;
    let memory = instance.memory.data(&store);
    let operations = image.operations(memory);
    let (end, operations) = match ran {
        Err(_) => (End::Timeout, operations),
        Ok(Err(trap)) => (End::Trap(trap), operations),
        Ok(Ok(reply)) => match read_reply(&mut store, &instance, reply) {
            answer @ End::Reply(Ok(_)) => (answer, None),
            // Rhai does not know the place of every error.
            failed => (failed, operations),
        },
    };
    Ok(Ended { store, end, operations })
}

fn read_reply(
    store: &mut Store<Sandbox>,
    instance: &super::engine::GuestInstance,
    reply: Slice,
) -> End {
    let (memory, sandbox) = instance.memory.data_and_store_mut(store);
    let Some(bytes) = bytes_of(memory, reply) else {
        return End::Trap(wasmtime::format_err!("the guest's answer lies outside of its memory"));
    };
    let allowed = sandbox.limits.response_bytes_max;
    if bytes.len() as u64 > allowed + REPLY_OVERHEAD_BYTES {
        let limit =
            LimitExceeded { limit: "response_bytes".to_owned(), used: bytes.len() as u64, allowed };
        sandbox.reached.get_or_insert(limit);
        return End::Reply(Ok(Answer::Response(Default::default())));
    }
    match codec::decode(bytes) {
        Ok(reply) => End::Reply(reply),
        Err(error) => End::Trap(wasmtime::format_err!("the guest's answer is malformed: {error}")),
    }
}

/// What a called script answered, for its caller.
fn called_value(end: &End) -> Option<ScriptValue> {
    match end {
        End::Reply(Ok(Answer::Value(value))) => Some(value.clone()),
        _ => None,
    }
}

/// What the end of a run means. The host's own record comes before the guest's
/// words.
fn judge(run: &mut Ended) -> (Status, Option<Response>, Option<Failure>) {
    let end = std::mem::replace(&mut run.end, End::Timeout);
    let sandbox = run.store.data();
    let limits = &sandbox.limits;
    let failed = |status, failure| (status, None, Some(failure));
    if let Some(limit) = sandbox.reached.clone() {
        let at = match &end {
            End::Reply(Err(error)) => error.position,
            End::Reply(Ok(_)) | End::Timeout | End::Trap(_) => NOWHERE,
        };
        return failed(Status::LimitExceeded, Failure::limit(limit, at));
    }
    let over =
        |limit: &str, used, allowed| LimitExceeded { limit: limit.to_owned(), used, allowed };
    match end {
        End::Reply(Ok(Answer::Value(value))) => match value_over(&value, limits) {
            Some(limit) => failed(Status::LimitExceeded, Failure::limit(limit, NOWHERE)),
            None => (Status::Success, Some(Response::of_value(value.json)), None),
        },
        End::Reply(Ok(Answer::Response(answer))) => match response::check(answer) {
            Ok(response) => match response_over(&response, limits) {
                Some(limit) => failed(Status::LimitExceeded, Failure::limit(limit, NOWHERE)),
                None => (Status::Success, Some(response), None),
            },
            Err(message) => failed(Status::Error, Failure::new(message, NOWHERE)),
        },
        End::Reply(Err(error)) => match error.kind {
            RunErrorKind::Limit(limit) => {
                failed(Status::LimitExceeded, Failure::limit(limit, error.position))
            }
            RunErrorKind::Script | RunErrorKind::Stopped => {
                let thrown = error.thrown;
                let failure = Failure::new(error.message, error.position);
                failed(Status::Error, Failure { thrown, ..failure })
            }
        },
        End::Timeout => {
            let allowed = limits.wall_ms_max;
            failed(Status::Timeout, Failure::limit(over("wall_ms", allowed, allowed), NOWHERE))
        }
        End::Trap(trap) => match trap.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => {
                let allowed = limits.fuel_max;
                failed(
                    Status::BudgetExceeded,
                    Failure::limit(over("fuel", allowed, allowed), NOWHERE),
                )
            }
            // Below the guest's own stack lies nothing, so running over its end is
            // the one way in which safe code leaves its memory.
            Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => {
                let allowed = WASM_STACK_BYTES_MAX as u64;
                failed(
                    Status::LimitExceeded,
                    Failure::limit(over("stack_bytes", allowed, allowed), NOWHERE),
                )
            }
            _ => match memory_wanted(sandbox) {
                Some(used) => {
                    let limit = over("memory_bytes", used, limits.memory_bytes_max);
                    failed(Status::MemoryExceeded, Failure::limit(limit, NOWHERE))
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

/// What a guest that trapped for want of memory asked for. A size that no memory
/// of 32 bits could hold never reaches the host: the guest panics over it.
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
    Failure::new(format!("the sandbox crashed: {reason}"), NOWHERE)
}

/// What a run is repeated with, to find the place where it failed.
struct Again<'a> {
    engine: &'a GuestEngine,
    clock: &'a Clock,
    image: &'a Image,
    limits: Limits,
    trace: Trace,
}

impl Again<'_> {
    /// Walks the run to its end, and once more up to the operation that had begun
    /// there, or, where the interpreter knows no place for that one, the one before.
    async fn locate(self, mut request: RunRequest, status: Status) -> Position {
        let walk_fuel = match status {
            // A walk burns its fuel in the same places, if not at the same turn.
            Status::BudgetExceeded => self.limits.fuel_max,
            _ => self.limits.fuel_max.saturating_mul(WALK_FUEL_FACTOR),
        };
        request.stop_at_operation = LAST;
        let operations = match self.walk(&request, walk_fuel).await {
            Some(Ended { end: End::Reply(Err(error)), .. }) if error.position.line > 0 => {
                return error.position;
            }
            Some(Ended { operations: Some(operations), .. }) => operations,
            _ => return NOWHERE,
        };
        for back in 0..LOCATE_RUNS_MAX.min(operations) {
            request.stop_at_operation = operations - back;
            match self.walk(&request, walk_fuel.saturating_add(LOCATE_EXTRA_FUEL)).await {
                Some(Ended { end: End::Reply(Err(error)), .. })
                    if error.kind == RunErrorKind::Stopped =>
                {
                    if error.position.line > 0 {
                        return error.position;
                    }
                }
                _ => return NOWHERE,
            }
        }
        NOWHERE
    }

    async fn walk(&self, request: &RunRequest, fuel_max: u64) -> Option<Ended> {
        let limits = Limits { fuel_max, ..self.limits };
        let sandbox = Sandbox::new(limits, self.clock.clone(), self.trace.replay()?);
        let wall = Duration::from_millis(limits.wall_ms_max);
        attempt(self.engine, self.image, request, sandbox, wall).await.ok()
    }
}

/// The pool has an instance for every slot and the image was made by this engine,
/// so this is the host's fault.
fn no_instance(error: &wasmtime::Error, started_at: i64) -> Outcome {
    tracing::error!(%error, "no sandbox could be made");
    Outcome {
        status: Status::Crashed,
        response: None,
        value: None,
        failure: Some(Failure::new("no sandbox could be made", NOWHERE)),
        log: Vec::new(),
        fuel_used: 0,
        memory_peak_bytes: 0,
        duration_us: 0,
        started_at,
        effects: Effects::default(),
        called: Vec::new(),
        masker: Masker::default(),
    }
}
