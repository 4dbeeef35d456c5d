//! Compares the current versions with those that runs read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::{CollectionKey, Read, Stamp, Write};
use crate::store::dialect::Dialect;
use crate::store::{AppId, Operation, Result, Space, bulk};

/// The versions of everything that the runs of a group read or wrote.
#[derive(Default)]
pub(super) struct State {
    collections: HashMap<CollectionKey, i64>,
    entries: HashMap<(CollectionKey, String), i64>,
    /// The writes of the accepted runs, the last one for each name.
    pub(super) written: BTreeMap<(CollectionKey, String), (Write, i64)>,
    /// The time of this state, µs.
    now: i64,
}

#[derive(FromRow)]
struct VersionRow {
    app_id: AppId,
    #[sqlx(try_from = "String")]
    space: Space,
    collection: String,
    name: String,
    version: i64,
}

impl State {
    /// Reads the current state. On PostgreSQL the collections stay locked until the transaction
    /// ends. Everything read or written belongs to one of them, including entries that do not exist
    /// yet.
    pub(super) async fn read<'a>(
        connection: &mut AnyConnection,
        dialect: Dialect,
        reads: impl Iterator<Item = &'a Read> + Clone,
        writes: &[&Write],
        now: i64,
    ) -> Result<Self> {
        let listed = reads.clone().map(|read| &read.collection);
        let written = writes.iter().map(|write| &write.collection);
        let collections: BTreeSet<_> = listed.chain(written).collect();
        let names: BTreeSet<_> = reads
            .filter_map(|read| Some((&read.collection, read.name.as_ref()?)))
            .chain(writes.iter().map(|write| (&write.collection, &write.name)))
            .collect();
        let mut state = Self { now, ..Self::default() };
        if !writes.is_empty() {
            lock(connection, dialect, &collections).await?;
        }
        let rows: Vec<_> =
            collections.iter().map(|key| (&key.app_id, key.space, &key.name)).collect();
        if !rows.is_empty() {
            let query = format!(
                "SELECT c.app_id, c.space, c.name AS collection, '' AS name, c.version \
                 FROM {} JOIN collections c ON c.app_id = r.value->>0 AND c.space = r.value->>1 \
                 AND c.name = r.value->>2",
                dialect.rows()
            );
            let found: Vec<VersionRow> = sqlx::query_as(AssertSqlSafe(query))
                .bind(bulk::json(&rows)?)
                .fetch_all(&mut *connection)
                .await?;
            state.collections = found.into_iter().map(|row| (row.key(), row.version)).collect();
        }
        let rows: Vec<_> =
            names.iter().map(|(key, name)| (&key.app_id, key.space, &key.name, name)).collect();
        if !rows.is_empty() {
            let query = format!(
                "SELECT e.app_id, e.space, e.collection, e.name, e.version \
                 FROM {} JOIN entries e ON e.app_id = r.value->>0 AND e.space = r.value->>1 \
                 AND e.collection = r.value->>2 AND e.name = r.value->>3 \
                 WHERE e.expires_at IS NULL OR e.expires_at > $2",
                dialect.rows()
            );
            let found: Vec<VersionRow> = sqlx::query_as(AssertSqlSafe(query))
                .bind(bulk::json(&rows)?)
                .bind(now)
                .fetch_all(connection)
                .await?;
            let versions = found.into_iter().map(|row| ((row.key(), row.name), row.version));
            state.entries = versions.collect();
        }
        Ok(state)
    }

    /// Whether these reads would return the same now.
    pub(super) fn agrees_with(&self, reads: &[Read]) -> bool {
        reads.iter().all(|read| {
            let now = match &read.name {
                Some(name) => self.version(&read.collection, name),
                None => self.collections.get(&read.collection).copied().unwrap_or(0),
            };
            let has_expired = read.until.is_some_and(|until| until <= self.now);
            now == read.version && !has_expired
        })
    }

    fn version(&self, collection: &CollectionKey, name: &str) -> i64 {
        // The key must be owned; the cost per read is small compared to a statement.
        self.entries.get(&(collection.clone(), name.to_owned())).copied().unwrap_or(0)
    }

    /// Applies the writes of one run and returns the operation of each. The operation is `None` for
    /// a deletion of an entry that did not exist.
    pub(super) fn accept(&mut self, writes: &[Write]) -> Vec<Option<Operation>> {
        let mut moved = BTreeSet::new();
        let operations = writes.iter().map(|write| {
            let there = self.version(&write.collection, &write.name) != 0;
            let operation = match (there, &write.value) {
                (true, Some(_)) => Operation::Update,
                (false, Some(_)) => Operation::Insert,
                (true, None) => Operation::Delete,
                (false, None) => return None,
            };
            if moved.insert(&write.collection) {
                *self.collections.entry(write.collection.clone()).or_default() += 1;
            }
            let version = self.collections[&write.collection];
            let key = (write.collection.clone(), write.name.clone());
            let entry_version = if write.value.is_some() { version } else { 0 };
            self.entries.insert(key.clone(), entry_version);
            self.written.insert(key, (write.clone(), version));
            Some(operation)
        });
        operations.collect()
    }

    /// Returns the version and time of a write that was just accepted.
    pub(super) fn stamp(&self, write: &Write) -> Option<Stamp> {
        let version = self.version(&write.collection, &write.name);
        (version > 0).then_some(Stamp { version, updated_at: self.now })
    }

    /// Returns the collections that were written to, with their new versions.
    pub(super) fn moved_collections(&self) -> Vec<(&CollectionKey, i64)> {
        let written: BTreeSet<_> = self.written.keys().map(|(collection, _)| collection).collect();
        written.into_iter().map(|collection| (collection, self.collections[collection])).collect()
    }
}

impl VersionRow {
    fn key(&self) -> CollectionKey {
        CollectionKey {
            app_id: self.app_id.clone(),
            space: self.space,
            name: self.collection.clone(),
        }
    }
}

/// Creates missing collections, and on PostgreSQL locks all of them against other nodes. The order
/// is always the same, so that two nodes cannot deadlock.
async fn lock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    collections: &BTreeSet<&CollectionKey>,
) -> Result<()> {
    let rows: Vec<_> = collections.iter().map(|key| (&key.app_id, key.space, &key.name)).collect();
    let insert = format!(
        "INSERT INTO collections (app_id, space, name, version) \
         SELECT r.value->>0, r.value->>1, r.value->>2, 0 FROM {} WHERE true \
         ON CONFLICT (app_id, space, name) DO NOTHING",
        dialect.rows()
    );
    bulk::run(connection, insert, &rows).await?;
    let lock = dialect.lock_rows("c");
    if !lock.is_empty() {
        let query = format!(
            "SELECT c.version FROM {} JOIN collections c ON c.app_id = r.value->>0 \
             AND c.space = r.value->>1 AND c.name = r.value->>2 \
             ORDER BY c.app_id, c.space, c.name{lock}",
            dialect.rows()
        );
        sqlx::query(AssertSqlSafe(query)).bind(bulk::json(&rows)?).fetch_all(connection).await?;
    }
    Ok(())
}
