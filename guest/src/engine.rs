//! The interpreter, built once when the module is packed.

use std::cell::RefCell;

use rhai::module_resolvers::DummyModuleResolver;
use rhai::{Engine, EvalAltResult, Position, Token};

use crate::api;

/// Any fixed number: function hashes have to be the same in every build, because
/// compiled scripts are kept as memory pages.
const HASHING_SEED: [u64; 4] = [0x7069, 0x636c, 0x6f75, 0x6431];

/// How deep an expression may nest, at top level and inside functions: deeper
/// ones would exhaust the stack while they are parsed.
const EXPRESSION_DEPTH_MAX: (usize, usize) = (128, 64);

/// How deep functions may call each other unless the host says otherwise.
const CALL_DEPTH_DEFAULT: usize = 64;

thread_local! {
    /// The engine that [`install`] built.
    pub(crate) static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Builds the engine and keeps it for [`crate::script`].
pub fn install() {
    // A second call finds the seed set already, which is what it wanted.
    let _ = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED));
    ENGINE.set(Some(build()));
}

/// An engine with everything a script can use.
///
/// Rhai's limits on the size of data stay off: with any of them on, every change
/// of an array walks the whole array. The cap on wasm memory is the bound.
#[must_use]
#[expect(deprecated, reason = "that is how Rhai marks what may change with its next version")]
pub fn build() -> Engine {
    let mut engine = Engine::new();
    engine
        .set_module_resolver(DummyModuleResolver::new())
        .disable_symbol("eval")
        .set_max_call_levels(CALL_DEPTH_DEFAULT)
        .set_max_expr_depths(EXPRESSION_DEPTH_MAX.0, EXPRESSION_DEPTH_MAX.1)
        // What is interned beyond the maximum is thrown out by looking at all of it; and
        // a string that is made anew costs no more here than one that is looked up.
        .set_max_strings_interned(0)
        .on_parse_token(|token, _, _| unreserved(token))
        .on_print(|text| api::log::print(text, Position::NONE))
        .on_debug(|text, _, position| api::log::debug_print(text, position));
    api::register(&mut engine);
    engine.register_fn("sleep", |_: i64| no_sleep()).register_fn("sleep", |_: f64| no_sleep());
    engine
}

/// A script that waits would hold a slot and do nothing.
fn no_sleep() -> Result<(), Box<EvalAltResult>> {
    Err("a script cannot sleep".into())
}

/// Rhai reserves `debug` and `call` for the functions of these names; as identifiers
/// they are those functions still, and `log::debug` and `scripts::call` can be written.
fn unreserved(token: Token) -> Token {
    match token {
        Token::Reserved(name) if matches!(name.as_str(), "debug" | "call") => {
            Token::Identifier(name)
        }
        other => other,
    }
}
