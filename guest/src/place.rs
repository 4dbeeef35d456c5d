//! Positions in a script.

use picloud_shared::execution::Position;

/// Converts a position of the interpreter to the contract's type.
pub(crate) fn position(position: rhai::Position) -> Position {
    Position {
        line: position.line().unwrap_or(0) as u32,
        column: position.position().unwrap_or(0) as u32,
    }
}
