//! Who may use the admin API: whoever has the owner key.
//!
//! The key is made at the first start, or comes from `PICLOUD_OWNER_KEY`. The
//! database has its SHA-256 only: a key is 256 random bits, so that a slow hash
//! would protect nothing.
//!
//! Invariant: the admin API is never open; there is no setting that opens it.
//! Invariant: a key is compared in constant time, is never stored and never logged.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::error::Error;
use crate::store::{self, Store};

/// Under which name the database has the key's hash.
const SETTING: &str = "owner_key_sha256";
/// What a key made by us begins with, so that it is recognised where it leaks.
const KEY_PREFIX: &str = "pco_";
/// Fewer characters could be guessed.
const KEY_CHARS_MIN: usize = 16;
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
        Self(format!("{KEY_PREFIX}{}", hex::encode(clock.random::<32>())))
    }

    /// The key itself, to be printed once or sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn sha256(&self) -> KeyHash {
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

#[derive(Clone, Copy)]
struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    fn from_hex(text: &str) -> Result<Self, Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)
            .map_err(|_| Error::internal(format!("the setting {SETTING} is damaged")))?;
        Ok(Self(hash))
    }

    fn matches(self, key: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }
}

/// Recognises the owner. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    owner: KeyHash,
}

/// What the start of a server found out about the owner key.
pub struct Started {
    /// What recognises the owner from now on.
    pub auth: Auth,
    /// The key, if there was none and it has just been made: to be printed once.
    pub generated: Option<OwnerKey>,
}

impl Auth {
    /// Loads the owner key's hash. A configured key replaces it; when there is
    /// neither, a key is made.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn start(
        store: &Store,
        clock: &Clock,
        configured: Option<&OwnerKey>,
    ) -> Result<Started, Error> {
        if let Some(key) = configured {
            save(store, clock, key).await?;
            return Ok(Started { auth: Self { owner: key.sha256() }, generated: None });
        }
        if let Some(hash) = store.find_setting(SETTING).await? {
            return Ok(Started {
                auth: Self { owner: KeyHash::from_hex(&hash)? },
                generated: None,
            });
        }
        let key = OwnerKey::generate(clock);
        if store.insert_setting(SETTING, &key.sha256().to_hex(), clock.now_us()).await? {
            return Ok(Started { auth: Self { owner: key.sha256() }, generated: Some(key) });
        }
        // Another process was faster, and has told its key.
        let hash = store.find_setting(SETTING).await?.unwrap_or_default();
        Ok(Started { auth: Self { owner: KeyHash::from_hex(&hash)? }, generated: None })
    }

    /// Puts a new owner key in the place of the one in the database; `None` when
    /// there was none. Servers that are running go on with the old one until they
    /// are started again.
    ///
    /// # Errors
    /// `Unavailable` or `Internal`, from the store.
    pub async fn reset(store: &Store, clock: &Clock) -> Result<Option<OwnerKey>, Error> {
        let key = OwnerKey::generate(clock);
        let hash = key.sha256().to_hex();
        match store.update_setting(SETTING, &hash, clock.now_us()).await {
            Ok(()) => Ok(Some(key)),
            Err(store::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the request carries the owner key, as `Authorization: Bearer KEY`.
    #[must_use]
    pub fn is_owner(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| bearer(value.as_bytes()))
            .is_some_and(|key| self.owner.matches(key))
    }

    /// Middleware that lets only the owner through; everybody else gets 401.
    pub async fn require_owner(State(auth): State<Self>, request: Request, next: Next) -> Response {
        if auth.is_owner(request.headers()) {
            next.run(request).await
        } else {
            Error::Unauthorized.into_response()
        }
    }
}

async fn save(store: &Store, clock: &Clock, key: &OwnerKey) -> Result<(), Error> {
    let (hash, now) = (key.sha256().to_hex(), clock.now_us());
    if !store.insert_setting(SETTING, &hash, now).await? {
        let unchanged = store.find_setting(SETTING).await?.as_deref() == Some(hash.as_str());
        if !unchanged {
            store.update_setting(SETTING, &hash, now).await?;
        }
    }
    Ok(())
}

/// The credentials of the scheme `Bearer`, whose name has no case (RFC 9110,
/// section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| credentials.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::store::DatabaseUrl;

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::AUTHORIZATION,
            HeaderValue::from_str(authorization).unwrap(),
        )])
    }

    #[test]
    fn only_the_key_itself_is_let_in() {
        let key: OwnerKey = "pco_0123456789abcdef".parse().unwrap();
        let auth = Auth { owner: key.sha256() };
        assert!(auth.is_owner(&with("Bearer pco_0123456789abcdef")));
        assert!(auth.is_owner(&with("bearer  pco_0123456789abcdef ")));
        for wrong in [
            "Bearer pco_0123456789abcdeF",
            "Bearer pco_0123456789abcde",
            "Bearer",
            "Bearer ",
            "",
            "pco_0123456789abcdef",
            "Basic pco_0123456789abcdef",
        ] {
            assert!(!auth.is_owner(&with(wrong)), "{wrong}");
        }
        assert!(!auth.is_owner(&HeaderMap::new()));
    }

    #[test]
    fn a_key_that_could_be_guessed_or_not_be_sent_is_refused() {
        assert!("0123456789abcdef".parse::<OwnerKey>().is_ok());
        for wrong in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdéf"] {
            assert_eq!(wrong.parse::<OwnerKey>(), Err(OwnerKeyError), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_key_is_made_once_and_replaced_by_a_configured_one_or_a_reset() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite_file(&folder.path().join("picloud.db")).unwrap();
        let store = Store::open(&url).await.unwrap();
        let clock = Clock::system();
        let is_let_in = async |key: &OwnerKey| {
            let auth = Auth::start(&store, &clock, None).await.unwrap().auth;
            auth.is_owner(&with(&format!("Bearer {}", key.reveal())))
        };

        assert_eq!(Auth::reset(&store, &clock).await.unwrap(), None);
        let first = Auth::start(&store, &clock, None).await.unwrap().generated.unwrap();
        assert!(first.reveal().starts_with("pco_") && first.reveal().len() == 4 + 64);
        assert!(is_let_in(&first).await);
        assert!(Auth::start(&store, &clock, None).await.unwrap().generated.is_none());

        let configured: OwnerKey = "0123456789abcdef".parse().unwrap();
        assert!(Auth::start(&store, &clock, Some(&configured)).await.unwrap().generated.is_none());
        assert!(is_let_in(&configured).await && !is_let_in(&first).await);

        let reset = Auth::reset(&store, &clock).await.unwrap().unwrap();
        assert!(is_let_in(&reset).await && !is_let_in(&configured).await);
        store.close().await.unwrap();
    }
}
