//! Generates random programs, and runs them in native Rhai.
//!
//! The guest runs bytecode. For every program its result must equal that of Rhai's tree walker.
//! This package generates typed random programs from seeds, and has the reference that the guest is
//! compared with.
//!
//! ```text
//! program     a program, its functions and the variables in scope
//! statement   statements
//! expression  expressions of a wanted type
//! collection  arrays and callbacks
//! kind        the types
//! reference   native Rhai
//! ```

mod collection;
mod expression;
mod kind;
mod program;
mod random;
mod reference;
mod statement;

pub use reference::{Answer, CALL_DEPTH_MAX, reference};

/// Returns the source of the program with this seed, which is the same on every machine.
#[must_use]
pub fn program(seed: u64) -> String {
    program::Generator::new(seed).program()
}
