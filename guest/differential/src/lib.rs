//! Random programs, and what native Rhai makes of them.
//!
//! The guest runs bytecode. Its results must be those of Rhai's tree walker, for every
//! program. This package writes typed random programs, a function of a seed each, and
//! has the reference that the guest is compared with.
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

/// The source of the program with this seed: the same on every machine.
#[must_use]
pub fn program(seed: u64) -> String {
    program::Generator::new(seed).program()
}
