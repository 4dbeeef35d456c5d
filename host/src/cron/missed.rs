//! Decides what to fire when a schedule was due while no scheduler was running.

use super::{Misfire, Schedule, US_PER_SECOND};

/// The delay up to which a firing counts as on time, for a busy host or a restart.
pub const LATE_US_MAX: i64 = 60 * US_PER_SECOND;

/// The maximum number of missed firings that are enqueued.
pub const MISSED_MAX: usize = 1000;

/// The firings that are due, and the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The firings to enqueue, by due time, in order.
    pub fire: Vec<i64>,
    /// The next due time; `None` if the schedule never fires again.
    pub next: Option<i64>,
}

impl Schedule {
    /// Returns the firings to enqueue at `now_us`, and the next due time. The schedule was due at
    /// `due_us` and has not fired since.
    ///
    /// With [`Misfire::All`] these are at most the `max` oldest firings; later ones are dropped.
    /// The search is bounded no matter how much time has passed: it does not step through dropped
    /// firings.
    #[must_use]
    pub fn missed(&self, due_us: i64, now_us: i64, misfire: Misfire, max: usize) -> Missed {
        if now_us < due_us {
            return Missed { fire: Vec::new(), next: Some(due_us) };
        }
        let fire = match misfire {
            Misfire::All => {
                let due = std::iter::successors(Some(due_us), |us| self.next_after(*us));
                due.take_while(|us| *us <= now_us).take(max).collect()
            }
            Misfire::Once => vec![self.latest(due_us, now_us)],
            Misfire::Skip => {
                let latest = self.latest(due_us, now_us);
                let late_us = now_us.saturating_sub(latest);
                if late_us <= LATE_US_MAX { vec![latest] } else { Vec::new() }
            }
        };
        Missed { fire, next: self.next_after(now_us) }
    }

    /// Returns the number of firings from `due_us`, inclusive, up to `now_us`; at most `max`.
    #[must_use]
    pub fn count_due(&self, due_us: i64, now_us: i64, max: usize) -> usize {
        let due = std::iter::successors(Some(due_us), |us| self.next_after(*us));
        due.take_while(|us| *us <= now_us).take(max).count()
    }

    /// Returns the last firing up to `now_us`, starting with the one at `due_us`. Uses bisection,
    /// because the search only works forward.
    fn latest(&self, due_us: i64, now_us: i64) -> i64 {
        let (mut latest, mut end) = (due_us, now_us);
        // No firing lies between `end` and now.
        while latest < end {
            let middle = latest + end.saturating_sub(latest) / 2;
            match self.next_after(middle) {
                Some(at) if at <= end => latest = at,
                _ => end = middle,
            }
        }
        latest
    }
}
