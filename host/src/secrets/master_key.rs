//! The master key: 256 random bits that wrap the key of every secret.
//!
//! Invariant: the key is never stored in the database and never logged. Its id is stored; it is a
//! hash that reveals nothing about the key.

use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Clock;

/// The length of a key.
pub(super) const KEY_BYTES: usize = 32;
/// The length of a key's id, a prefix of the hash.
const ID_BYTES: usize = 8;
/// The domain of the hash, hashed before the key, so that the hash has no other use.
const ID_DOMAIN: &[u8] = b"picloud master key id v1";

/// A master key in clear. `Debug` does not show it.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// The text is not a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("64 hexadecimal digits, or base64 of 32 bytes, as `openssl rand -hex 32` makes them,")]
pub struct MasterKeyError;

impl MasterKey {
    /// Generates a new key.
    #[must_use]
    pub fn generate(clock: &Clock) -> Self {
        Self(Zeroizing::new(clock.random()))
    }

    /// Returns the id of the key: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::new().chain_update(ID_DOMAIN).chain_update(*self.0).finalize();
        hex::encode(&hash[..ID_BYTES])
    }

    /// Returns the key as text: 64 hexadecimal digits.
    pub(super) fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl FromStr for MasterKey {
    type Err = MasterKeyError;

    fn from_str(text: &str) -> Result<Self, MasterKeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if hex::decode_to_slice(text, &mut *key).is_ok() {
            return Ok(Self(key));
        }
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        for alphabet in [&STANDARD, &URL_SAFE] {
            let decoded = GeneralPurpose::new(alphabet, lenient).decode(text).map(Zeroizing::new);
            if let Ok(decoded) = decoded
                && decoded.len() == KEY_BYTES
            {
                key.copy_from_slice(&decoded);
                return Ok(Self(key));
            }
        }
        Err(MasterKeyError)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_in_hexadecimal_or_base64() {
        let hex = "fb".repeat(32);
        let id = hex.parse::<MasterKey>().unwrap().id();
        assert_eq!(id.len(), 16);
        let standard = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
        let standard_key = standard.parse::<MasterKey>().unwrap();
        assert_ne!(standard_key.id(), hex[..16]);
        for written in [
            hex.to_uppercase(),
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s".to_owned(),
            standard.trim_end_matches('=').to_owned(),
        ] {
            assert!(written.parse::<MasterKey>().is_ok(), "{written}");
        }
        let same: MasterKey = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s".parse().unwrap();
        assert_eq!(same.id(), standard_key.id());
    }

    #[test]
    fn what_has_not_256_bits_is_no_key() {
        for wrong in
            ["", "secret", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &"A".repeat(42)]
        {
            assert!(wrong.parse::<MasterKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = MasterKey::generate(&Clock::system());
        assert_eq!(format!("{key:?}"), "MasterKey(***)");
        assert!(!key.to_hex().contains(&key.id()));
    }
}
