//! Compiles and runs a script.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use picloud_shared::codec;
use picloud_shared::execution::{
    Answer, AnswerKind, CompileError, CompileReply, Compiled, Position, RunError, RunErrorKind,
    RunReply, RunRequest,
};
use picloud_shared::limit::LimitExceeded;
use rhai::grain::{Compiler, SharedProgram, Vm};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};
#[cfg(target_arch = "wasm32")]
use rhai::{Module, Shared};

use crate::engine::ENGINE;
use crate::fields::MissingFields;
use crate::host::ReachedLimit;
use crate::place::position;
use crate::{api, request, response};

thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
}

/// A compiled script: its bytecode and the positions of its instructions.
struct Script {
    program: SharedProgram,
    missing_fields: MissingFields,
    /// Wrappers through which natives such as `map` call the script's functions. `None` if the
    /// script has no functions.
    #[cfg(target_arch = "wasm32")]
    library: Option<Shared<Module>>,
}

/// Compiles `source` and stores the result for [`run`].
///
/// # Errors
/// [`CompileError`] with the position if the source is not valid Rhai or not UTF-8.
pub fn compile(source: &[u8]) -> CompileReply {
    let source = std::str::from_utf8(source).map_err(|error| CompileError {
        message: format!("the source is not UTF-8 after byte {}", error.valid_up_to()),
        position: Position::NONE,
    })?;
    ENGINE.with_borrow(|engine| {
        let Some(engine) = engine else {
            return Err(CompileError {
                message: "the interpreter was not initialised".to_owned(),
                position: Position::NONE,
            });
        };
        let tree = engine.compile(source).map_err(|error| CompileError {
            message: error.err_type().to_string(),
            position: position(error.position()),
        })?;
        SCRIPT.set(Some(Script::new(engine, &tree)));
        Ok(Compiled { instruction_ptr: instruction_ptr() })
    })
}

/// Runs the compiled script on an encoded [`RunRequest`].
///
/// # Errors
/// [`RunError`] with the position if the script threw or reached a limit.
pub fn run(request: &[u8]) -> RunReply {
    let request: RunRequest =
        codec::decode(request).map_err(|error| internal(&error.to_string()))?;
    let call_depth_max = request.call_depth_max;
    let kind = request.answer;
    let mut scope = Scope::new();
    scope.push_constant(
        "ctx",
        request::context(request).map_err(|error| failed(error, call_depth_max))?,
    );
    SCRIPT.with_borrow(|script| {
        ENGINE.with_borrow_mut(|engine| {
            let (Some(engine), Some(script)) = (engine, script) else {
                return Err(internal("no script was compiled"));
            };
            engine.set_max_call_levels(call_depth_max as usize);
            let value = script.run(engine, scope);
            value.and_then(|value| answer(kind, value)).map_err(|error| {
                let mut error = failed(error, call_depth_max);
                // The interpreter does not know the position of every error.
                if error.position == Position::NONE {
                    error.position = script.place(instruction());
                }
                if error.kind == RunErrorKind::Script
                    && let Some(said) = script.missing_fields.at(error.position)
                {
                    said.clone_into(&mut error.message);
                }
                error
            })
        })
    })
}

/// Returns the position of the instruction at `address`, or of the last one before it that has a
/// position.
pub fn place(address: u32) -> Position {
    SCRIPT.with_borrow(|script| match script {
        Some(script) => script.place(address),
        None => Position::NONE,
    })
}

/// Returns the address of the current instruction.
#[cfg(target_arch = "wasm32")]
fn instruction() -> u32 {
    Vm::instruction().load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(target_arch = "wasm32")]
fn instruction_ptr() -> u32 {
    std::ptr::from_ref(Vm::instruction()).addr() as u32
}

/// Outside of wasm Rhai is the published crate, without our edits.
#[cfg(not(target_arch = "wasm32"))]
fn instruction() -> u32 {
    u32::MAX
}

#[cfg(not(target_arch = "wasm32"))]
fn instruction_ptr() -> u32 {
    0
}

impl Script {
    fn new(_engine: &Engine, tree: &AST) -> Self {
        let program = Compiler::new().compile(tree).into_shared();
        Self {
            #[cfg(target_arch = "wasm32")]
            library: (!program.functions().is_empty()).then(|| Vm::library(_engine, &program)),
            program,
            missing_fields: MissingFields::of(tree),
        }
    }

    /// Returns the position of the instruction at `address`, or of the last one before it in the
    /// same function that has a position.
    fn place(&self, address: u32) -> Position {
        let functions = self.program.functions();
        let starts = functions.iter().map(|function| function.chunk.entry());
        let start = starts.filter(|start| *start <= address).max().unwrap_or(0);
        let places = (start..=address).rev().map(|at| self.program.position(at as usize));
        places.map(position).find(|place| *place != Position::NONE).unwrap_or(Position::NONE)
    }

    fn run(&self, engine: &Engine, scope: Scope<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
        // Neither is freed: the instance is discarded after the run, and freeing a request piece by
        // piece takes a fifth of the time of an echo.
        let mut scope = ManuallyDrop::new(scope);
        let mut vm = ManuallyDrop::new(Vm::new(engine));
        self.eval(&mut vm, &mut scope)
    }

    #[cfg(target_arch = "wasm32")]
    fn eval(&self, vm: &mut Vm<'_>, scope: &mut Scope<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
        match &self.library {
            Some(library) => vm.eval_with_library(scope, &self.program, library),
            None => vm.eval_with_scope(scope, &self.program),
        }
    }

    /// Outside of wasm Rhai is the published crate, without our edits.
    #[cfg(not(target_arch = "wasm32"))]
    fn eval(&self, vm: &mut Vm<'_>, scope: &mut Scope<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
        vm.eval_with_callbacks(scope, &self.program)
    }
}

/// Converts the last value of a script to the requested kind of result.
///
/// # Errors
/// Fails if the value has no such form.
pub fn answer(kind: AnswerKind, value: Dynamic) -> Result<Answer, Box<EvalAltResult>> {
    Ok(match kind {
        AnswerKind::Response => Answer::Response(response::respond(value)?),
        AnswerKind::Value => Answer::Value(api::value::handed_over(value)?),
    })
}

fn internal(message: &str) -> RunError {
    RunError {
        kind: RunErrorKind::Script,
        message: message.to_owned(),
        thrown: None,
        position: Position::NONE,
    }
}

/// Converts an error to the contract's type: the message of the innermost cause, and its position
/// as a field of its own.
pub fn failed(mut error: Box<EvalAltResult>, call_depth_max: u32) -> RunError {
    // A cause in a callback's empty body has no position: its caller's is the closest known one.
    let mut place = error.position();
    while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
    | EvalAltResult::ErrorInModule(_, inner, _) = *error
    {
        error = inner;
        place = error.position().or_else(place);
    }
    let (kind, message, thrown) = match &*error {
        EvalAltResult::ErrorTerminated(token, _) => {
            match token.clone().try_cast::<ReachedLimit>() {
                Some(ReachedLimit(limit)) => limit_reached(limit),
                None => (RunErrorKind::Script, "the script was stopped".to_owned(), None),
            }
        }
        EvalAltResult::ErrorStackOverflow(_) => limit_reached(LimitExceeded {
            limit: "call_depth".to_owned(),
            used: u64::from(call_depth_max) + 1,
            allowed: u64::from(call_depth_max),
        }),
        EvalAltResult::ErrorRuntime(value, _) => {
            let structured = !value.is_string() && !value.is_unit();
            let thrown = structured.then(|| api::json::to_text(value).ok()).flatten();
            (RunErrorKind::Script, in_words(value, thrown.as_deref()), thrown)
        }
        _ => (RunErrorKind::Script, String::new(), None),
    };
    let position = position(place);
    let message = if message.is_empty() {
        error.set_position(rhai::Position::NONE);
        error.to_string()
    } else {
        message
    };
    RunError { kind, message, thrown, position }
}

fn limit_reached(limit: LimitExceeded) -> (RunErrorKind, String, Option<String>) {
    let message = limit.to_string();
    (RunErrorKind::Limit(limit), message, None)
}

/// Returns a message for a thrown value: the `message` of an object, if it has one.
fn in_words(thrown: &Dynamic, json: Option<&str>) -> String {
    if thrown.is_unit() {
        return "the script threw an empty value".to_owned();
    }
    if let Ok(map) = thrown.as_map_ref()
        && let Some(message) = map.get("message").or_else(|| map.get("error"))
    {
        return message.to_string();
    }
    match json {
        Some(json) => format!("the script threw {json}"),
        None => thrown.to_string(),
    }
}
