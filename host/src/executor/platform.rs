//! The services of the host that scripts use.

use super::outbound::Outbound;
use crate::blobs::Blobs;
use crate::secrets::Secrets;
use crate::store::Store;

/// What scripts read from.
#[derive(Clone)]
pub struct Backing {
    /// What they have kept.
    pub store: Store,
    /// Their secrets.
    pub secrets: Secrets,
}

/// What scripts use beside the sandbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct Platform {
    /// What they read from.
    pub(super) store: Store,
    /// Their secrets.
    pub(super) secrets: Secrets,
    /// The contents of their files.
    pub(super) blobs: Blobs,
    /// Their way to the outside.
    pub(super) outbound: Outbound,
}
