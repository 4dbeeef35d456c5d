//! Decides whether and when a failed event is retried.
//!
//! ```text
//! attempt 1 ── failed ─▶ wait ─▶ attempt 2 ── failed ─▶ … ─▶ attempt n ── failed ─▶ dead letter
//! ```
//!
//! Invariant: pure. The randomness of the jitter is a parameter. No policy overflows, or results in
//! a wait below zero or above its cap.

pub use crate::store::Backoff;

const US_PER_MS: i64 = 1000;

/// How often and when a failed event is retried.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The total number of attempts, including the first; with 1 or less there is no retry.
    pub attempts_max: i64,
    /// How the wait grows with each attempt.
    pub backoff: Backoff,
    /// The wait after the first attempt, in milliseconds.
    pub base_ms: i64,
    /// The maximum wait, in milliseconds.
    pub cap_ms: i64,
    /// The random part of the wait, from 0 to 1. With 0.25, a wait of 8 s becomes 6 to 8 s; with 1,
    /// it becomes 0 to 8 s. Jitter spreads the retries of events that failed together.
    pub jitter: f64,
}

/// The action after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Retry the event.
    Retry {
        /// The wait before the retry, in microseconds.
        delay_us: i64,
    },
    /// Give up: the event becomes a dead letter.
    Bury,
}

/// Returns the decision after `attempt` has failed. Attempts count from 1.
///
/// The wait is `base_ms`, doubled after each further attempt with [`Backoff::Exponential`], and at
/// most `cap_ms`. Jitter only shortens it, so it never exceeds the cap. `random` is any 64 bits;
/// the same bits give the same decision.
#[must_use]
pub fn decide(policy: &Policy, attempt: i64, random: u64) -> Decision {
    if attempt >= policy.attempts_max {
        return Decision::Bury;
    }
    let factor = match policy.backoff {
        Backoff::Constant => 1,
        Backoff::Exponential => {
            let doublings = u32::try_from(attempt.saturating_sub(1).max(0)).unwrap_or(u32::MAX);
            2_i64.saturating_pow(doublings)
        }
    };
    let wait_ms = policy.base_ms.max(0).saturating_mul(factor).min(policy.cap_ms.max(0));
    let wait_us = wait_ms.saturating_mul(US_PER_MS);
    // NaN compares as not greater than 0 and means no jitter.
    let jitter = if policy.jitter > 0.0 { policy.jitter.min(1.0) } else { 0.0 };
    let shorter_us = (wait_us as f64 * jitter * share(random)) as i64;
    Decision::Retry { delay_us: wait_us - shorter_us.min(wait_us) }
}

/// Maps random bits to the range from 0 (inclusive) to 1 (exclusive).
fn share(random: u64) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    (random >> 11) as f64 / STEPS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(backoff: Backoff) -> Policy {
        Policy { attempts_max: 5, backoff, base_ms: 1000, cap_ms: 6000, jitter: 0.0 }
    }

    fn delay_us(policy: &Policy, attempt: i64, random: u64) -> i64 {
        match decide(policy, attempt, random) {
            Decision::Retry { delay_us } => delay_us,
            Decision::Bury => panic!("attempt {attempt} of {policy:?} was the last"),
        }
    }

    #[test]
    fn a_constant_wait_stays_and_an_exponential_one_doubles_up_to_the_cap() {
        let waits = |backoff| [1, 2, 3, 4].map(|attempt| delay_us(&policy(backoff), attempt, 7));
        assert_eq!(waits(Backoff::Constant), [1_000_000; 4]);
        assert_eq!(waits(Backoff::Exponential), [1_000_000, 2_000_000, 4_000_000, 6_000_000]);
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let five = policy(Backoff::Constant);
        assert!(matches!(decide(&five, 4, 0), Decision::Retry { .. }));
        assert_eq!(decide(&five, 5, 0), Decision::Bury);
        assert_eq!(decide(&five, 6, 0), Decision::Bury);
        for attempts_max in [1, 0, -1, i64::MIN] {
            let once = Policy { attempts_max, ..policy(Backoff::Constant) };
            assert_eq!(decide(&once, 1, 0), Decision::Bury);
        }
    }

    #[test]
    fn jitter_takes_its_part_of_the_wait() {
        let some = Policy { jitter: 0.25, ..policy(Backoff::Constant) };
        assert_eq!(delay_us(&some, 1, 0), 1_000_000);
        assert_eq!(delay_us(&some, 1, u64::MAX / 2), 875_001);
        assert_eq!(delay_us(&some, 1, u64::MAX), 750_001);
        let all = Policy { jitter: 1.0, ..policy(Backoff::Constant) };
        assert_eq!(delay_us(&all, 1, u64::MAX), 1);
    }

    #[test]
    fn odd_policies_are_bounded_too() {
        for jitter in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let odd = Policy { jitter, ..policy(Backoff::Constant) };
            assert_eq!(delay_us(&odd, 1, u64::MAX), 1_000_000);
        }
        let beyond = Policy { jitter: f64::INFINITY, ..policy(Backoff::Constant) };
        assert_eq!(delay_us(&beyond, 1, u64::MAX), 1);
        for (base_ms, cap_ms) in [(-5, 1000), (1000, -5), (i64::MIN, i64::MIN)] {
            let none = Policy { base_ms, cap_ms, ..policy(Backoff::Exponential) };
            assert_eq!(delay_us(&none, 4, 0), 0);
        }
        let vast = Policy {
            attempts_max: i64::MAX,
            base_ms: i64::MAX,
            cap_ms: i64::MAX,
            ..policy(Backoff::Exponential)
        };
        assert_eq!(delay_us(&vast, i64::MAX - 1, 0), i64::MAX);
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let backoff = prop_oneof![Just(Backoff::Constant), Just(Backoff::Exponential)];
        let numbers = (any::<i64>(), 0..=i64::MAX / 1000, 0..=i64::MAX / 1000, 0.0..=1.0);
        (backoff, numbers).prop_map(|(backoff, (attempts_max, base_ms, cap_ms, jitter))| Policy {
            attempts_max,
            backoff,
            base_ms,
            cap_ms,
            jitter,
        })
    }

    proptest! {
        #[test]
        fn a_wait_is_between_what_jitter_leaves_and_the_cap(
            policy in any_policy(), attempt in any::<i64>(), random in any::<u64>(),
        ) {
            let whole = Policy { jitter: 0.0, ..policy.clone() };
            match (decide(&policy, attempt, random), decide(&whole, attempt, random)) {
                (Decision::Bury, Decision::Bury) => {
                    prop_assert!(attempt >= policy.attempts_max);
                }
                (Decision::Retry { delay_us }, Decision::Retry { delay_us: whole_us }) => {
                    prop_assert!(attempt < policy.attempts_max);
                    prop_assert!(delay_us <= whole_us && whole_us <= policy.cap_ms * 1000);
                    // The float is exact to one part in 2^52.
                    let least = whole_us as f64 * (1.0 - policy.jitter);
                    prop_assert!(delay_us as f64 >= least - 1.0 - whole_us as f64 / 1e15);
                }
                both => prop_assert!(false, "jitter decides: {both:?}"),
            }
        }

        #[test]
        fn an_exponential_wait_never_shrinks_and_doubles_below_the_cap(
            base_ms in 1..1_000_000_i64, cap_ms in 1..i64::MAX / 1000, attempt in 1..200_i64,
        ) {
            let policy = Policy {
                attempts_max: i64::MAX, backoff: Backoff::Exponential, base_ms, cap_ms, jitter: 0.0,
            };
            let (now, then) = (delay_us(&policy, attempt, 0), delay_us(&policy, attempt + 1, 0));
            prop_assert!(now <= then);
            prop_assert!(then == now.saturating_mul(2) || then == cap_ms * 1000);
        }
    }
}
