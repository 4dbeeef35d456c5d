//! The SHA-256 of a secret with 256 random bits, which needs no slow hash.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// The stored hash of a key or a token.
///
/// It can be compared in constant time only, so that the time of a refusal does not reveal the key:
///
/// ```compile_fail
/// # use picloud::auth::KeyHash;
/// KeyHash::of(b"a") == KeyHash::of(b"b")
/// ```
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The hexadecimal form that is stored.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Parses the stored form.
    ///
    /// # Errors
    /// `Internal` if it is damaged.
    pub fn from_hex(text: &str) -> Result<Self, Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)
            .map_err(|_| Error::internal("the hash of a key is damaged"))?;
        Ok(Self(hash))
    }

    /// Whether this is the hash of `key`.
    #[must_use]
    pub fn matches(self, key: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_its_own_key_s_only() {
        let hash = KeyHash::from_hex(&KeyHash::of(b"key").to_hex()).unwrap();
        assert!(hash.matches(b"key") && !hash.matches(b"kez") && !hash.matches(b""));
        assert!(KeyHash::from_hex("00").is_err());
    }
}
