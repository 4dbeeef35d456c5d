//! The images of the scripts that one run calls.
//!
//! A run pays for compiling a script the first time that it calls it, whether the server has to
//! compile it then or not: what a run pays must not depend on what ran before. The image is kept
//! until the run ends, so that no run compiles a script twice.
//!
//! Invariant: a run keeps at most [`BYTES_MAX`] bytes of images. What does not fit is paid for
//! with every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Image;
use crate::store::ScriptId;

const BYTES_MAX: usize = 16 << 20;

/// Shared by all runs that are a part of one another.
#[derive(Clone, Default)]
pub(super) struct CalledImages(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    images: HashMap<(ScriptId, i64), Image>,
    bytes: usize,
}

impl CalledImages {
    /// The image of a version that was called before.
    pub(super) fn find(&self, script_id: &ScriptId, version: i64) -> Option<Image> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.images.get(&(script_id.clone(), version)).cloned()
    }

    /// Keeps an image, if there is room.
    pub(super) fn keep(&self, script_id: ScriptId, version: i64, image: Image) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.bytes + image.size_bytes();
        if bytes <= BYTES_MAX && kept.images.insert((script_id, version), image).is_none() {
            kept.bytes = bytes;
        }
    }
}
