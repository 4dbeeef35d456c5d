//! The interpreter, which is built once when the module is packed.

use std::cell::RefCell;

use rhai::module_resolvers::DummyModuleResolver;
use rhai::{Engine, EvalAltResult, Position, Token};

use crate::api;

/// An arbitrary fixed seed. Function hashes must be the same in every build, because compiled
/// scripts are stored as memory pages.
const HASHING_SEED: [u64; 4] = [0x7069, 0x636c, 0x6f75, 0x6431];

/// The maximum nesting of an expression, at top level and inside functions. Deeper ones would
/// overflow the stack during parsing.
const EXPRESSION_DEPTH_MAX: (usize, usize) = (128, 64);

/// The default maximum depth of nested function calls.
const CALL_DEPTH_DEFAULT: usize = 64;

thread_local! {
    /// The engine that [`install`] built.
    pub(crate) static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Builds the engine and stores it for [`crate::script`].
pub fn install() {
    // A second call fails because the seed is already set, which is fine.
    let _ = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED));
    ENGINE.set(Some(build()));
}

/// Returns an engine with all functions that scripts can use.
///
/// Rhai's limits on the size of data stay off: with any of them on, every change of an array walks
/// the whole array. The limit on wasm memory bounds data instead.
#[must_use]
#[expect(deprecated, reason = "that is how Rhai marks what may change with its next version")]
pub fn build() -> Engine {
    let mut engine = Engine::new();
    engine
        .set_module_resolver(DummyModuleResolver::new())
        .disable_symbol("eval")
        .set_max_call_levels(CALL_DEPTH_DEFAULT)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX.0, EXPRESSION_DEPTH_MAX.1)
        // Interning is off. Past the maximum, Rhai scans all interned strings to evict some, and
        // here a lookup costs no less than a new string.
        .set_max_strings_interned(0)
        .on_parse_token(|token, _, _| unreserved(token))
        .on_print(|text| api::log::print(text, Position::NONE))
        .on_debug(|text, _, position| api::log::debug_print(text, position));
    api::register(&mut engine);
    engine.register_fn("sleep", |_: i64| no_sleep()).register_fn("sleep", |_: f64| no_sleep());
    engine
}

/// A sleeping script would hold a slot and do nothing.
fn no_sleep() -> Result<(), Box<EvalAltResult>> {
    Err("a script cannot sleep".into())
}

/// Rhai reserves `debug` and `call` for its functions of these names. As identifiers they still
/// call those functions, and `log::debug` and `scripts::call` become possible.
fn unreserved(token: Token) -> Token {
    match token {
        Token::Reserved(name) if matches!(name.as_str(), "debug" | "call") => {
            Token::Identifier(name)
        }
        other => other,
    }
}
