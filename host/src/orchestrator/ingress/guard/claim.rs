//! What the headers of a signed request claim.

/// What the headers of a request claim.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Claim {
    /// One of them has to be right.
    pub(super) signatures: Vec<Vec<u8>>,
    /// When it was signed, in seconds since 1970.
    pub(super) timestamp: Option<i64>,
    /// What is signed before the body.
    pub(super) before: String,
    /// And after it.
    pub(super) after: String,
    /// The id of the message, if it is signed too: it stays the same when it is sent again.
    pub(in super::super) message_id: Option<String>,
}
