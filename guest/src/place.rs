//! Places in a script.

use picloud_shared::execution::Position;

/// Returns a place of the interpreter in the contract's form.
pub(crate) fn position(position: rhai::Position) -> Position {
    Position {
        line: position.line().unwrap_or(0) as u32,
        column: position.position().unwrap_or(0) as u32,
    }
}
