//! Verifies signatures: HMAC (RFC 2104) over the bytes of the request.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::claim::Claim;
use super::{Denied, Scheme, Secret};
use crate::store::SignatureAlgorithm;

impl Claim {
    /// Checks the signing time, which is possible before the body arrives.
    ///
    /// # Errors
    /// `SignatureExpired`.
    pub(in super::super) fn check_time(
        &self,
        scheme: &Scheme<'_>,
        now_s: i64,
    ) -> Result<(), Denied> {
        match self.timestamp {
            Some(at) if now_s.abs_diff(at) > scheme.tolerance_s().unsigned_abs() => {
                Err(Denied::SignatureExpired)
            }
            _ => Ok(()),
        }
    }

    /// Returns the index of the secret that signed the body.
    ///
    /// # Errors
    /// `SignatureInvalid`.
    pub(in super::super) fn check(
        &self,
        scheme: &Scheme<'_>,
        secrets: &[Secret<'_>],
        body: &[u8],
    ) -> Result<usize, Denied> {
        let pieces = [self.before.as_bytes(), body, self.after.as_bytes()];
        let is_it = |secret: &Secret<'_>| {
            let Some(key) = scheme.key(secret) else { return Choice::from(0) };
            let right = authenticator(scheme.algorithm(), &key, &pieces);
            let matches = self.signatures.iter().map(|signature| signature.ct_eq(&right));
            matches.fold(Choice::from(0), |found, matches| found | matches)
        };
        // Compares all of them, so that the time reveals nothing.
        let compared: Vec<Choice> = secrets.iter().map(is_it).collect();
        compared.into_iter().position(bool::from).ok_or(Denied::SignatureInvalid)
    }
}

/// Returns the HMAC of the concatenated pieces.
fn authenticator(algorithm: SignatureAlgorithm, key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    fn of<M: Mac + KeyInit>(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        // Every key length is valid (RFC 2104, section 2). An empty result matches no signature.
        let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        SignatureAlgorithm::Sha256 => of::<Hmac<Sha256>>(key, pieces),
        SignatureAlgorithm::Sha512 => of::<Hmac<Sha512>>(key, pieces),
    }
}

#[cfg(test)]
mod tests;
