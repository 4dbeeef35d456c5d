//! Rate limits of each principal for requests that take the server's own CPU: checks of sources,
//! and runs in the test panel.
//!
//! The rate is a GCRA (ITU-T I.371): `requests` at once, then one every `per_s / requests` seconds.
//! Each process has its own counters.
//!
//! Invariant: a refused request does not count.
//! Invariant: at most [`REMEMBERED_MAX`] principals are remembered; the one idle longest is
//! forgotten first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Principal;
use crate::error::{Error, Refusal};
use crate::store::{RateBy, RateLimit};

/// The most principals with a counter of their own.
const REMEMBERED_MAX: usize = 4096;

/// The rate limits for each principal; `None` for unlimited.
#[derive(Clone, Debug)]
pub struct RateSettings {
    /// Checks of sources.
    pub checks: Option<RateLimit>,
    /// Runs in the test panel.
    pub tests: Option<RateLimit>,
}

impl Default for RateSettings {
    fn default() -> Self {
        let limit = RateLimit { requests: 120, per_s: 60, by: RateBy::All };
        Self { checks: Some(limit.clone()), tests: Some(limit) }
    }
}

/// Counts the requests of each principal against one limit.
pub(super) struct Rates {
    /// The name of the limit in refusals.
    name: &'static str,
    limit: Option<RateLimit>,
    /// The time at which each principal has its full rate again, µs.
    due_at: Mutex<HashMap<Principal, i64>>,
}

impl Rates {
    /// Creates counters for `limit`; without one, nothing is limited.
    pub(super) fn new(name: &'static str, limit: Option<RateLimit>) -> Self {
        Self { name, limit, due_at: Mutex::default() }
    }

    /// Counts a request of `who` at the time `now`, µs.
    ///
    /// # Errors
    /// `RateLimited`, with the time to wait.
    pub(super) fn count(&self, who: &Principal, now: i64) -> Result<(), Error> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let window_us = i64::from(limit.per_s) * 1_000_000;
        let each_us = (window_us / i64::from(limit.requests.max(1))).max(1);
        let mut due_at = self.due_at.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back must not make a principal wait longer than the window.
        let before = due_at.get(who).map_or(now, |due| (*due).clamp(now, now + window_us));
        let due = before + each_us;
        // The division rounds down: `requests` times `each_us` never exceeds the window, so the
        // last request of a window is admitted.
        let wait_us = due - now - window_us.max(each_us);
        if wait_us > 0 {
            return Err(self.refuse(limit, wait_us));
        }
        if due_at.len() >= REMEMBERED_MAX && !due_at.contains_key(who) {
            make_room(&mut due_at, now);
        }
        due_at.insert(who.clone(), due);
        Ok(())
    }

    fn refuse(&self, limit: &RateLimit, wait_us: i64) -> Error {
        let wait_s = wait_us.unsigned_abs().div_ceil(1_000_000);
        let retry_after_s = u32::try_from(wait_s).unwrap_or(u32::MAX);
        let (name, requests, per_s) = (self.name, limit.requests, limit.per_s);
        let message =
            format!("{name} allows {requests} requests in {per_s} s; retry in {retry_after_s} s");
        let refusal = Refusal::new("rate_limited", message)
            .with("scope", "principal")
            .with("limit_name", name)
            .with("limit", requests)
            .with("per_s", per_s)
            .with("retry_after_s", retry_after_s);
        Error::RateLimited { refusal, retry_after_s }
    }
}

/// Removes the principals that have their full rate again, or else the one that will have it first.
fn make_room(due_at: &mut HashMap<Principal, i64>, now: i64) {
    due_at.retain(|_, due| *due > now);
    if due_at.len() < REMEMBERED_MAX {
        return;
    }
    let first = due_at.iter().min_by_key(|(_, due)| **due).map(|(who, _)| who.clone());
    if let Some(first) = first {
        due_at.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn rates(requests: u32, per_s: u32) -> Rates {
        Rates::new("check_rate", Some(RateLimit { requests, per_s, by: RateBy::All }))
    }

    fn user(number: u128) -> Principal {
        Principal::User(uuid::Uuid::from_u128(number).into())
    }

    fn wait_s(counted: Result<(), Error>) -> u32 {
        match counted {
            Err(Error::RateLimited { refusal, retry_after_s }) => {
                assert_eq!(refusal.details["limit_name"], "check_rate");
                retry_after_s
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_request_of_a_window_is_let_in_and_the_next_one_waits_for_its_turn() {
        let rates = rates(3, 30);
        for _ in 0..3 {
            rates.count(&user(1), 0).unwrap();
        }
        assert_eq!(wait_s(rates.count(&user(1), 0)), 10);
        assert_eq!(wait_s(rates.count(&user(1), 10 * SECOND - 1)), 1);
        rates.count(&user(1), 10 * SECOND).unwrap();
        assert_eq!(wait_s(rates.count(&user(1), 10 * SECOND)), 10);
        // Other principals do not wait.
        rates.count(&user(2), 0).unwrap();
        rates.count(&Principal::Owner, 0).unwrap();
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_for_longer_than_the_window() {
        let rates = rates(2, 10);
        rates.count(&user(1), 1_000_000 * SECOND).unwrap();
        assert_eq!(wait_s(rates.count(&user(1), 0)), 5);
    }

    #[test]
    fn without_a_limit_everything_is_let_in() {
        let rates = Rates::new("check_rate", None);
        for _ in 0..1000 {
            rates.count(&user(1), 0).unwrap();
        }
    }

    #[test]
    fn the_number_of_principals_that_are_remembered_is_bounded() {
        let rates = rates(1, 10);
        for number in 0..=REMEMBERED_MAX as u128 {
            rates.count(&user(number), number as i64).unwrap();
        }
        assert_eq!(rates.due_at.lock().unwrap().len(), REMEMBERED_MAX);
        assert_eq!(wait_s(rates.count(&user(1), 2)), 10);
    }
}
