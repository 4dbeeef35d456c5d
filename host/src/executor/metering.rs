//! The cost of the guest's instructions in fuel.
//!
//! A guest pays at each branch for the average number of instructions up to it. It also pays one
//! unit on entering a function, and for each byte that it copies or fills. Every loop has a branch
//! and every recursion a function, so no code runs on without paying, and a run costs the same on
//! every machine. A few instructions have a price of their own, because code that uses them rarely
//! branches. [`super::charges`] has the prices of the host's work.
//!
//! Paying at every instruction would not measure time better, and makes a run half as long again:
//! fuel is stored in memory around each call, and each payment there waits for the one before.
//! `docs/decisions/0016-fuel-is-paid-at-branches.md` has the measurements.

use wasmtime::{OperatorCost, VariableOperatorCost};

/// The average number of guest instructions per branch.
const BRANCH: u8 = 8;

/// Hashes and ciphers have hundreds of instructions per branch and rotate 32-bit words all the
/// time. Other code rarely does.
const ROTATION: u8 = 3;

/// The standard library counts and copies characters in steps of 16 and 32 bytes per branch. It
/// loads them signed, to distinguish the first byte of a character, and stores them one by one.
const SIGNED_BYTE: u8 = 2;
const STORED_BYTE: u8 = 1;

macro_rules! free {
    ($(@$proposal:ident $op:ident $({ $($argument:ident: $type:ty),* })? => $visit:ident ($($arity:tt)*))*) => {
        OperatorCost { $($op: 0,)* variable: VariableOperatorCost::new() }
    };
}

/// The price of each instruction.
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

    /// Whether this is a branch that can loop and is not one of the three with a price.
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
