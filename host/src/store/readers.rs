//! Who reads by which connections: scripts never wait for the admin API.
//!
//! A list of the admin API takes milliseconds, and eight of them at once held every connection,
//! so that a request to a script got 503. Each side has a pool of its own.

use sqlx::AnyPool;

use super::Store;

/// How many connections read at once.
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
    /// The same store for the admin API: it reads by connections of its own.
    #[must_use]
    pub fn for_admin(&self) -> Self {
        Self { is_admin: true, ..self.clone() }
    }

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
