//! Secrets of apps: what a script needs to know and nobody should see.
//!
//! ```text
//! master_key  the key that all others are wrapped with
//! key_file    where the master key is, unless it is in the environment
//! envelope    a value and its own key, encrypted
//! rotation    another master key for the secrets that there are
//! requests    credentials in stored requests
//! credentials which headers and fields hold credentials
//! masking     values taken out of what is logged and stored
//! ```
//!
//! Invariant: a value is in the clear only in memory, while it is set or used.
//! Invariant: whoever sets a secret cannot read it back here; only a run of its app and
//! the ingress for its app are given it.

mod credentials;
mod envelope;
mod key_file;
mod masking;
mod master_key;
mod requests;
mod rotation;

use std::path::PathBuf;
use std::sync::Arc;

use moka::future::Cache;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::store::{self, AppId, SecretFacts, Store};

pub use credentials::is_credential;
use envelope::{Envelope, Place};
pub use key_file::{KEY_FILE, NEXT_KEY_FILE};
pub use masking::{MASK, MASKED_CHARS_MIN, Masker, Maskers, Revealed};
pub use master_key::{MasterKey, MasterKeyError};
pub use requests::RequestKey;
pub use rotation::{Rotated, rotate};

/// The most secrets that an app has.
pub const SECRETS_MAX: i64 = 200;
/// The largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 32 << 10;
/// How many keys of stored requests are kept in memory.
const REQUEST_KEYS_MAX: u64 = 10_000;
/// How much memory encrypted secrets may take that were read lately, in bytes.
const CACHE_BYTES_MAX: u64 = 4 << 20;

/// A value in the clear, wiped when it is dropped. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value without the byte order mark that some editors put before a text.
    #[must_use]
    pub fn without_bom(self) -> Self {
        match self.0.strip_prefix('\u{feff}') {
            Some(rest) => Self::from(rest.to_owned()),
            None => self,
        }
    }
}

impl From<String> for SecretValue {
    fn from(value: String) -> Self {
        Self(Zeroizing::new(value))
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(***)")
    }
}

/// Why a secret was not set or not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is there, and this process cannot open it.
    #[error("the secret {name} of app {app_id} does not open with the master key {key_id}")]
    Sealed {
        /// Whose it is.
        app_id: AppId,
        /// Its name.
        name: String,
        /// What it is wrapped with, according to the database.
        key_id: String,
    },
}

/// Why the server cannot start with these keys, in words for its owner.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The data folder; the key is in there when it is not configured.
    pub data: PathBuf,
    /// The key.
    pub configured: Option<MasterKey>,
    /// The key before, whose secrets are put under the new one.
    pub previous: Option<MasterKey>,
}

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

/// A row as of a revision of the store; encrypted, so that no value stays in memory.
type Seen = (u64, Option<Arc<store::Secret>>);

struct Inner {
    store: Store,
    clock: Clock,
    keys: Keys,
    rows: Cache<(AppId, String), Seen>,
    /// By app and id; the one that seals now has no id here.
    request_keys: Cache<(AppId, Option<String>), RequestKey>,
}

/// The master keys of a process.
struct Keys {
    /// What new secrets are wrapped with.
    newest: MasterKey,
    /// What opens secrets that are not yet under the newest.
    previous: Option<MasterKey>,
}

impl Keys {
    fn find(&self, id: &str) -> Option<&MasterKey> {
        [Some(&self.newest), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id() == id)
    }
}

impl Secrets {
    /// Finds the master key, or makes one at the first start, and puts every secret
    /// that is still under the previous one under it.
    ///
    /// # Errors
    /// When the key is damaged, readable for others, or not the one that the secrets in
    /// the database are under.
    pub async fn start(
        store: &Store,
        clock: &Clock,
        settings: &KeySettings,
    ) -> Result<Self, KeyError> {
        let keys = rotation::settle(store, clock, settings).await?;
        let rows = Cache::builder()
            .max_capacity(CACHE_BYTES_MAX)
            .weigher(|(_, name): &(AppId, String), (_, row): &Seen| {
                let row = row.as_ref().map_or(0, |row| row.sealed_value.len());
                u32::try_from(row + name.len() + size_of::<store::Secret>()).unwrap_or(u32::MAX)
            })
            .build();
        let (store, clock) = (store.clone(), clock.clone());
        let request_keys = Cache::new(REQUEST_KEYS_MAX);
        Ok(Self { inner: Arc::new(Inner { store, clock, keys, rows, request_keys }) })
    }

    /// Sets an app's secret through `store`, which is the same store as this one's, for
    /// somebody. Its name and its size are the caller's to check.
    ///
    /// # Errors
    /// As [`Store::put_secret`].
    pub async fn set(
        &self,
        store: &Store,
        app_id: &AppId,
        name: &str,
        value: &SecretValue,
    ) -> Result<SecretFacts, Error> {
        let Inner { clock, keys, .. } = &*self.inner;
        let (place, key_id, now) = (Place { app_id, name }, keys.newest.id(), clock.now_us());
        let sealed = |_| Error::Sealed {
            app_id: app_id.clone(),
            name: name.to_owned(),
            key_id: key_id.clone(),
        };
        let Envelope { sealed_value, wrapped_key } =
            envelope::seal(clock, &keys.newest, place, value).map_err(sealed)?;
        let secret = store::Secret {
            app_id: app_id.clone(),
            name: name.to_owned(),
            version: 1,
            sealed_value,
            wrapped_key,
            key_id,
            created_at: now,
            updated_at: now,
        };
        Ok(store.put_secret(secret, SECRETS_MAX).await?)
    }

    /// The value of an app's secret, if there is one.
    ///
    /// # Errors
    /// `Sealed` when it does not open, which is for the operator to see to.
    pub async fn reveal(&self, app_id: &AppId, name: &str) -> Result<Option<SecretValue>, Error> {
        let Some(row) = self.find(app_id, name).await? else {
            return Ok(None);
        };
        let sealed = || Error::Sealed {
            app_id: app_id.clone(),
            name: name.to_owned(),
            key_id: row.key_id.clone(),
        };
        let master = self.inner.keys.find(&row.key_id).ok_or_else(sealed)?;
        let envelope = Envelope {
            sealed_value: row.sealed_value.clone(),
            wrapped_key: row.wrapped_key.clone(),
        };
        let opened = envelope::open(master, Place { app_id, name }, &envelope);
        opened.map(Some).map_err(|_| sealed())
    }

    async fn find(&self, app_id: &AppId, name: &str) -> Result<Option<Arc<store::Secret>>, Error> {
        let Inner { store, rows, .. } = &*self.inner;
        let key = (app_id.clone(), name.to_owned());
        // Before the reading, like the definitions: a change in between costs another
        // reading and never an old value.
        let revision = store.revision();
        if let Some((seen_at, row)) = rows.get(&key).await
            && seen_at == revision
        {
            return Ok(row);
        }
        let row = store.find_secret(app_id, name).await?.map(Arc::new);
        rows.insert(key, (revision, row.clone())).await;
        Ok(row)
    }
}
impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Sealed { .. } => Self::internal(error),
        }
    }
}
