//! The prices, in fuel, of the work that the host does for a run.
//!
//! No instruction of the guest stands for what the host does when it is called, so each call is
//! charged: a part for the call, which includes its part of the commit, and a part for each byte
//! that comes with it and goes back. One microsecond of CPU is [`FUEL_PER_US`] units, as in the
//! guest. The measurements are in `docs/decisions/0032-host-work-is-paid-in-fuel.md`;
//! `make bench-fuel` repeats them.
//!
//! Invariant: a charge depends on the call and the sizes of request and reply alone, in bytes and
//! entries, so that the same run takes the same fuel.

use picloud_shared::calls::Op;

use crate::limits::FUEL_PER_MS;

/// Fuel that is worth a microsecond of CPU.
const FUEL_PER_US: u64 = FUEL_PER_MS / 1000;

/// Fuel for each entry of a listing, in addition to the call's own charge.
pub(super) const LISTED: u64 = FUEL_PER_US;

/// What one call costs.
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

    /// What is due before the call is served.
    pub(super) fn before(self, request_bytes: usize) -> u64 {
        self.call.saturating_add(self.request_byte.saturating_mul(request_bytes as u64))
    }

    /// What is due for the reply.
    pub(super) fn after(self, reply_bytes: usize) -> u64 {
        self.reply_byte.saturating_mul(reply_bytes as u64)
    }
}

/// The table.
pub(super) const fn charge(op: Op) -> Charge {
    match op {
        // A line is masked, encoded and stored with the execution.
        Op::LogWrite => Charge::us(4, 32, 0),
        Op::TimeNow | Op::RandomSeed => Charge::us(2, 0, 1),
        Op::GuestPanicked => Charge::us(0, 0, 0),
        // A query, and its check at the commit.
        Op::KvGet | Op::FilesStat => Charge::us(60, 8, 8),
        // Its entries are paid for one by one, see [`LISTED`].
        Op::KvList | Op::FilesList => Charge::us(150, 8, 3),
        // A row of the commit, and the events that follow from it.
        Op::KvSet => Charge::us(40, 12, 0),
        // They read first.
        Op::KvDelete | Op::KvIncrement | Op::FilesDelete => Charge::us(100, 12, 0),
        Op::QueueSend | Op::PubsubPublish => Charge::us(60, 32, 0),
        // The called run pays for itself.
        Op::ScriptsCall => Charge::us(150, 16, 16),
        Op::ScriptsEnqueue => Charge::us(120, 32, 0),
        // A connection and a handshake of TLS where there was none.
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
