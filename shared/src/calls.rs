//! All host calls of a guest in one table, which is the specification of the ABI.
//!
//! The guest calls by type ([`Call`]), and the host matches on [`Op`] exhaustively. A call that one
//! side lacks does not compile.
//!
//! Invariant: an operation number is never reused, not even that of a removed call.

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

use crate::limit::LimitExceeded;

/// One host call: a request type with its number and its reply type.
pub trait Call: Serialize + DeserializeOwned {
    /// The operation number.
    const OP: Op;
    /// The type of the host's reply.
    type Reply: Serialize + DeserializeOwned;
}

/// The result of a host call: the reply, or an error.
pub type HostResult<T> = Result<T, HostError>;

/// The reason why the host did not serve a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostError {
    /// A named limit was reached. The execution ends, and the script cannot catch this.
    Limit(LimitExceeded),
    /// The call failed. A script can catch it.
    Failed {
        /// The error message, for the author of the script.
        message: String,
    },
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

            /// Returns the operation with this number, if it exists.
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
    /// Returns the current time, in microseconds since the Unix epoch.
    TimeNow = 2: time::Now => time::Instant;
    /// Returns the seed of this execution's random numbers.
    RandomSeed = 3: random::Seed => random::SeedBytes;
    /// Reports the panic because of which the guest is about to trap.
    GuestPanicked = 4: guest::Panicked => ();
    /// Returns the entry of a key, if it exists.
    KvGet = 5: kv::Get => Option<kv::Entry>;
    /// Sets a value; returns whether it was set.
    KvSet = 6: kv::Set => bool;
    /// Deletes an entry; returns whether it existed.
    KvDelete = 7: kv::Delete => bool;
    /// Lists a part of a collection.
    KvList = 8: kv::List => kv::Listed;
    /// Adds to a number; returns the new number.
    KvIncrement = 9: kv::Increment => i64;
    /// Puts a message into a queue; returns its id.
    QueueSend = 10: queue::Send => String;
    /// Publishes a message.
    PubsubPublish = 11: pubsub::Publish => ();
    /// Runs another script now; returns its last value.
    ScriptsCall = 12: scripts::Call => crate::execution::ScriptValue;
    /// Runs another script later; returns the event's id.
    ScriptsEnqueue = 13: scripts::Enqueue => String;
    /// Sends an outbound HTTP request.
    HttpSend = 14: http::Send => http::Answer;
    /// Writes a file.
    FilesPut = 15: files::Put => ();
    /// Returns the content of a file, if it exists.
    FilesGet = 16: files::Get => Option<files::Content>;
    /// Returns the metadata of a file, if it exists.
    FilesStat = 17: files::Stat => Option<files::File>;
    /// Deletes a file; returns whether it existed.
    FilesDelete = 18: files::Delete => bool;
    /// Lists a part of a bucket.
    FilesList = 19: files::List => files::Listed;
    /// Returns the value of a secret.
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
