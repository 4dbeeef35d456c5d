//! API keys: their form, and the lookup of their owner.
//!
//! ```text
//!  pck_1f2e3d4c5b6a_<64 hexadecimal digits><8 of a checksum>
//!  └─── prefix ───┘ └──── 256 random bits ─┘└ CRC-32 of what is before it
//! ```
//!
//! The prefix is not secret and finds the key's row. The checksum detects a mistyped key without a
//! database read, and lets a secret scanner recognise a key.
//!
//! Invariant: a key is shown once, when it is created. Only its SHA-256 is stored, and it is
//! compared in constant time.

use std::collections::BTreeSet;

use super::KeyHash;
use super::caller::KeyGrant;
use super::capability::Scope;
use super::principal::Principal;
use crate::clock::Clock;
use crate::error::Error;
use crate::store::{self, Store};

const BEGINNING: &str = "pck_";
const PREFIX_RANDOM_BYTES: usize = 6;
const PREFIX_CHARS: usize = BEGINNING.len() + 2 * PREFIX_RANDOM_BYTES;
const SECRET_CHARS: usize = 64;
const CHECKSUM_CHARS: usize = 8;
const KEY_CHARS: usize = PREFIX_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;

/// The shortest time between two records of a key's last use, µs.
const USE_NOTED_US: i64 = 60 * 1_000_000;

/// A new key.
pub struct NewKey {
    /// The key itself: to be shown once.
    pub text: String,
    /// The part that is not secret.
    pub prefix: String,
    /// The stored hash.
    pub sha256: String,
}

/// Generates a key.
#[must_use]
pub fn generate(clock: &Clock) -> NewKey {
    let random = hex::encode(clock.random::<PREFIX_RANDOM_BYTES>());
    let prefix = format!("{BEGINNING}{random}");
    let body = format!("{prefix}_{}", hex::encode(clock.random::<32>()));
    let text = format!("{body}{}", checksum(&body));
    let sha256 = KeyHash::of(text.as_bytes()).to_hex();
    NewKey { text, prefix, sha256 }
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// Returns the prefix of a key, if the text has the form of one.
fn prefix_of(key: &[u8]) -> Option<&str> {
    let key = std::str::from_utf8(key).ok().filter(|key| key.len() == KEY_CHARS)?;
    let (body, sum) = key.split_at_checked(KEY_CHARS - CHECKSUM_CHARS)?;
    let is_one = key.starts_with(BEGINNING) && checksum(body) == sum;
    is_one.then(|| key.split_at_checked(PREFIX_CHARS)).flatten().map(|(prefix, _)| prefix)
}

/// Whether the text has the form of a key.
pub(super) fn is_key(key: &[u8]) -> bool {
    prefix_of(key).is_some()
}

/// Returns the principal and the rights of a key; `None` if it does not exist or has expired.
///
/// # Errors
/// `Unavailable` from the store.
pub(super) async fn find(
    (store, clock): (&Store, &Clock),
    key: &[u8],
) -> Result<Option<(Principal, KeyGrant)>, Error> {
    let Some(prefix) = prefix_of(key) else { return Ok(None) };
    let Some(found) = store.find_api_key_by_prefix(prefix).await? else { return Ok(None) };
    let now = clock.now_us();
    let is_right = KeyHash::from_hex(&found.key_sha256)?.matches(key);
    if !is_right || found.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Ok(None);
    }
    let Some(principal) = Principal::of(&found.principal) else { return Ok(None) };
    note_use(store, &found, now).await;
    let grant = KeyGrant {
        scopes: scopes_of(&found.scopes),
        id: found.id,
        prefix: found.prefix,
        app_id: found.app_id,
        expires_at: found.expires_at,
    };
    Ok(Some((principal, grant)))
}

/// Records the use of a key. A failure does not refuse the request.
async fn note_use(store: &Store, key: &store::ApiKey, now: i64) {
    if key.last_used_at.is_some_and(|noted| now - noted < USE_NOTED_US) {
        return;
    }
    if let Err(error) = store.note_api_key_use(&key.id, now).await {
        tracing::warn!(%error, key = key.prefix, "the last use of a key was not recorded");
    }
}

/// Parses stored scopes. Returns no scopes if this version does not know one of them, because a
/// newer release may have meant it as a restriction.
#[must_use]
pub fn scopes_of(stored: &str) -> BTreeSet<Scope> {
    let scopes: Option<_> = stored.split_ascii_whitespace().map(Scope::of).collect();
    scopes.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_what_it_is_and_whether_it_was_mistyped() {
        let key = generate(&Clock::system());
        assert_eq!(key.text.len(), KEY_CHARS);
        assert!(key.text.starts_with(&key.prefix) && key.prefix.len() == 16);
        assert_eq!(prefix_of(key.text.as_bytes()), Some(key.prefix.as_str()));
        for at in 0..key.text.len() {
            let mut mistyped = key.text.clone().into_bytes();
            mistyped[at] = if mistyped[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(prefix_of(&mistyped), None, "character {at}");
        }
        for wrong in ["", "pck_", &key.prefix, &key.text[1..], &format!("{}0", key.text)] {
            assert_eq!(prefix_of(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(prefix_of(&[0xff; KEY_CHARS]), None);
    }

    #[test]
    fn an_unknown_scope_closes_the_key() {
        let scopes = scopes_of("script:read log:read");
        assert_eq!(scopes.into_iter().collect::<Vec<_>>(), [Scope::ScriptRead, Scope::LogRead]);
        assert!(scopes_of("script:read everything log:read").is_empty());
        assert!(scopes_of("").is_empty());
    }
}
