//! Seals callers' credentials in stored requests with a key of the app.
//!
//! ```text
//! credentials ──XChaCha20-Poly1305 (request key)─▶ stored with the request
//! request key ──envelope (master key)────────────▶ app_secrets
//! ```
//!
//! A rotation of the master key re-wraps the request keys, and leaves stored requests unchanged. A
//! request key whose master key is lost cannot be opened: a new key replaces it for later requests.
//! Requests sealed by the lost key stay sealed until the master key is restored.
//!
//! Invariant: text sealed for one app cannot be opened for another.

use std::sync::Arc;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::{self, Envelope, Place, Unopened};
use super::master_key::KEY_BYTES;
use super::{Error, Inner, SecretValue, Secrets};
use crate::clock::Clock;
use crate::store::{self, AppId, AppSecret};

/// The name of these keys in `app_secrets`.
pub(super) const NAME: &str = "requests";
/// The purpose that is authenticated with sealed text.
const PURPOSE: &str = "picloud stored request v1";
/// The purpose that is authenticated with a tag.
const TAG_PURPOSE: &[u8] = b"picloud caller tag v1";

/// An app's key that seals its stored requests. Cheap to clone; `Debug` does not show it.
#[derive(Clone)]
pub struct RequestKey(Arc<Key>);

struct Key {
    id: String,
    app_id: AppId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RequestKey({})", self.0.id)
    }
}

impl RequestKey {
    /// Seals a text for this app's keys. Returns the key's id, a dot, and base64.
    ///
    /// # Errors
    /// Never in practice: the cipher accepts any text that fits in memory.
    pub fn seal(&self, clock: &Clock, text: &str) -> Result<String, Error> {
        let Key { id, app_id, bytes } = &*self.0;
        let bound = Place { app_id, name: id }.bound_to(PURPOSE);
        let sealed = envelope::encrypt(clock, bytes, &bound, text.as_bytes());
        let sealed = sealed.map_err(|Unopened| unopened(app_id, id))?;
        Ok(format!("{id}.{sealed}"))
    }

    /// Returns a tag that distinguishes callers by their credentials, and reveals nothing without
    /// the key.
    #[must_use]
    pub fn tag(&self, text: &[u8]) -> String {
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.0.bytes) else {
            return String::new();
        };
        mac.update(TAG_PURPOSE);
        mac.update(text);
        hex::encode(mac.finalize().into_bytes())
    }

    fn open(&self, sealed: &str) -> Result<Zeroizing<String>, Unopened> {
        let Key { id, app_id, bytes } = &*self.0;
        let bound = Place { app_id, name: id }.bound_to(PURPOSE);
        let mut text = envelope::decrypt(bytes, &bound, sealed)?;
        String::from_utf8(std::mem::take(&mut *text)).map(Zeroizing::new).map_err(|_| Unopened)
    }
}

impl Secrets {
    /// Returns the key that seals an app's requests. Creates one if no existing key can be opened.
    ///
    /// # Errors
    /// As [`Store::insert_app_secret`](crate::store::Store::insert_app_secret).
    pub async fn request_key(&self, app_id: &AppId) -> Result<RequestKey, Error> {
        let inner = &*self.inner;
        if let Some(key) = inner.request_keys.get(&(app_id.clone(), None)).await {
            return Ok(key);
        }
        let there = inner.store.list_app_secrets(app_id, NAME).await?;
        let key = match there.iter().find_map(|row| opened(inner, row)) {
            Some(key) => key,
            None => make(inner, app_id).await?,
        };
        inner.request_keys.insert((app_id.clone(), None), key.clone()).await;
        Ok(key)
    }

    /// Opens text sealed by [`RequestKey::seal`] for this app. `None` if it cannot be opened,
    /// because its master key is lost or it is damaged.
    ///
    /// # Errors
    /// `Store`.
    pub async fn open_request(
        &self,
        app_id: &AppId,
        sealed: &str,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        let inner = &*self.inner;
        let Some((id, sealed)) = sealed.split_once('.') else { return Ok(None) };
        let place = (app_id.clone(), Some(id.to_owned()));
        let key = match inner.request_keys.get(&place).await {
            Some(key) => key,
            None => {
                let there = inner.store.list_app_secrets(app_id, NAME).await?;
                let row = there.iter().find(|row| row.id.as_str() == id);
                let Some(key) = row.and_then(|row| opened(inner, row)) else { return Ok(None) };
                inner.request_keys.insert(place, key.clone()).await;
                key
            }
        };
        Ok(key.open(sealed).ok())
    }
}

async fn make(inner: &Inner, app_id: &AppId) -> Result<RequestKey, Error> {
    let Inner { store, clock, keys, .. } = inner;
    let (id, key) = (clock.new_id().to_string(), Zeroizing::new(clock.random::<KEY_BYTES>()));
    let (place, value) = (Place { app_id, name: &id }, SecretValue::from(hex::encode(*key)));
    let envelope = envelope::seal(clock, &keys.newest, place, &value);
    let Envelope { sealed_value, wrapped_key } =
        envelope.map_err(|Unopened| unopened(app_id, &id))?;
    let row = AppSecret {
        id: id.clone(),
        app_id: app_id.clone(),
        name: NAME.to_owned(),
        sealed_value,
        wrapped_key,
        key_id: keys.newest.id(),
        created_at: clock.now_us(),
    };
    store.insert_app_secret(row).await?;
    Ok(RequestKey(Arc::new(Key { id, app_id: app_id.clone(), bytes: key })))
}

/// Returns the key of a row, if this process can open it.
fn opened(inner: &Inner, row: &store::AppSecret) -> Option<RequestKey> {
    let master = inner.keys.find(&row.key_id)?;
    let envelope =
        Envelope { sealed_value: row.sealed_value.clone(), wrapped_key: row.wrapped_key.clone() };
    let place = Place { app_id: &row.app_id, name: &row.id };
    let value = envelope::open(master, place, &envelope).ok()?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(value.reveal(), &mut *bytes).ok()?;
    let (id, app_id) = (row.id.clone(), row.app_id.clone());
    Some(RequestKey(Arc::new(Key { id, app_id, bytes })))
}

fn unopened(app_id: &AppId, id: &str) -> Error {
    Error::Sealed { app_id: app_id.clone(), name: NAME.to_owned(), key_id: id.to_owned() }
}
