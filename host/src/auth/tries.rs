//! Slows down sign-in attempts: the first few are free, then each wait doubles. Attempts are
//! counted by network and by account.
//!
//! The waits of an account are short, so that an attacker cannot lock its owner out. The cost of a
//! hash for each attempt slows down an attack from many networks. A device that has signed in to
//! an account before has its own counter, and other callers do not slow it down.
//!
//! Invariant: a refused attempt does not count, so that repeated attempts do not make others wait
//! longer. A successful attempt removes its own count only.
//! Invariant: an attempt counts from its start, so that concurrent attempts count too.
//! Invariant: the memory is bounded; the oldest entry is forgotten first.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// How attempts are slowed down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The number of failures that cost nothing: people mistype.
    free: u32,
    /// The longest wait, µs.
    wait_max_us: i64,
}

/// For a network.
pub(super) const NETWORK: Pace = Pace { free: 5, wait_max_us: 15 * 60 * 1_000_000 };
/// For a device that has signed in before.
pub(super) const DEVICE: Pace = Pace { free: 10, wait_max_us: 60 * 1_000_000 };
/// For a network that tries owner keys: programs are misconfigured more often than people mistype.
pub(super) const KEYS: Pace = Pace { free: 20, wait_max_us: 60 * 1_000_000 };
/// For a network that starts sign-ins with the identity provider, successful or not.
pub(super) const STARTS: Pace = Pace { free: 60, wait_max_us: 60 * 1_000_000 };
/// For an account.
pub(super) const ACCOUNT: Pace = Pace { free: 10, wait_max_us: 60 * 1_000_000 };

/// The wait after the last free attempt, doubled with each further one.
const WAIT_US: i64 = 1_000_000;
/// The time without a failure after which the count starts again.
const FORGET_US: i64 = 60 * 60 * 1_000_000;
/// The most entries that are remembered.
const REMEMBERED_MAX: usize = 1024;

/// Counters of recent failures.
pub(super) struct Tries<K> {
    pace: Pace,
    failures: Mutex<HashMap<K, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last_at: i64,
    /// The `last_at` before the last attempt, restored when that attempt is taken back.
    before_at: i64,
}

impl<K: Eq + Hash + Clone> Tries<K> {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, failures: Mutex::default() }
    }

    /// Begins an attempt at the time `now`, µs. It counts as a failure until it is [taken
    /// back](Self::take_back).
    ///
    /// # Errors
    /// The number of seconds to wait.
    pub(super) fn begin(&self, who: &K, now: i64) -> Result<(), u32> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.get(who).copied().filter(|before| now - before.last_at < FORGET_US);
        let wait_us = before.map_or(0, |before| self.pace.wait_us(before, now));
        if wait_us > 0 {
            return Err(u32::try_from(wait_us.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX));
        }
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        make_room(&mut failures, who);
        let before_at = before.map_or(now, |before| before.last_at);
        failures.insert(who.clone(), Failures { count, last_at: now, before_at });
        Ok(())
    }

    /// Removes the attempt that began at `now`, µs, from the count: it succeeded, or was refused
    /// elsewhere.
    pub(super) fn take_back(&self, who: &K, now: i64) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = failures.get_mut(who) {
            found.count = found.count.saturating_sub(1);
            if found.last_at == now {
                found.last_at = found.before_at;
            }
            if found.count == 0 {
                failures.remove(who);
            }
        }
    }
}

/// Attempts at the owner key. A wrong key that is sent repeatedly comes from a misconfigured
/// program and is not a guess: it counts once.
pub(super) struct KeyTries {
    networks: Tries<IpAddr>,
    /// The hash of the last wrong key of each network.
    wrong: Mutex<HashMap<IpAddr, [u8; 32]>>,
}

impl KeyTries {
    pub(super) fn new() -> Self {
        Self { networks: Tries::new(KEYS), wrong: Mutex::default() }
    }

    /// As [`Tries::begin`].
    ///
    /// # Errors
    /// The number of seconds to wait.
    pub(super) fn begin(&self, network: &IpAddr, key: [u8; 32], now: i64) -> Result<(), u32> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get(network).copied();
        if wrong == Some(key) {
            return Ok(());
        }
        self.networks.begin(network, now)
    }

    /// Records that the key tried at `now`, µs, is the owner's.
    pub(super) fn was_right(&self, network: &IpAddr, now: i64) {
        self.networks.take_back(network, now);
    }

    /// Records that the key is not the owner's.
    pub(super) fn was_wrong(&self, network: &IpAddr, key: [u8; 32]) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= REMEMBERED_MAX && !wrong.contains_key(network) {
            wrong.clear();
        }
        wrong.insert(*network, key);
    }
}

impl Pace {
    /// Returns the wait, µs.
    fn wait_us(self, failures: Failures, now: i64) -> i64 {
        let Some(doubled) = failures.count.checked_sub(self.free) else { return 0 };
        let wait = WAIT_US.checked_shl(doubled).filter(|wait| (1..self.wait_max_us).contains(wait));
        // A clock that is set back must not lock a caller out for longer.
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

/// Returns the network that counts as one caller. The owner of an IPv6 address usually has its /64.
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
        // Others do not wait.
        assert_eq!(tries.begin(&2, now), Ok(()));
    }

    #[test]
    fn a_wait_has_an_end_and_a_right_try_makes_none() {
        for pace in [NETWORK, ACCOUNT] {
            let tries = Tries::new(pace);
            let mut now = 0;
            for _ in 0..100 {
                let _ = tries.begin(&1, now);
                now += pace.wait_max_us;
            }
            assert_eq!(tries.begin(&1, now - 1), Err(1));
            assert_eq!(tries.begin(&1, now), Ok(()));
            // A successful attempt causes no wait, and does not remove a failure.
            tries.take_back(&1, now);
            assert_eq!(tries.begin(&1, now), Ok(()));
            assert!(tries.begin(&1, now).is_err());
            // After an hour nothing counts any more. A clock that was set back by a day does not
            // make a caller wait for a day.
            let most_s = u32::try_from(pace.wait_max_us / SECOND).unwrap() + 1;
            assert!(tries.begin(&1, now - 24 * FORGET_US).unwrap_err() <= most_s);
            assert_eq!(tries.begin(&1, now + FORGET_US), Ok(()));
        }
    }

    #[test]
    fn right_tries_alone_never_wait() {
        let tries = tries();
        for now in 0..1000 {
            assert_eq!(tries.begin(&1, now), Ok(()));
            tries.take_back(&1, now);
        }
        tries.take_back(&1, 0);
        assert!(tries.failures.lock().unwrap().is_empty());
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
    fn a_wrong_key_counts_once_and_others_are_slowed() {
        let (keys, network) = (KeyTries::new(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..10 * KEYS.free {
            assert_eq!(keys.begin(&network, [0; 32], 0), Ok(()));
            keys.was_wrong(&network, [0; 32]);
        }
        for number in 1..KEYS.free {
            let key = [u8::try_from(number).unwrap(); 32];
            assert_eq!(keys.begin(&network, key, 0), Ok(()), "{number}");
            keys.was_wrong(&network, key);
        }
        assert_eq!(keys.begin(&network, [99; 32], 0), Err(2));
        assert_eq!(keys.begin(&IpAddr::from([192, 0, 2, 2]), [99; 32], 0), Ok(()));
        assert_eq!(keys.begin(&network, [99; 32], SECOND), Ok(()));
        keys.was_right(&network, SECOND);
        assert_eq!(keys.begin(&network, [99; 32], SECOND), Ok(()));
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
