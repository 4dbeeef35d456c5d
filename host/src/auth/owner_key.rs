//! The owner key: who has it is the owner.
//!
//! It is made at the first start, or comes from `PICLOUD_OWNER_KEY`. The database
//! has its SHA-256 only: a key is 256 random bits, so that a slow hash would protect
//! nothing.
//!
//! Invariant: a key is compared in constant time, is never stored and never logged.
//! Invariant: with a key end the sessions that were begun with it and the API keys that were
//! made with it, in the same transaction.

use std::str::FromStr;

use super::{Change, KeyHash, Principal};
use crate::clock::Clock;
use crate::error::{Error, Refusal};
use crate::store::{self, Resource, Store};

/// Under which name the database has the key's hash.
pub(crate) const SETTING: &str = "owner_key_sha256";
/// What a key made by us begins with, so that it is recognised where it leaks.
const KEY_PREFIX: &str = "pco_";
/// How many of its bytes are random.
const RANDOM_BYTES: usize = 32;
/// Fewer characters could be guessed.
const KEY_CHARS_MIN: usize = 16;
/// Fewer in a new key could be guessed by somebody who has time.
pub const NEW_KEY_CHARS_MIN: usize = 32;
/// More would not fit into a header everywhere.
const KEY_CHARS_MAX: usize = 512;

/// The owner key in the clear. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerKey(String);

/// The text cannot be an owner key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{KEY_CHARS_MIN} to {KEY_CHARS_MAX} printable ASCII characters without spaces")]
pub struct OwnerKeyError;

impl OwnerKey {
    /// A new key of 256 random bits.
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

/// Whether a key has the form of those that are made here.
pub(super) fn is_made(key: &[u8]) -> bool {
    let random = key.strip_prefix(KEY_PREFIX.as_bytes());
    random.is_some_and(|hex| hex.len() == 2 * RANDOM_BYTES && hex.iter().all(u8::is_ascii_hexdigit))
}

/// What the start of a server found out about the owner key.
pub(super) struct Found {
    pub(super) hash: KeyHash,
    /// The key, if there was none and it has just been made.
    pub(super) generated: Option<OwnerKey>,
}

/// Loads the key's hash. A configured key replaces it; when there is neither, a key is
/// made.
pub(super) async fn load(
    store: &Store,
    clock: &Clock,
    configured: Option<&OwnerKey>,
) -> Result<Found, Error> {
    if let Some(key) = configured {
        check_length(store, key).await?;
        save(store, clock, key).await?;
        return Ok(Found { hash: key.sha256(), generated: None });
    }
    if let Some(hash) = store.find_setting(SETTING).await? {
        return Ok(Found { hash: KeyHash::from_hex(&hash)?, generated: None });
    }
    let key = OwnerKey::generate(clock);
    if store.insert_setting(SETTING, &key.sha256().to_hex(), clock.now_us()).await? {
        return Ok(Found { hash: key.sha256(), generated: Some(key) });
    }
    // Another process was faster, and has told its key.
    let hash = store.find_setting(SETTING).await?.unwrap_or_default();
    Ok(Found { hash: KeyHash::from_hex(&hash)?, generated: None })
}

/// Whether the key is the one that the database has now: another one may have taken its place
/// since this server started.
pub(super) async fn is_current(store: &Store, key: &[u8]) -> Result<bool, Error> {
    let hash = store.find_setting(SETTING).await?;
    hash.map_or(Ok(false), |hash| Ok(KeyHash::from_hex(&hash)?.matches(key)))
}

/// Puts a new key in the place of the one in the database; `None` when there was none.
pub(super) async fn reset(store: &Store, clock: &Clock) -> Result<Option<OwnerKey>, Error> {
    let key = OwnerKey::generate(clock);
    let hash = key.sha256().to_hex();
    match replace(store, clock, &hash, "reset_owner_key").await {
        Ok(()) => Ok(Some(key)),
        Err(store::Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a new key that is short; one that was there before goes on.
async fn check_length(store: &Store, key: &OwnerKey) -> Result<(), Error> {
    let chars = key.0.len();
    if chars >= NEW_KEY_CHARS_MIN {
        return Ok(());
    }
    if !is_current(store, key.0.as_bytes()).await? {
        let message = format!(
            "PICLOUD_OWNER_KEY has {chars} characters, and a new owner key must have at least \
             {NEW_KEY_CHARS_MIN}: `openssl rand -hex 24` makes one"
        );
        return Err(Error::Invalid(Refusal::new("owner_key_short", message)));
    }
    tracing::warn!(
        "PICLOUD_OWNER_KEY has {chars} characters and could be guessed: set one of at least \
         {NEW_KEY_CHARS_MIN}, as `openssl rand -hex 24` makes them"
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

/// Replaces the key, with an audit entry: whoever has the machine acts as the owner.
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
