//! The read connections: scripts never wait for the admin API.
//!
//! A list of the admin API takes milliseconds. Eight of them at once used to take every connection,
//! and requests to scripts got 503. So each side has its own pool.

use sqlx::AnyPool;

use super::{Reads, Store};

/// The numbers of read connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readers {
    /// For scripts, requests and events.
    pub scripts: u32,
    /// For the admin API.
    pub admin: u32,
}

impl Default for Readers {
    fn default() -> Self {
        Self { scripts: 8, admin: 4 }
    }
}

impl Store {
    /// Returns this store for the admin API, which uses its own read connections.
    #[must_use]
    pub fn for_admin(&self) -> Self {
        let reads = Reads { is_admin: true, ..self.reads.clone() };
        Self { reads, entry: self.entry.clone() }
    }

    /// Returns a handle that only reads.
    #[must_use]
    pub fn read_only(&self) -> Reads {
        self.reads.clone()
    }
}

impl Reads {
    pub(super) fn reads(&self) -> &AnyPool {
        if self.is_admin { &self.inner.admin_reads } else { &self.inner.reads }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;
    use crate::store::{DatabaseUrl, Page, Settings};

    const ALL: Page = Page { limit: 100, offset: 0 };

    #[tokio::test]
    async fn scripts_read_while_the_admin_api_has_all_its_connections() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        let readers = Readers { scripts: 1, admin: 2 };
        let settings = Settings { readers, ..Settings::default() };
        let store = Store::open_with(&url, settings).await.unwrap();
        let admin = store.for_admin();
        let held = [admin.reads().acquire().await.unwrap(), admin.reads().acquire().await.unwrap()];
        let mut waiting = pin!(admin.list_apps(ALL));
        assert!(poll!(waiting.as_mut()).is_pending());
        assert!(admin.reads().try_acquire().is_none());

        assert_eq!(store.list_apps(ALL).await.unwrap(), []);
        drop(held);
        assert_eq!(waiting.await.unwrap(), []);
    }
}
