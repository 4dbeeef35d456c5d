//! Everything a guest can ask of the host: one table, which is the ABI's
//! specification.
//!
//! The guest calls by type ([`Call`]), the host matches on [`Op`] exhaustively,
//! so a call that one side lacks does not compile.
//!
//! Invariant: an operation number is never reused, not even for a call that has
//! been removed.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub mod guest;
pub mod log;
pub mod random;
pub mod time;

/// One host call: a request type that names its number and its reply.
pub trait Call: Serialize + DeserializeOwned {
    /// The operation number.
    const OP: Op;
    /// What the host answers.
    type Reply: Serialize + DeserializeOwned;
}

/// What a host call answers: the reply, or why there is none.
pub type HostResult<T> = Result<T, HostError>;

/// Why the host did not serve a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostError {
    /// A named limit was reached. The execution ends; a script cannot catch it.
    Limit(LimitExceeded),
    /// The call failed. A script can catch it.
    Failed {
        /// What went wrong, for the author of the script.
        message: String,
    },
}

/// Which limit was reached, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitExceeded {
    /// The limit's name, such as `log_bytes`.
    pub limit: String,
    /// What the execution would have used.
    pub used: u64,
    /// What it was allowed.
    pub allowed: u64,
}

impl std::fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, used, allowed } = self;
        write!(f, "limit {limit} exceeded: {used} used, {allowed} allowed")
    }
}

macro_rules! calls {
    ($($(#[doc = $doc:literal])+ $op:ident = $number:literal: $request:ty => $reply:ty;)+) => {
        /// The operation numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Op {
            $($(#[doc = $doc])+ $op = $number,)+
        }

        impl Op {
            /// Every operation, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$op),+];

            /// The operation with this number, if there is one.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$op),)+
                    _ => None,
                }
            }
        }

        $(impl Call for $request {
            const OP: Op = Op::$op;
            type Reply = $reply;
        })+
    };
}

calls! {
    /// Appends a line to the execution's log.
    LogWrite = 1: log::Write => ();
    /// The wall clock, in microseconds since the Unix epoch.
    TimeNow = 2: time::Now => time::Instant;
    /// The seed of this execution's random numbers.
    RandomSeed = 3: random::Seed => random::SeedBytes;
    /// Tells why the guest is about to trap.
    GuestPanicked = 4: guest::Panicked => ();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_found_again() {
        let mut numbers: Vec<u32> = Op::ALL.iter().map(|op| *op as u32).collect();
        for (number, op) in numbers.iter().zip(Op::ALL) {
            assert_eq!(Op::from_number(*number), Some(*op));
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Op::ALL.len());
        assert_eq!(Op::from_number(0), None);
        assert_eq!(Op::from_number(u32::MAX), None);
    }
}
