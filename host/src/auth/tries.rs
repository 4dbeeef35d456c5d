//! How fast somebody may try to sign in: a few times at once, then ever more slowly,
//! counted by the network that they come from and by the account that they try.
//!
//! An account's waits are short, so that nobody can lock its owner out by trying: what
//! protects it from many networks at once is that each try costs a hash.
//!
//! Invariant: a try counts from when it begins, so that tries at the same time count too.
//! Invariant: what is remembered is bounded; what is forgotten first is what is
//! longest ago.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// How tries are slowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// So many wrong ones cost nothing: people mistype.
    free: u32,
    /// The longest wait, µs.
    wait_max_us: i64,
}

/// Of a network.
pub(super) const NETWORK: Pace = Pace { free: 5, wait_max_us: 15 * 60 * 1_000_000 };
/// Of an account.
pub(super) const ACCOUNT: Pace = Pace { free: 10, wait_max_us: 60 * 1_000_000 };

/// How long one waits after the last that was free, doubled with every further one.
const WAIT_US: i64 = 1_000_000;
/// After this time without a wrong one, one begins anew.
const FORGET_US: i64 = 60 * 60 * 1_000_000;
/// How many are remembered.
const REMEMBERED_MAX: usize = 1024;

/// Who has tried in vain lately.
pub(super) struct Tries<K> {
    pace: Pace,
    failures: Mutex<HashMap<K, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last_at: i64,
}

impl<K: Eq + Hash + Clone> Tries<K> {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, failures: Mutex::default() }
    }

    /// Begins a try at the time `now`, µs. It counts as a failure until it has
    /// [`succeeded`](Self::succeeded).
    ///
    /// # Errors
    /// After how many seconds one may try.
    pub(super) fn begin(&self, who: &K, now: i64) -> Result<(), u32> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.get(who).filter(|before| now - before.last_at < FORGET_US);
        let wait_us = before.map_or(0, |before| self.pace.wait_us(*before, now));
        if wait_us > 0 {
            return Err(u32::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX));
        }
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        make_room(&mut failures, who);
        failures.insert(who.clone(), Failures { count, last_at: now });
        Ok(())
    }

    /// The try was right: nothing is held against `who`.
    pub(super) fn succeeded(&self, who: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }
}

impl Pace {
    /// How long somebody has to wait, µs.
    fn wait_us(self, failures: Failures, now: i64) -> i64 {
        let Some(doubled) = failures.count.checked_sub(self.free) else { return 0 };
        let wait = WAIT_US.checked_shl(doubled).filter(|wait| (1..self.wait_max_us).contains(wait));
        // A clock that was set back must not lock anybody out for longer.
        (failures.last_at + wait.unwrap_or(self.wait_max_us) - now).min(self.wait_max_us)
    }
}

fn make_room<K: Eq + Hash + Clone>(failures: &mut HashMap<K, Failures>, who: &K) {
    if failures.len() < REMEMBERED_MAX || failures.contains_key(who) {
        return;
    }
    let oldest = failures.iter().min_by_key(|(_, failures)| failures.last_at);
    if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
        failures.remove(&oldest);
    }
}

/// Who has one address of IPv6 usually has a /64 of them.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
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

    fn tries() -> Tries<u32> {
        Tries::new(NETWORK)
    }

    #[test]
    fn the_first_wrong_tries_cost_nothing_and_then_every_one_costs_twice_as_much() {
        let tries = tries();
        let mut now = 0;
        for _ in 0..NETWORK.free {
            assert_eq!(tries.begin(&1, now), Ok(()));
        }
        for wait_s in [1, 2, 4, 8] {
            assert_eq!(tries.begin(&1, now), Err(wait_s + 1));
            now += i64::from(wait_s) * SECOND - 1;
            assert_eq!(tries.begin(&1, now), Err(1));
            now += 1;
            assert_eq!(tries.begin(&1, now), Ok(()));
        }
        // Nobody else waits.
        assert_eq!(tries.begin(&2, now), Ok(()));
    }

    #[test]
    fn a_wait_has_an_end_and_a_right_try_ends_it() {
        for pace in [NETWORK, ACCOUNT] {
            let tries = Tries::new(pace);
            let mut now = 0;
            for _ in 0..100 {
                let _ = tries.begin(&1, now);
                now += pace.wait_max_us;
            }
            assert_eq!(tries.begin(&1, now - 1), Err(1));
            assert_eq!(tries.begin(&1, now), Ok(()));
            tries.succeeded(&1);
            for _ in 0..pace.free {
                assert_eq!(tries.begin(&1, now), Ok(()));
            }
            assert!(tries.begin(&1, now).is_err());
            // An hour later nothing is held against anybody, and a clock that was set back
            // by a day holds nobody up for one.
            let most_s = u32::try_from(pace.wait_max_us / SECOND).unwrap() + 1;
            assert!(tries.begin(&1, now - 24 * FORGET_US).unwrap_err() <= most_s);
            assert_eq!(tries.begin(&1, now + FORGET_US), Ok(()));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten() {
        let tries = tries();
        for _ in 0..=NETWORK.free {
            let _ = tries.begin(&0, 0);
        }
        for other in 1..REMEMBERED_MAX as u32 {
            let _ = tries.begin(&other, 1);
        }
        assert!(tries.begin(&0, 2).is_err(), "it is still remembered");
        let _ = tries.begin(&(REMEMBERED_MAX as u32), 2);
        assert_eq!(tries.failures.lock().unwrap().len(), REMEMBERED_MAX);
        assert_eq!(tries.begin(&0, 2), Ok(()));
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let of = |address: &str| network_of(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
