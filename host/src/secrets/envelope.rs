//! Envelope encryption: a value is encrypted with its own data key, which is encrypted with the
//! master key.
//!
//! ```text
//! value    ──XChaCha20-Poly1305 (data key)───▶ sealed_value
//! data key ──XChaCha20-Poly1305 (master key)─▶ wrapped_key
//! ```
//!
//! Both are nonce, ciphertext and tag, in base64. Nonces are random, which is safe with 192 bits
//! (draft-irtf-cfrg-xchacha).
//!
//! Invariant: text encrypted for one app, name and purpose cannot be opened for another: all three
//! are authenticated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::SecretValue;
use super::master_key::{KEY_BYTES, MasterKey};
use crate::clock::Clock;
use crate::store::AppId;

const NONCE_BYTES: usize = 24;
const OF_VALUE: &str = "picloud secret value v1";
const OF_KEY: &str = "picloud secret key v1";

/// The envelope cannot be opened: another key, another place, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unopened;

/// An encrypted value and its wrapped key.
pub(super) struct Envelope {
    pub(super) sealed_value: String,
    pub(super) wrapped_key: String,
}

/// The app and name that an envelope belongs to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) app_id: &'a AppId,
    pub(super) name: &'a str,
}

impl Place<'_> {
    /// Returns the texts, each after its length, so that no two places have the same bytes.
    pub(super) fn bound_to(self, purpose: &str) -> Vec<u8> {
        let mut bound = Vec::new();
        for part in [purpose, self.app_id.as_str(), self.name] {
            bound.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }
}

/// Encrypts a value with a new data key.
pub(super) fn seal(
    clock: &Clock,
    master: &MasterKey,
    place: Place<'_>,
    value: &SecretValue,
) -> Result<Envelope, Unopened> {
    let data_key = Zeroizing::new(clock.random::<KEY_BYTES>());
    let value = value.reveal().as_bytes();
    Ok(Envelope {
        sealed_value: encrypt(clock, &data_key, &place.bound_to(OF_VALUE), value)?,
        wrapped_key: encrypt(clock, master.bytes(), &place.bound_to(OF_KEY), &*data_key)?,
    })
}

/// Decrypts a value.
pub(super) fn open(
    master: &MasterKey,
    place: Place<'_>,
    envelope: &Envelope,
) -> Result<SecretValue, Unopened> {
    let data_key = unwrap(master, place, &envelope.wrapped_key)?;
    let mut value = decrypt(&data_key, &place.bound_to(OF_VALUE), &envelope.sealed_value)?;
    String::from_utf8(std::mem::take(&mut *value)).map(SecretValue::from).map_err(|_| Unopened)
}

/// Returns the same data key, wrapped by another master key.
pub(super) fn rewrap(
    clock: &Clock,
    from: &MasterKey,
    to: &MasterKey,
    place: Place<'_>,
    wrapped_key: &str,
) -> Result<String, Unopened> {
    let data_key = unwrap(from, place, wrapped_key)?;
    encrypt(clock, to.bytes(), &place.bound_to(OF_KEY), &*data_key)
}

fn unwrap(
    master: &MasterKey,
    place: Place<'_>,
    wrapped_key: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, Unopened> {
    let bytes = decrypt(master.bytes(), &place.bound_to(OF_KEY), wrapped_key)?;
    let mut data_key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != KEY_BYTES {
        return Err(Unopened);
    }
    data_key.copy_from_slice(&bytes);
    Ok(data_key)
}

pub(super) fn encrypt(
    clock: &Clock,
    key: &[u8; KEY_BYTES],
    bound: &[u8],
    text: &[u8],
) -> Result<String, Unopened> {
    let nonce = clock.random::<NONCE_BYTES>();
    let cipher = XChaCha20Poly1305::new(key.into());
    let payload = Payload { msg: text, aad: bound };
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Unopened)?;
    Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
}

pub(super) fn decrypt(
    key: &[u8; KEY_BYTES],
    bound: &[u8],
    sealed: &str,
) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let bytes = STANDARD.decode(sealed).map_err(|_| Unopened)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened)?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let payload = Payload { msg: sealed, aad: bound };
    cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| Unopened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(number: u128) -> AppId {
        uuid::Uuid::from_u128(number).into()
    }

    #[test]
    fn an_envelope_opens_where_it_was_sealed_and_nowhere_else() {
        let clock = Clock::system();
        let (master, other) = (MasterKey::generate(&clock), MasterKey::generate(&clock));
        let (shop, blog) = (app(1), app(2));
        let place = Place { app_id: &shop, name: "KEY" };
        let value = SecretValue::from("s3cr€t".to_owned());
        let sealed = seal(&clock, &master, place, &value).unwrap();
        assert_eq!(open(&master, place, &sealed).unwrap().reveal(), "s3cr€t");

        let elsewhere = Place { app_id: &blog, ..place };
        assert_eq!(open(&master, elsewhere, &sealed).err(), Some(Unopened));
        let renamed = Place { name: "KEY2", ..place };
        assert_eq!(open(&master, renamed, &sealed).err(), Some(Unopened));
        assert_eq!(open(&other, place, &sealed).err(), Some(Unopened));
        // A wrapped key cannot be opened as a value, nor a value as a key.
        let swapped = Envelope {
            sealed_value: sealed.wrapped_key.clone(),
            wrapped_key: sealed.sealed_value.clone(),
        };
        assert_eq!(open(&master, place, &swapped).err(), Some(Unopened));
    }

    #[test]
    fn no_byte_of_an_envelope_can_be_changed() {
        let clock = Clock::system();
        let master = MasterKey::generate(&clock);
        let shop = app(1);
        let place = Place { app_id: &shop, name: "KEY" };
        let sealed = seal(&clock, &master, place, &SecretValue::from("value".to_owned())).unwrap();
        for part in [&sealed.sealed_value, &sealed.wrapped_key] {
            let bytes = STANDARD.decode(part).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let changed = STANDARD.encode(changed);
                let envelope = if part == &sealed.sealed_value {
                    Envelope { sealed_value: changed, wrapped_key: sealed.wrapped_key.clone() }
                } else {
                    Envelope { sealed_value: sealed.sealed_value.clone(), wrapped_key: changed }
                };
                assert_eq!(open(&master, place, &envelope).err(), Some(Unopened), "{at}");
            }
        }
        for cut in ["", "AAAA", "!"] {
            let envelope =
                Envelope { sealed_value: cut.to_owned(), wrapped_key: sealed.wrapped_key.clone() };
            assert_eq!(open(&master, place, &envelope).err(), Some(Unopened));
        }
    }

    #[test]
    fn another_master_key_means_another_wrapped_key_and_the_same_value() {
        let clock = Clock::system();
        let (old, new) = (MasterKey::generate(&clock), MasterKey::generate(&clock));
        let shop = app(1);
        let place = Place { app_id: &shop, name: "KEY" };
        let sealed = seal(&clock, &old, place, &SecretValue::from("value".to_owned())).unwrap();
        let wrapped_key = rewrap(&clock, &old, &new, place, &sealed.wrapped_key).unwrap();
        assert_ne!(wrapped_key, sealed.wrapped_key);
        let rewrapped = Envelope { wrapped_key, ..sealed };
        assert_eq!(open(&new, place, &rewrapped).unwrap().reveal(), "value");
        assert_eq!(open(&old, place, &rewrapped).err(), Some(Unopened));
    }
}
