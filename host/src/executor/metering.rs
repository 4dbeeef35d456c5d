//! What fuel is a measure of.
//!
//! A guest pays where its code branches, as much as the instructions up to there are on
//! average, one on entering a function, and for each byte that it copies or fills. Every
//! loop has a branch and every recursion a function, so nothing runs on without paying,
//! and what a run pays is the same on every machine. A few instructions pay too, because the
//! code that uses them branches seldom. What the host does is in [`super::charges`].
//!
//! To pay at every instruction says no more of the time that a run takes and makes it
//! half as long again: the fuel is in memory around each call, and each payment there
//! waits for the one before. `docs/decisions/0016-fuel-is-paid-at-branches.md` has the
//! measurements.

use wasmtime::{OperatorCost, VariableOperatorCost};

/// How many instructions of the guest there are to a branch.
const BRANCH: u8 = 8;

/// Hashes and ciphers have hundreds of instructions to a branch, and rotate 32-bit words all the
/// time; little else does.
const ROTATION: u8 = 3;

/// The standard library counts and copies characters 16 and 32 bytes to a branch. It loads them
/// with a sign, to tell the first byte of a character from the others, and stores them one by
/// one.
const SIGNED_BYTE: u8 = 2;
const STORED_BYTE: u8 = 1;

macro_rules! free {
    ($(@$proposal:ident $op:ident $({ $($argument:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => {
        OperatorCost { $($op: 0,)* variable: VariableOperatorCost::new() }
    };
}

/// What each instruction costs.
pub(super) const COST: OperatorCost = {
    let free: OperatorCost = wasmparser::for_each_operator!(free);
    OperatorCost {
        Br: BRANCH,
        BrIf: BRANCH,
        BrTable: BRANCH,
        I32Rotl: ROTATION,
        I32Rotr: ROTATION,
        I32Load8S: SIGNED_BYTE,
        I32Store8: STORED_BYTE,
        ..free
    }
};

#[cfg(test)]
mod tests {
    use wasmparser::{Operator, Parser, Payload};

    use crate::executor::module::GuestModule;

    /// What goes back to a loop without being one of the three that pay.
    fn is_free_branch(operator: &Operator<'_>) -> bool {
        matches!(
            operator,
            Operator::BrOnNull { .. }
                | Operator::BrOnNonNull { .. }
                | Operator::BrOnCast { .. }
                | Operator::BrOnCastFail { .. }
                | Operator::TryTable { .. }
                | Operator::Try { .. }
        )
    }

    #[test]
    fn the_guest_has_no_branch_that_is_free() {
        let mut operators = 0;
        for payload in Parser::new(0).parse_all(GuestModule::embedded().wasm) {
            let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
            for operator in body.get_operators_reader().unwrap() {
                let operator = operator.unwrap();
                assert!(!is_free_branch(&operator), "{operator:?}");
                operators += 1;
            }
        }
        assert!(operators > 1_000_000, "{operators} are not the interpreter");
    }
}
