//! The values that the headers of a signed request claim.

/// The values that the headers of a request claim.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Claim {
    /// The signatures, one of which must be right.
    pub(super) signatures: Vec<Vec<u8>>,
    /// The signing time, in seconds since 1970.
    pub(super) timestamp: Option<i64>,
    /// The signed text before the body.
    pub(super) before: String,
    /// The signed text after the body.
    pub(super) after: String,
    /// The id of the message, if it is signed too. It stays the same when the message is resent.
    pub(in super::super) message_id: Option<String>,
}
