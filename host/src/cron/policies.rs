//! The options of a schedule, by the names under which they are stored, sent and shown.

use crate::named::named;

named! {
    /// How to handle times that a clock change skips or repeats.
    pub enum Dst {
        /// Skipped times do not fire; repeated times fire the first time.
        Skip,
        /// Skipped times fire after the gap; repeated times fire the first time.
        Once,
        /// Skipped times fire after the gap; repeated times fire both times.
        Both,
    }

    /// How to handle missed firings.
    pub enum Misfire {
        /// They are dropped, except for one that is at most [`super::LATE_US_MAX`] late.
        Skip,
        /// One firing replaces all of them.
        Once,
        /// Each fires, the oldest [`super::MISSED_MAX`] at most.
        All,
    }

    /// Whether a schedule fires before an earlier firing has finished.
    pub enum Overlap {
        /// It fires.
        Allow,
        /// It does not fire.
        Forbid,
    }
}
