//! What is made up for when a schedule came due while nobody looked.

use super::{Misfire, Schedule, US_PER_SECOND};

/// So late, and a firing still counts as on time: a busy host, a restart.
pub const LATE_US_MAX: i64 = 60 * US_PER_SECOND;

/// The most firings that are made up for.
pub const MISSED_MAX: usize = 1000;

/// What is to be done about a schedule now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The firings to enqueue, each by its due time, in order.
    pub fire: Vec<i64>,
    /// When it is due next; none when it never is again.
    pub next: Option<i64>,
}

impl Schedule {
    /// What to fire at `now_us`, given that the schedule was due at `due_us` and has not
    /// fired since, and when it is due next.
    ///
    /// With [`Misfire::All`] these are at most the `max` oldest firings; later ones are left
    /// out. The search is bounded whatever time has passed: it does not walk over firings that
    /// are not made up for.
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

    /// How many firings there are from `due_us`, which is one, up to `now_us`; at most `max`.
    #[must_use]
    pub fn count_due(&self, due_us: i64, now_us: i64, max: usize) -> usize {
        let due = std::iter::successors(Some(due_us), |us| self.next_after(*us));
        due.take_while(|us| *us <= now_us).take(max).count()
    }

    /// The last firing up to `now_us`, the one at `due_us` included; by halving, since
    /// there is no search backwards.
    fn latest(&self, due_us: i64, now_us: i64) -> i64 {
        let (mut latest, mut end) = (due_us, now_us);
        // No firing lies after `end`, up to now.
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
