//! The prices, in fuel, of the work that the host does for a run.
//!
//! The guest's instructions do not cover the host's work, so each call is charged. One part is for
//! the call, including its share of the commit. The other is for each byte of the request and the
//! reply. One microsecond of CPU is [`FUEL_PER_US`] units, as in the guest. The measurements are in
//! `docs/decisions/0032-host-work-is-paid-in-fuel.md`; `make bench-fuel` repeats them.
//!
//! Invariant: a charge depends only on the call and on the sizes of its request and reply, in bytes
//! and entries. The same run always uses the same fuel.

use picloud_shared::calls::Op;

use crate::limits::FUEL_PER_MS;

/// The fuel for one microsecond of CPU.
const FUEL_PER_US: u64 = FUEL_PER_MS / 1000;

/// Fuel for each entry of a listing, in addition to the call's own charge.
pub(super) const LISTED: u64 = FUEL_PER_US;

/// The charge for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// Units for the call.
    pub(super) call: u64,
    /// Units for each byte of the request.
    pub(super) request_byte: u64,
    /// Units for each byte of the reply.
    pub(super) reply_byte: u64,
}

impl Charge {
    const fn us(call_us: u64, request_byte: u64, reply_byte: u64) -> Self {
        Self { call: call_us * FUEL_PER_US, request_byte, reply_byte }
    }

    /// Returns the charge before the call is served.
    pub(super) fn before(self, request_bytes: usize) -> u64 {
        self.call.saturating_add(self.request_byte.saturating_mul(request_bytes as u64))
    }

    /// Returns the charge for the reply.
    pub(super) fn after(self, reply_bytes: usize) -> u64 {
        self.reply_byte.saturating_mul(reply_bytes as u64)
    }
}

/// Returns the charge for an operation.
pub(super) const fn charge(op: Op) -> Charge {
    match op {
        // A line is masked, encoded and stored with the execution.
        Op::LogWrite => Charge::us(4, 32, 0),
        Op::TimeNow | Op::RandomSeed => Charge::us(2, 0, 1),
        Op::GuestPanicked => Charge::us(0, 0, 0),
        // A query, and its check at the commit.
        Op::KvGet | Op::FilesStat => Charge::us(60, 8, 8),
        // Entries are charged one by one, see [`LISTED`].
        Op::KvList | Op::FilesList => Charge::us(150, 8, 3),
        // A row of the commit, and the events it causes.
        Op::KvSet => Charge::us(40, 12, 0),
        // These calls read first.
        Op::KvDelete | Op::KvIncrement | Op::FilesDelete => Charge::us(100, 12, 0),
        Op::QueueSend | Op::PubsubPublish => Charge::us(60, 32, 0),
        // The called run is charged separately.
        Op::ScriptsCall => Charge::us(150, 16, 16),
        Op::ScriptsEnqueue => Charge::us(120, 32, 0),
        // Includes a connection and a TLS handshake.
        Op::HttpSend => Charge::us(500, 24, 24),
        // A file is hashed, written, flushed and renamed.
        Op::FilesPut => Charge::us(600, 32, 0),
        Op::FilesGet => Charge::us(120, 8, 8),
        Op::SecretsGet => Charge::us(60, 8, 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_but_the_last_words_of_a_guest_is_charged() {
        for op in Op::ALL.iter().filter(|op| **op != Op::GuestPanicked) {
            assert!(charge(*op).before(0) >= FUEL_PER_US, "{op:?}");
        }
    }

    #[test]
    fn what_goes_in_and_what_comes_out_is_charged_by_the_byte() {
        let set = charge(Op::KvSet);
        assert_eq!(set.before(1000) - set.before(0), 1000 * set.request_byte);
        let list = charge(Op::KvList);
        assert_eq!((list.after(0), list.after(1000)), (0, 1000 * list.reply_byte));
        assert_eq!(Charge { reply_byte: 2, ..list }.after(usize::MAX), u64::MAX);
    }
}
