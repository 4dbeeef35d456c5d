//! Native Rhai: the published crate with its tree walker.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use picloud_guest::{engine, script};
use picloud_shared::execution::AnswerKind;
use rhai::{Dynamic, Engine, EvalAltResult, Map, Scope};

/// The result of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its last value as JSON text, or the message of its error and the thrown value.
    pub result: Result<String, (String, Option<String>)>,
    /// The lines it printed.
    pub printed: Vec<String>,
}

/// The maximum depth of nested function calls, in both interpreters.
pub const CALL_DEPTH_MAX: u32 = 32;

/// The operation limit of a program. Longer ones are not compared.
const OPERATIONS_MAX: u64 = 300_000;

thread_local! {
    static PRINTED: Rc<RefCell<Vec<String>>> = Rc::default();
    static ENGINE: Engine = build();
}

/// Returns an engine with the guest's functions and settings. Sets every limit of Rhai, because the
/// defaults differ between debug and release builds.
fn build() -> Engine {
    let mut engine = engine::build();
    let printed = PRINTED.with(Rc::clone);
    engine
        .set_max_call_levels(CALL_DEPTH_MAX as usize)
        .set_max_operations(OPERATIONS_MAX)
        .set_max_modules(usize::MAX)
        .set_max_functions(usize::MAX)
        .set_max_variables(usize::MAX)
        .set_max_string_size(0)
        .set_max_array_size(0)
        .set_max_map_size(0)
        .on_print(move |text| printed.borrow_mut().push(text.to_owned()));
    engine
}

impl Answer {
    /// Removes everything that can differ:
    ///
    /// - The names of closures, which are hashes and differ between 32-bit and 64-bit machines.
    /// - Positions within the text of an error. The guest knows some that the walker does not, and
    ///   some differ in the column.
    /// - The number of the argument in a data race. The walker counts the receiver of a method if
    ///   that is a part of a variable.
    #[must_use]
    pub fn comparable(self) -> Self {
        let plain =
            |text: String| without_numbers_of_races(&without_places(&with_equal_closures(&text)));
        Self {
            result: match self.result {
                Ok(json) => Ok(plain(json)),
                Err((message, thrown)) => Err((plain(message), thrown.map(plain))),
            },
            printed: self.printed.into_iter().map(plain).collect(),
        }
    }
}

fn with_equal_closures(text: &str) -> String {
    let mut parts = text.split(CLOSURE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "anon" + part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit())
    })
}

fn without_places(text: &str) -> String {
    let mut parts = text.split(" (line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, after)| after))
}

fn without_numbers_of_races(text: &str) -> String {
    let mut parts = text.split("Data race detected on ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let what = part.trim_start_matches("argument #");
        let what = what.trim_start_matches(|digit: char| digit.is_ascii_digit());
        format!("{text}Data race detected on an argument{what}")
    })
}

/// The start of a closure's name.
const CLOSURE: &str = "anon$";

/// Runs a source in native Rhai. Returns `None` if it does not parse, takes too many operations, or
/// makes native Rhai panic.
#[must_use]
pub fn reference(source: &str) -> Option<Answer> {
    PRINTED.with(|printed| printed.borrow_mut().clear());
    let result = ENGINE.with(|engine| walk(engine, source))?;
    let result = match result.and_then(|value| script::answer(AnswerKind::Response, value)) {
        Ok(answer) => Ok(body(answer)),
        Err(error) => {
            let error = script::failed(error, CALL_DEPTH_MAX);
            Err((error.message, error.thrown))
        }
    };
    let answer = Answer { result, printed: PRINTED.with(|printed| printed.take()) };
    Some(answer.comparable())
}

fn walk(engine: &Engine, source: &str) -> Option<Result<Dynamic, Box<EvalAltResult>>> {
    let tree = engine.compile(source).ok()?;
    let mut scope = Scope::new();
    scope.push_constant("ctx", Map::new());
    let walk = || engine.eval_ast_with_scope(&mut scope, &tree);
    match catch_unwind(AssertUnwindSafe(walk)).ok()? {
        Err(error) if took_too_many_operations(&error) => None,
        result => Some(result),
    }
}

/// Whether the error, or its cause in a function called by a native, is the operation limit.
fn took_too_many_operations(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorTooManyOperations(_) => true,
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => took_too_many_operations(inner),
        _ => false,
    }
}

fn body(answer: picloud_shared::execution::Answer) -> String {
    match answer {
        picloud_shared::execution::Answer::Response(response) => {
            String::from_utf8_lossy(&response.body).into_owned()
        }
        picloud_shared::execution::Answer::Value(value) => value.json,
    }
}
