//! The key that protects what browsers store for the server: pending sign-ins and proofs of
//! devices. All nodes share it.
//!
//! Anyone who can read the database has it. It cannot be used to sign in: it only proves that a
//! browser was here before.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::Error;
use crate::store::Store;

/// The name of the setting in the database.
const SETTING: &str = "browser_key";
/// The length of the key, and of each key derived from it.
pub(super) const KEY_BYTES: usize = 32;

/// The key.
pub(super) struct BrowserKey(Zeroizing<[u8; KEY_BYTES]>);

impl BrowserKey {
    /// Loads the key, or creates it at the first start.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub(super) async fn start(store: &Store, clock: &Clock) -> Result<Self, Error> {
        let made = hex::encode(clock.random::<KEY_BYTES>());
        store.insert_setting(SETTING, &made, clock.now_us()).await?;
        let found = store.find_setting(SETTING).await?.unwrap_or(made);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(found, &mut *key).map_err(Error::internal)?;
        Ok(Self(key))
    }

    /// Derives a key for one purpose. It reveals nothing about the others.
    pub(super) fn derived(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.0) else {
            return [0; KEY_BYTES];
        };
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}
