//! `crypto::*`: hashes and signatures, computed in the guest so that fuel bounds them.

use hmac::{Hmac, Mac};
use rhai::plugin::*;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::bytes_of;

fn keyed(key: &Dynamic, data: &Dynamic) -> Result<Hmac<Sha256>, Box<EvalAltResult>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&bytes_of(key)?)
        .map_err(|error| format!("invalid key: {error}"))?;
    mac.update(&bytes_of(data)?);
    Ok(mac)
}

#[export_module]
pub(crate) mod functions {
    /// Returns the SHA-256 of a text or blob, in hexadecimal.
    #[rhai_fn(return_raw)]
    pub fn sha256(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(hex::encode(Sha256::digest(bytes_of(&data)?)))
    }

    /// Returns the HMAC-SHA-256 (RFC 2104) of a text or blob, in hexadecimal.
    #[rhai_fn(return_raw)]
    pub fn hmac_sha256(key: Dynamic, data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(hex::encode(keyed(&key, &data)?.finalize().into_bytes()))
    }

    /// Whether a hexadecimal signature, with or without the prefix `sha256=`, is the HMAC-SHA-256
    /// of the data. Takes the same time for every signature of the right length.
    #[rhai_fn(return_raw)]
    pub fn verify_hmac(
        key: Dynamic,
        data: Dynamic,
        signature: &str,
    ) -> Result<bool, Box<EvalAltResult>> {
        let mac = keyed(&key, &data)?;
        let signature = signature.strip_prefix("sha256=").unwrap_or(signature);
        Ok(hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok()))
    }

    /// Whether two texts or blobs are equal. The time it takes does not reveal where they differ.
    #[rhai_fn(return_raw)]
    pub fn constant_time_eq(left: Dynamic, right: Dynamic) -> Result<bool, Box<EvalAltResult>> {
        Ok(bytes_of(&left)?.ct_eq(&bytes_of(&right)?).into())
    }
}
