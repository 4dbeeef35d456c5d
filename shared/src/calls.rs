//! Everything a guest can ask of the host: one table, which is the ABI's
//! specification.
//!
//! The guest calls by type ([`Call`]), the host matches on [`Op`] exhaustively,
//! so a call that one side lacks does not compile.
//!
//! Invariant: an operation number is never reused, not even for a call that has
//! been removed.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub mod files;
pub mod guest;
pub mod http;
pub mod kv;
pub mod log;
pub mod pubsub;
pub mod queue;
pub mod random;
pub mod scripts;
pub mod secrets;
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
    /// The entry of a key, if there is one.
    KvGet = 5: kv::Get => Option<kv::Entry>;
    /// Sets a value; answers whether it was set.
    KvSet = 6: kv::Set => bool;
    /// Deletes an entry; answers whether there was one.
    KvDelete = 7: kv::Delete => bool;
    /// A part of a collection.
    KvList = 8: kv::List => kv::Listed;
    /// Adds to a number; answers the new one.
    KvIncrement = 9: kv::Increment => i64;
    /// Puts a message into a queue; answers its id.
    QueueSend = 10: queue::Send => String;
    /// Publishes a message.
    PubsubPublish = 11: pubsub::Publish => ();
    /// Runs another script now; answers its last value.
    ScriptsCall = 12: scripts::Call => crate::execution::ScriptValue;
    /// Runs another script later; answers the event's id.
    ScriptsEnqueue = 13: scripts::Enqueue => String;
    /// Sends a request to the outside.
    HttpSend = 14: http::Send => http::Answer;
    /// Writes a file.
    FilesPut = 15: files::Put => ();
    /// The content of a file, if there is one.
    FilesGet = 16: files::Get => Option<files::Content>;
    /// What is known about a file, if there is one.
    FilesStat = 17: files::Stat => Option<files::File>;
    /// Deletes a file; answers whether there was one.
    FilesDelete = 18: files::Delete => bool;
    /// A part of a bucket.
    FilesList = 19: files::List => files::Listed;
    /// The value of a secret.
    SecretsGet = 20: secrets::Get => String;
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
