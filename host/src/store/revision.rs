//! The number that each change of the definitions raises, by which nodes see that theirs are old.

/// The revision of the definitions in the database.
pub(super) const STORED_REVISION: &str =
    "SELECT revision FROM revisions WHERE name = 'definitions'";

/// Counts a change of the definitions, inside of its transaction.
pub(super) const COUNT_CHANGE: &str =
    "UPDATE revisions SET revision = revision + 1 WHERE name = 'definitions'";
