//! Fault injection: named points at which a test can kill this process, as hard as a power cut
//! would, or tell it to stop.
//!
//! ```text
//!  claim ─▶ AfterClaim ─▶ run ─▶ AfterRun ─▶ BEGIN … InsideCommit ─▶ COMMIT ─▶ AfterCommit ─▶ told
//! ```
//!
//! Invariant: release builds contain no fault injection: a point does nothing there, and no
//! variable arms one.
//! Invariant: it depends on no other module, so that every module can define its points.

use std::fmt;
use std::str::FromStr;

/// A point in the processing of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Events are claimed and the claim is committed; none of them runs yet.
    AfterClaim,
    /// An event's script has run; nothing is written yet.
    AfterRun,
    /// Runs are written in a transaction that is not committed yet.
    InsideCommit,
    /// Runs are committed, but no result has been reported yet.
    AfterCommit,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 4] =
        [Self::AfterClaim, Self::AfterRun, Self::InsideCommit, Self::AfterCommit];

    /// Returns the point's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterClaim => "after_claim",
            Self::AfterRun => "after_run",
            Self::InsideCommit => "inside_commit",
            Self::AfterCommit => "after_commit",
        }
    }
}

/// The pass through a point that ends the process, from 1: `POINT:COUNT` kills the process, and
/// `POINT:COUNT:stop` tells it to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashAt {
    /// The point.
    pub point: Point,
    /// The number of the pass.
    pub count: u64,
    /// Whether to tell the process to stop (SIGTERM) instead of killing it (SIGKILL).
    pub stops: bool,
}

/// The suffix that selects stopping.
const STOP: &str = ":stop";

impl fmt::Display for CrashAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stop = if self.stops { STOP } else { "" };
        write!(f, "{}:{}{stop}", self.point.as_str(), self.count)
    }
}

impl FromStr for CrashAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, stops) = match text.strip_suffix(STOP) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let parsed = text.split_once(':').and_then(|(name, count)| {
            let point = Point::ALL.into_iter().find(|point| point.as_str() == name)?;
            Some(Self { point, count: count.parse().ok().filter(|count| *count > 0)?, stops })
        });
        parsed.ok_or("a point and a count, like after_run:1")
    }
}

#[cfg(debug_assertions)]
pub(crate) use armed::{VARIABLE, arm, point};

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{CrashAt, Point};

    /// The environment variable that arms a point. Not a setting, because operators do not need it.
    pub(crate) const VARIABLE: &str = "PICLOUD_CRASH_AT";

    static CRASH_AT: OnceLock<CrashAt> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// Arms a point of this process.
    pub(crate) fn arm(at: CrashAt) {
        CRASH_AT.get_or_init(|| at);
    }

    /// Passes a point, which ends the process if it is armed.
    pub(crate) fn point(point: Point) {
        let Some(at) = CRASH_AT.get().filter(|at| at.point == point) else { return };
        if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at.count {
            if at.stops {
                let _ = kill_process(getpid(), Signal::TERM);
                return;
            }
            // Not `abort`, which can dump core and can be caught.
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_: Point) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_also_read() {
        for point in Point::ALL {
            for stops in [false, true] {
                let at = CrashAt { point, count: 3, stops };
                assert_eq!(at.to_string().parse(), Ok(at));
            }
        }
        for wrong in [
            "",
            "after_run",
            "after_run:",
            "after_run:0",
            "after_run:x",
            "never:1",
            ":stop",
            "after_run:stop",
        ] {
            assert!(wrong.parse::<CrashAt>().is_err(), "{wrong}");
        }
    }
}
