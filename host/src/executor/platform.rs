//! The services of the host that scripts use.

use super::outbound::Outbound;
use crate::blobs::Blobs;
use crate::secrets::Secrets;
use crate::store::Reads;

/// The data that scripts read.
#[derive(Clone)]
pub struct Backing {
    /// The database.
    pub store: Reads,
    /// The secrets of apps.
    pub secrets: Secrets,
}

/// The services that scripts use outside their sandbox.
pub(super) struct Platform {
    /// The database.
    pub(super) store: Reads,
    /// The secrets of apps.
    pub(super) secrets: Secrets,
    /// The contents of files.
    pub(super) blobs: Blobs,
    /// Outbound HTTP requests.
    pub(super) outbound: Outbound,
}
