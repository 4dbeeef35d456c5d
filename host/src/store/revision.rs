//! The revision of the definitions: each change increments it, so nodes detect outdated copies.

/// Selects the revision of the definitions in the database.
pub(super) const STORED_REVISION: &str =
    "SELECT revision FROM revisions WHERE name = 'definitions'";

/// Increments the revision, inside the transaction of a change.
pub(super) const COUNT_CHANGE: &str =
    "UPDATE revisions SET revision = revision + 1 WHERE name = 'definitions'";
