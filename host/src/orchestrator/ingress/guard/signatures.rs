//! Whether a signature is one of ours: HMAC (RFC 2104) over the bytes that came.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::claim::Claim;
use super::{Denied, Scheme, Secret};
use crate::store::SignatureAlgorithm;

impl Claim {
    /// Whether it was signed about now, which a body need not be waited for.
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

    /// Whether the body was signed with one of the secrets. Which one it is.
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
        // All of them, so that the time of a wrong one tells nothing.
        let compared: Vec<Choice> = secrets.iter().map(is_it).collect();
        compared.into_iter().position(bool::from).ok_or(Denied::SignatureInvalid)
    }
}

/// The HMAC of the pieces one after the other.
fn authenticator(algorithm: SignatureAlgorithm, key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    fn of<M: Mac + KeyInit>(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        // Every length of key is one (RFC 2104, section 2); an empty answer matches none.
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
