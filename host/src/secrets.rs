//! Secrets of apps: values that scripts need and that must not be shown.
//!
//! ```text
//! master_key  the key that wraps all other keys
//! key_file    the master key's file, unless the key is in the environment
//! envelope    encryption of a value with its own key
//! rotation    re-wrapping of secrets with another master key
//! requests    credentials in stored requests
//! credentials the headers and fields that hold credentials
//! masking     removal of values from logs and stored data
//! ```
//!
//! Invariant: a value is in clear only in memory, while it is set or used.
//! Invariant: a value cannot be read back through the API. Only runs of its app, and the ingress
//! for its app, get it.

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

/// The maximum number of secrets of an app.
pub const SECRETS_MAX: i64 = 200;
/// The maximum size of a value, in bytes.
pub const VALUE_BYTES_MAX: usize = 32 << 10;
/// The maximum number of cached keys of stored requests.
const REQUEST_KEYS_MAX: u64 = 10_000;
/// The maximum memory of the cache of encrypted secrets, in bytes.
const CACHE_BYTES_MAX: u64 = 4 << 20;

/// A value in clear, wiped when it is dropped. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Returns the value.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the value without a leading byte order mark, which some editors add.
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

/// The error of setting or reading a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The secret exists, but this process cannot open it.
    #[error("the secret {name} of app {app_id} cannot be opened with the master key {key_id}")]
    Sealed {
        /// The app it belongs to.
        app_id: AppId,
        /// Its name.
        name: String,
        /// The id of the master key that wraps it, according to the database.
        key_id: String,
    },
}

/// The error that stops the server's start because of its keys, in words for operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// The source of the master key.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The data folder, which contains the key unless it is configured.
    pub data: PathBuf,
    /// The configured key.
    pub configured: Option<MasterKey>,
    /// The previous key, whose secrets are re-wrapped with the new one.
    pub previous: Option<MasterKey>,
}

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    inner: Arc<Inner>,
}

/// A row and the store's revision when it was read; encrypted, so that no value stays in memory.
type Seen = (u64, Option<Arc<store::Secret>>);

struct Inner {
    store: Store,
    clock: Clock,
    keys: Keys,
    rows: Cache<(AppId, String), Seen>,
    /// By app and id; the id is `None` for the key that seals new requests.
    request_keys: Cache<(AppId, Option<String>), RequestKey>,
}

/// The master keys of a process.
struct Keys {
    /// The key that wraps new secrets.
    newest: MasterKey,
    /// The key of secrets that are not yet wrapped by the newest.
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
    /// Finds the master key, or creates one at the first start. Re-wraps every secret that the
    /// previous key wraps.
    ///
    /// # Errors
    /// If the key is damaged, if other users can read it, or if it is not the key of the secrets in
    /// the database.
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

    /// Sets an app's secret through `store`, which writes the audit entry of a principal with it.
    /// The caller checks the name and the size.
    ///
    /// # Errors
    /// As for [`Store::put_secret`].
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

    /// Returns the value of an app's secret, if it exists.
    ///
    /// # Errors
    /// `Sealed` if it cannot be opened, which an operator must fix.
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
        // Read first, like the definitions: a change in between costs another read, and never
        // returns an old value.
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
