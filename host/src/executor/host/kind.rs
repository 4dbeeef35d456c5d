//! The kinds of host, without the services, so that the state of a run can name its host.

#[cfg(test)]
pub(in crate::executor) use journal::{Journal, Served};

/// The host of one run.
#[derive(Clone, Debug, Default)]
pub(in crate::executor) enum RunHost {
    /// The services.
    #[default]
    Live,
    /// The services, with a recording of their replies.
    #[cfg(test)]
    Recording(Journal),
    /// The recorded replies of an earlier run.
    #[cfg(test)]
    Replay(Journal),
}

#[cfg(test)]
mod journal {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex, PoisonError};

    use picloud_shared::calls::Op;

    /// One served call.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(in crate::executor) struct Served {
        pub(in crate::executor) op: Op,
        pub(in crate::executor) request: Vec<u8>,
        pub(in crate::executor) reply: Vec<u8>,
        /// Fuel that the call costs in addition to its bytes.
        pub(in crate::executor) owed_fuel: u64,
        /// Fuel that the call itself used: a called script's.
        pub(in crate::executor) used_fuel: u64,
    }

    /// The calls of a run, in order. Clones share them.
    #[derive(Clone, Debug, Default)]
    pub(in crate::executor) struct Journal(Arc<Mutex<VecDeque<Served>>>);

    impl Journal {
        pub(in crate::executor) fn push(&self, served: Served) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(served);
        }

        pub(in crate::executor) fn pop(&self) -> Option<Served> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
        }

        /// Returns a copy of the calls that are left.
        pub(in crate::executor) fn left(&self) -> Vec<Served> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
        }

        /// Returns a journal of its own with the same calls.
        pub(in crate::executor) fn copy(&self) -> Self {
            Self(Arc::new(Mutex::new(self.left().into())))
        }
    }
}
