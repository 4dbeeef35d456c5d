//! Finds the master key at a start, and replaces it with another.
//!
//! ```text
//!  environment   PICLOUD_MASTER_KEY new, PICLOUD_MASTER_KEY_PREVIOUS old, start
//!  file          master.key.next written ─▶ secrets rewrapped ─▶ renamed to master.key
//! ```
//!
//! Only the wrapped keys change, each in its own write. After an interrupted rotation every secret
//! is wrapped by the old key or the new one. Both keys are kept until the rotation is repeated and
//! finishes.
//!
//! Invariant: no key is deleted while it wraps a secret.

use std::path::Path;

use super::envelope::{self, Place};
use super::key_file::{self, KEY_FILE, NEXT_KEY_FILE};
use super::{KeyError, KeySettings, Keys, MasterKey};
use crate::clock::Clock;
use crate::store::{self, Store};

/// The number of secrets read at once.
const PAGE_ROWS: i64 = 200;
/// The maximum number of pages of the platform's own secrets to re-wrap: one or two secrets per
/// app, for a million apps.
const APP_SECRET_PAGES_MAX: usize = 10_000;
/// The number of pages without progress after which a rotation gives up.
const STALLS_MAX: u32 = 10;

/// The result of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The id of the master key that now wraps all secrets.
    pub key_id: String,
    /// The number of secrets re-wrapped.
    pub secrets: usize,
}

/// Returns the keys of this process, after wrapping every secret with the newest.
pub(super) async fn settle(
    store: &Store,
    clock: &Clock,
    settings: &KeySettings,
) -> Result<Keys, KeyError> {
    let file = settings.data.join(KEY_FILE);
    let used = store.list_secret_key_ids().await.map_err(|error| in_database(&error))?;
    let keys = match &settings.configured {
        Some(key) => Keys { newest: key.clone(), previous: settings.previous.clone() },
        None => match key_file::read(&settings.data.join(NEXT_KEY_FILE))? {
            // A rotation was interrupted.
            Some(next) => {
                let previous = key_file::read(&file)?;
                let keys = Keys { newest: next, previous };
                check(&keys, &used, settings)?;
                note(store, clock, &keys).await?;
                finish_file(store, clock, settings, &keys).await?;
                return Ok(keys);
            }
            None => Keys {
                newest: find_or_make(&file, clock, &used)?,
                previous: settings.previous.clone(),
            },
        },
    };
    check(&keys, &used, settings)?;
    note(store, clock, &keys).await?;
    let rotated = rewrap_all(store, clock, &keys).await?;
    if rotated.secrets > 0 {
        tracing::info!(
            secrets = rotated.secrets,
            key = rotated.key_id,
            "re-wrapped secrets with a new master key"
        );
    }
    Ok(keys)
}

/// Re-wraps every secret with another master key: the configured one, or a new one in the data
/// folder.
///
/// # Errors
/// As for [`super::Secrets::start`]; an interrupted rotation can be repeated.
pub async fn rotate(
    store: &Store,
    clock: &Clock,
    settings: &KeySettings,
) -> Result<Rotated, KeyError> {
    let used = store.list_secret_key_ids().await.map_err(|error| in_database(&error))?;
    if let Some(key) = &settings.configured {
        if settings.previous.is_none() {
            return Err(KeyError(
                "PICLOUD_MASTER_KEY is set: set PICLOUD_MASTER_KEY_PREVIOUS to its value, \
                 PICLOUD_MASTER_KEY to a new key, and repeat this or start the server"
                    .to_owned(),
            ));
        }
        let keys = Keys { newest: key.clone(), previous: settings.previous.clone() };
        check(&keys, &used, settings)?;
        return rewrap_all(store, clock, &keys).await;
    }
    let (file, next_file) = (settings.data.join(KEY_FILE), settings.data.join(NEXT_KEY_FILE));
    let Some(old) = key_file::read(&file)? else {
        return Err(KeyError(format!(
            "there is no master key {}: the first start of the server creates one",
            file.display()
        )));
    };
    let next = key_file::find_or_create(&next_file, clock)?;
    let keys = Keys { newest: next, previous: Some(old) };
    check(&keys, &used, settings)?;
    finish_file(store, clock, settings, &keys).await
}

async fn finish_file(
    store: &Store,
    clock: &Clock,
    settings: &KeySettings,
    keys: &Keys,
) -> Result<Rotated, KeyError> {
    let rotated = rewrap_all(store, clock, keys).await?;
    key_file::replace(&settings.data.join(NEXT_KEY_FILE), &settings.data.join(KEY_FILE))?;
    Ok(rotated)
}

fn find_or_make(file: &Path, clock: &Clock, used: &[String]) -> Result<MasterKey, KeyError> {
    if !used.is_empty() && key_file::read(file)?.is_none() {
        return Err(KeyError(format!(
            "the database has secrets under the master key {}, and there is neither \
             PICLOUD_MASTER_KEY nor {}: restore the key, for example from a backup",
            used.join(", "),
            file.display()
        )));
    }
    key_file::find_or_create(file, clock)
}

/// Refuses keys that cannot open all secrets.
fn check(keys: &Keys, used: &[String], settings: &KeySettings) -> Result<(), KeyError> {
    let Some(missing) = used.iter().find(|id| keys.find(id).is_none()) else {
        return Ok(());
    };
    let from = match settings.configured {
        Some(_) => "PICLOUD_MASTER_KEY".to_owned(),
        None => settings.data.join(KEY_FILE).display().to_string(),
    };
    let file = key_file::read(&settings.data.join(KEY_FILE)).ok().flatten();
    let hint = match file {
        Some(key) if key.id() == *missing => format!(
            "; the old key is in {}: to use the new key, set PICLOUD_MASTER_KEY_PREVIOUS to the \
             old one",
            settings.data.join(KEY_FILE).display()
        ),
        _ => "; to use a new key, set PICLOUD_MASTER_KEY_PREVIOUS to the old key".to_owned(),
    };
    Err(KeyError(format!(
        "the database has secrets under the master key {missing}, and {from} is {}{hint}",
        keys.newest.id()
    )))
}

/// Makes the newest key the only one that seals secrets, also for nodes with another key.
async fn note(store: &Store, clock: &Clock, keys: &Keys) -> Result<(), KeyError> {
    let noted = store.note_master_key(&keys.newest.id(), clock.now_us()).await;
    noted.map_err(|error| in_database(&error))
}

async fn rewrap_all(store: &Store, clock: &Clock, keys: &Keys) -> Result<Rotated, KeyError> {
    let rotated = rewrap_secrets(store, clock, keys).await?;
    rewrap_app_secrets(store, clock, keys).await?;
    Ok(rotated)
}

/// Re-wraps the platform's own secrets of the previous key. A secret that cannot be opened stays
/// unchanged: no user has set it.
async fn rewrap_app_secrets(store: &Store, clock: &Clock, keys: &Keys) -> Result<(), KeyError> {
    let (newest, Some(previous)) = (&keys.newest, &keys.previous) else { return Ok(()) };
    if previous.id() == newest.id() {
        return Ok(());
    }
    for _ in 0..APP_SECRET_PAGES_MAX {
        let page = store.list_app_secrets_under(&previous.id(), PAGE_ROWS).await;
        let page = page.map_err(|error| in_database(&error))?;
        let (count, mut done) = (page.len(), 0);
        for secret in page {
            let place = Place { app_id: &secret.app_id, name: &secret.id };
            let wrapped = envelope::rewrap(clock, previous, newest, place, &secret.wrapped_key);
            let Ok(wrapped) = wrapped else {
                tracing::warn!(app = %secret.app_id, id = secret.id, "a key of stored requests is damaged");
                continue;
            };
            let rewrapped = store.rewrap_app_secret(secret, wrapped, newest.id()).await;
            done += usize::from(rewrapped.map_err(|error| in_database(&error))?);
        }
        if count == 0 || done == 0 {
            break;
        }
    }
    Ok(())
}

async fn rewrap_secrets(store: &Store, clock: &Clock, keys: &Keys) -> Result<Rotated, KeyError> {
    let key_id = keys.newest.id();
    let (mut secrets, mut stalls, mut has_begun) = (0, 0, false);
    while stalls < STALLS_MAX {
        let page = store.list_secrets_to_rewrap(&key_id, PAGE_ROWS).await;
        let page = page.map_err(|error| in_database(&error))?;
        if page.is_empty() {
            return Ok(Rotated { key_id, secrets });
        }
        if !has_begun {
            // From here on, nodes with the old key cannot add secrets.
            let begun = store.begin_rewrapping(&key_id, clock.now_us()).await;
            begun.map_err(|error| in_database(&error))?;
            has_begun = true;
        }
        let mut done = 0;
        for secret in page {
            done += usize::from(rewrap(store, clock, keys, secret).await?);
        }
        secrets += done;
        stalls = if done == 0 { stalls + 1 } else { 0 };
    }
    Err(KeyError("secrets change faster than they are re-wrapped with the new key".to_owned()))
}

/// Re-wraps a secret; `false` if it has changed in between.
async fn rewrap(
    store: &Store,
    clock: &Clock,
    keys: &Keys,
    secret: store::Secret,
) -> Result<bool, KeyError> {
    let place = Place { app_id: &secret.app_id, name: &secret.name };
    let from = keys.find(&secret.key_id);
    let wrapped =
        from.map(|from| envelope::rewrap(clock, from, &keys.newest, place, &secret.wrapped_key));
    let Some(Ok(wrapped)) = wrapped else {
        return Err(KeyError(format!(
            "the secret {} of app {} cannot be opened with the master key {}: it is damaged; set \
             or delete it with the old key",
            secret.name, secret.app_id, secret.key_id
        )));
    };
    let rewrapped = store.rewrap_secret(secret, wrapped, keys.newest.id()).await;
    rewrapped.map_err(|error| in_database(&error))
}

fn in_database(error: &store::Error) -> KeyError {
    KeyError(format!("the secrets in the database: {error}"))
}
