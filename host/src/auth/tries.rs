//! How fast keys may be tried at sign-in: a few times at once, then ever more slowly,
//! counted by the address that they come from.
//!
//! Invariant: what is remembered is bounded; what is forgotten first is what is
//! longest ago.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// So many wrong keys cost nothing: people mistype.
const FREE_TRIES: u32 = 5;
/// How long an address waits after the last of them, doubled with every further one.
const WAIT_US: i64 = 1_000_000;
/// The longest wait.
const WAIT_MAX_US: i64 = 15 * 60 * 1_000_000;
/// After this time without a wrong key an address begins anew.
const FORGET_US: i64 = 60 * 60 * 1_000_000;
/// How many addresses are remembered.
const ADDRESSES_MAX: usize = 1024;

/// Who has tried wrong keys lately.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<IpAddr, Failures>>);

struct Failures {
    count: u32,
    last_at: i64,
}

impl Failures {
    /// How long the address has to wait, µs.
    fn wait_us(&self, now: i64) -> i64 {
        let Some(doubled) = self.count.checked_sub(FREE_TRIES) else { return 0 };
        let wait = WAIT_US.checked_shl(doubled).filter(|wait| (1..WAIT_MAX_US).contains(wait));
        // A clock that was set back must not lock anybody out for longer.
        (self.last_at + wait.unwrap_or(WAIT_MAX_US) - now).min(WAIT_MAX_US)
    }
}

impl Tries {
    /// Lets the address `from` try at the time `now`, µs; `Ok` is whether it was right.
    ///
    /// # Errors
    /// After how many seconds it may try again; `is_right` was not asked.
    pub(super) fn attempt(
        &self,
        from: IpAddr,
        now: i64,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, u32> {
        let from = network_of(from);
        // Held while the key is compared, so that tries at the same time count too.
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.get(&from).filter(|before| now - before.last_at < FORGET_US);
        let wait_us = before.map_or(0, |before| before.wait_us(now));
        if wait_us > 0 {
            return Err(u32::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX));
        }
        if is_right() {
            failures.remove(&from);
            return Ok(true);
        }
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        make_room(&mut failures, &from);
        failures.insert(from, Failures { count, last_at: now });
        Ok(false)
    }
}

fn make_room(failures: &mut HashMap<IpAddr, Failures>, from: &IpAddr) {
    if failures.len() < ADDRESSES_MAX || failures.contains_key(from) {
        return;
    }
    let oldest = failures.iter().min_by_key(|(_, failures)| failures.last_at);
    if let Some(oldest) = oldest.map(|(address, _)| *address) {
        failures.remove(&oldest);
    }
}

/// Who has one address of IPv6 usually has a /64 of them.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc633_6400 + last))
    }

    #[test]
    fn the_first_wrong_keys_cost_nothing_and_then_every_one_costs_twice_as_much() {
        let tries = Tries::default();
        let mut now = 0;
        for _ in 0..FREE_TRIES {
            assert_eq!(tries.attempt(address(1), now, || false), Ok(false));
        }
        for wait_s in [1, 2, 4, 8] {
            let asked = tries.attempt(address(1), now, || panic!("it is not asked"));
            assert_eq!(asked, Err(wait_s + 1));
            now += i64::from(wait_s) * SECOND - 1;
            assert_eq!(tries.attempt(address(1), now, || true), Err(1));
            now += 1;
            assert_eq!(tries.attempt(address(1), now, || false), Ok(false));
        }
        // Nobody else waits.
        assert_eq!(tries.attempt(address(2), now, || true), Ok(true));
    }

    #[test]
    fn a_wait_has_an_end_and_a_right_key_ends_it() {
        let tries = Tries::default();
        let mut now = 0;
        for _ in 0..100 {
            let _ = tries.attempt(address(1), now, || false);
            now += WAIT_MAX_US;
        }
        assert_eq!(tries.attempt(address(1), now - 1, || true), Err(1));
        assert_eq!(tries.attempt(address(1), now, || true), Ok(true));
        assert_eq!(tries.attempt(address(1), now, || false), Ok(false));
        assert_eq!(tries.attempt(address(1), now, || true), Ok(true));
        // An hour later nothing is held against anybody, and a clock that was set back
        // by a day holds nobody up for one.
        for _ in 0..50 {
            let _ = tries.attempt(address(1), now, || false);
        }
        assert!(tries.attempt(address(1), now - 24 * FORGET_US, || true).unwrap_err() <= 901);
        assert_eq!(tries.attempt(address(1), now + FORGET_US, || true), Ok(true));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten() {
        let tries = Tries::default();
        for _ in 0..=FREE_TRIES {
            let _ = tries.attempt(address(0), 0, || false);
        }
        for other in 1..ADDRESSES_MAX as u32 {
            let _ = tries.attempt(address(other), 1, || false);
        }
        assert!(tries.attempt(address(0), 2, || true).is_err(), "it is still remembered");
        let _ = tries.attempt(address(ADDRESSES_MAX as u32), 2, || false);
        assert_eq!(tries.0.lock().unwrap().len(), ADDRESSES_MAX);
        assert_eq!(tries.attempt(address(0), 2, || true), Ok(true));
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let tries = Tries::default();
        for last in 0..FREE_TRIES {
            let from = format!("2001:db8::{last}").parse().unwrap();
            assert_eq!(tries.attempt(from, 0, || false), Ok(false));
        }
        assert!(tries.attempt("2001:db8::ffff".parse().unwrap(), 0, || true).is_err());
        assert!(tries.attempt("2001:db8:0:1::".parse().unwrap(), 0, || true).is_ok());
    }
}
