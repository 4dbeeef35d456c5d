//! The owner key: its holder is the owner.
//!
//! It is generated at the first start, or comes from `PICLOUD_OWNER_KEY`. The database holds only
//! its SHA-256. A key has 256 random bits, so a slow hash would add no protection.
//!
//! Invariant: a key is compared in constant time, and is never stored or logged.
//! Invariant: when a key is replaced, its sessions and the API keys created with it end in the same
//! transaction.

use std::str::FromStr;

use super::{Change, KeyHash, Principal};
use crate::clock::Clock;
use crate::error::{Error, Refusal};
use crate::store::{self, Resource, Store};

/// The name of the setting that holds the key's hash.
pub(crate) const SETTING: &str = "owner_key_sha256";
/// The prefix of a generated key, so that a leaked key can be recognised.
const KEY_PREFIX: &str = "pco_";
/// The number of random bytes in a key.
const RANDOM_BYTES: usize = 32;
/// A shorter key could be guessed.
const KEY_CHARS_MIN: usize = 16;
/// A shorter new key could be guessed by a patient attacker.
pub const NEW_KEY_CHARS_MIN: usize = 32;
/// A longer key would not fit into a header everywhere.
const KEY_CHARS_MAX: usize = 512;

/// The owner key in clear text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerKey(String);

/// The text cannot be an owner key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{KEY_CHARS_MIN} to {KEY_CHARS_MAX} printable ASCII characters without spaces")]
pub struct OwnerKeyError;

impl OwnerKey {
    /// Generates a key of 256 random bits.
    #[must_use]
    pub fn generate(clock: &Clock) -> Self {
        Self(format!("{KEY_PREFIX}{}", hex::encode(clock.random::<RANDOM_BYTES>())))
    }

    /// The key itself, to be printed once or sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn sha256(&self) -> KeyHash {
        KeyHash::of(self.0.as_bytes())
    }
}

impl FromStr for OwnerKey {
    type Err = OwnerKeyError;

    fn from_str(text: &str) -> Result<Self, OwnerKeyError> {
        let fits = (KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&text.len());
        let sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && sendable { Ok(Self(text.to_owned())) } else { Err(OwnerKeyError) }
    }
}

impl std::fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerKey(***)")
    }
}

/// Whether a key has the form of a generated one.
pub(super) fn is_made(key: &[u8]) -> bool {
    let random = key.strip_prefix(KEY_PREFIX.as_bytes());
    random.is_some_and(|hex| hex.len() == 2 * RANDOM_BYTES && hex.iter().all(u8::is_ascii_hexdigit))
}

/// The result of loading the owner key.
pub(super) struct StoredOwnerKey {
    pub(super) hash: KeyHash,
    /// The key, if it has just been generated.
    pub(super) generated: Option<OwnerKey>,
}

/// Loads the key's hash. A configured key replaces it. Generates a key if neither exists.
pub(super) async fn load(
    store: &Store,
    clock: &Clock,
    configured: Option<&OwnerKey>,
) -> Result<StoredOwnerKey, Error> {
    if let Some(key) = configured {
        check_length(store, key).await?;
        save(store, clock, key).await?;
        return Ok(StoredOwnerKey { hash: key.sha256(), generated: None });
    }
    if let Some(hash) = store.find_setting(SETTING).await? {
        return Ok(StoredOwnerKey { hash: KeyHash::from_hex(&hash)?, generated: None });
    }
    let key = OwnerKey::generate(clock);
    if store.insert_setting(SETTING, &key.sha256().to_hex(), clock.now_us()).await? {
        return Ok(StoredOwnerKey { hash: key.sha256(), generated: Some(key) });
    }
    // Another process was faster, and has printed its key.
    let hash = store.find_setting(SETTING).await?.unwrap_or_default();
    Ok(StoredOwnerKey { hash: KeyHash::from_hex(&hash)?, generated: None })
}

/// Whether the key matches the hash in the database. Another key may have replaced the one that
/// this server started with.
pub(super) async fn is_current(store: &Store, key: &[u8]) -> Result<bool, Error> {
    let hash = store.find_setting(SETTING).await?;
    hash.map_or(Ok(false), |hash| Ok(KeyHash::from_hex(&hash)?.matches(key)))
}

/// Replaces the key in the database; `None` if there was no key.
pub(super) async fn reset(store: &Store, clock: &Clock) -> Result<Option<OwnerKey>, Error> {
    let key = OwnerKey::generate(clock);
    let hash = key.sha256().to_hex();
    match replace(store, clock, &hash, "reset_owner_key").await {
        Ok(()) => Ok(Some(key)),
        Err(store::Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a new key that is short. A short key that is already in use stays valid.
async fn check_length(store: &Store, key: &OwnerKey) -> Result<(), Error> {
    let chars = key.0.len();
    if chars >= NEW_KEY_CHARS_MIN {
        return Ok(());
    }
    if !is_current(store, key.0.as_bytes()).await? {
        let message = format!(
            "PICLOUD_OWNER_KEY has {chars} characters, and a new owner key must have at least \
             {NEW_KEY_CHARS_MIN}: `openssl rand -hex 24` generates one"
        );
        return Err(Error::Invalid(Refusal::new("owner_key_short", message)));
    }
    tracing::warn!(
        "PICLOUD_OWNER_KEY has {chars} characters and could be guessed: set one of at least \
         {NEW_KEY_CHARS_MIN}, such as `openssl rand -hex 24` generates"
    );
    Ok(())
}

async fn save(store: &Store, clock: &Clock, key: &OwnerKey) -> Result<(), Error> {
    let (hash, now) = (key.sha256().to_hex(), clock.now_us());
    if !store.insert_setting(SETTING, &hash, now).await? {
        let unchanged = store.find_setting(SETTING).await?.as_deref() == Some(hash.as_str());
        if !unchanged {
            replace(store, clock, &hash, "change_owner_key").await?;
        }
    }
    Ok(())
}

/// Replaces the key, with an audit entry: the operator of the machine acts as the owner.
async fn replace(
    store: &Store,
    clock: &Clock,
    hash: &str,
    action: &'static str,
) -> Result<(), store::Error> {
    let change = Change::new(action, Resource::Setting, SETTING, "owner key");
    let store = store.on_behalf(change.by(&Principal::Owner, "owner", None, clock));
    let principal = Principal::Owner.to_string();
    store.replace_credential(SETTING, hash, &principal, clock.now_us()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_be_guessed_or_not_be_sent_is_refused() {
        assert!("0123456789abcdef".parse::<OwnerKey>().is_ok());
        for wrong in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdéf"] {
            assert_eq!(wrong.parse::<OwnerKey>(), Err(OwnerKeyError), "{wrong}");
        }
    }
}
