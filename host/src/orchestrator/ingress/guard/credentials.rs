//! Secrets that are sent as they are: keys and passwords (RFC 6750, RFC 7617).

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Denied, Secret, only};

/// A header for a key, besides `Authorization`.
pub(in super::super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Returns the index of the secret in the request. It is in `header` if that is given, otherwise in
/// `Authorization: Bearer …` or `X-API-Key`.
///
/// # Errors
/// `KeyMissing`, `KeyInvalid`.
pub(in super::super) fn check_key(
    headers: &HeaderMap,
    header: Option<&str>,
    secrets: &[Secret<'_>],
) -> Result<usize, Denied> {
    let brought = match header {
        Some(name) => {
            let name: HeaderName = name.parse().map_err(|_| Denied::KeyMissing)?;
            only(headers, &name)
        }
        None => after_scheme(headers, "Bearer ").or_else(|| only(headers, &API_KEY)),
    };
    let brought = brought.map(str::trim).filter(|key| !key.is_empty()).ok_or(Denied::KeyMissing)?;
    which(brought.as_bytes(), secrets).ok_or(Denied::KeyInvalid)
}

/// Returns the index of the secret in the request, if the user is right too.
///
/// # Errors
/// `CredentialsMissing`, `CredentialsInvalid`.
pub(in super::super) fn check_basic(
    headers: &HeaderMap,
    user: &str,
    secrets: &[Secret<'_>],
) -> Result<usize, Denied> {
    let brought = after_scheme(headers, "Basic ").ok_or(Denied::CredentialsMissing)?;
    let brought = STANDARD.decode(brought.trim()).map_err(|_| Denied::CredentialsMissing)?;
    let colon = brought.iter().position(|byte| *byte == b':').ok_or(Denied::CredentialsMissing)?;
    let (name, password) = (&brought[..colon], &brought[colon + 1..]);
    let is_user = digest(name).ct_eq(&digest(user.as_bytes()));
    let which = which(password, secrets);
    which.filter(|_| is_user.into()).ok_or(Denied::CredentialsInvalid)
}

/// Returns the text after the scheme, which is case-insensitive (RFC 9110, section 11.1).
fn after_scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = only(headers, &header::AUTHORIZATION)?;
    let (name, rest) = value.split_at_checked(scheme.len())?;
    name.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Returns the index of the secret that matches. Compares the hashes of all of them, so that the
/// time reveals nothing about a secret, not even its length.
fn which(brought: &[u8], secrets: &[Secret<'_>]) -> Option<usize> {
    let brought = digest(brought);
    let is_it = |secret: &Secret<'_>| match secret.is_empty() {
        true => Choice::from(0),
        false => brought.ct_eq(&digest(secret)),
    };
    let compared: Vec<Choice> = secrets.iter().map(is_it).collect();
    compared.into_iter().position(bool::from)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const SECRETS: [Secret<'static>; 2] = [b"new-key", b"old-key"];

    #[test]
    fn a_key_comes_in_one_of_two_headers_or_in_the_one_that_is_named() {
        let check =
            |list: &[(&'static str, &str)]| check_key(&with(list), None, &SECRETS).map(drop);
        for right in [
            ("authorization", "Bearer new-key"),
            ("authorization", "bearer  old-key "),
            ("x-api-key", "old-key"),
        ] {
            assert_eq!(check(&[right]), Ok(()), "{right:?}");
        }
        for wrong in [
            ("authorization", "Bearer new-keY"),
            ("authorization", "Bearer new-key2"),
            ("x-api-key", "new-key,old-key"),
            ("x-api-key", "new"),
        ] {
            assert_eq!(check(&[wrong]), Err(Denied::KeyInvalid), "{wrong:?}");
        }
        for none in [
            ("authorization", "Basic new-key"),
            ("authorization", "Bearer "),
            ("authorization", "Bearer"),
            ("authorization", "new-key"),
            ("x-api-key", ""),
            ("accept", "new-key"),
        ] {
            assert_eq!(check(&[none]), Err(Denied::KeyMissing), "{none:?}");
        }
        let twice = [("x-api-key", "new-key"), ("x-api-key", "other")];
        assert_eq!(check(&twice), Err(Denied::KeyMissing));

        let named = |list: &[(&'static str, &str)]| {
            check_key(&with(list), Some("X-Gitlab-Token"), &SECRETS).map(drop)
        };
        assert_eq!(named(&[("x-gitlab-token", "new-key")]), Ok(()));
        assert_eq!(named(&[("x-api-key", "new-key")]), Err(Denied::KeyMissing));
    }

    #[test]
    fn who_is_let_in_is_known_by_the_secret() {
        for (key, which) in [("new-key", 0), ("old-key", 1)] {
            assert_eq!(check_key(&with(&[("x-api-key", key)]), None, &SECRETS), Ok(which));
        }
        assert_eq!(check_key(&with(&[("x-api-key", "a")]), None, &[b"", b"b", b"a"]), Ok(2));
    }

    #[test]
    fn without_a_secret_nobody_is_let_in() {
        let key = with(&[("x-api-key", "a")]);
        assert_eq!(check_key(&key, None, &[]), Err(Denied::KeyInvalid));
        assert_eq!(check_key(&key, None, &[b""]), Err(Denied::KeyInvalid));
        let nobody = with(&[("authorization", "Basic YWRhOg==")]);
        assert_eq!(check_basic(&nobody, "ada", &[b""]), Err(Denied::CredentialsInvalid));
    }

    /// RFC 7617, sections 2 and 2.1.
    #[test]
    fn a_user_and_a_password_are_those_of_the_specification() {
        let check = |value: &str, user: &str, secret: &str| {
            check_basic(&with(&[("authorization", value)]), user, &[secret.as_bytes()]).map(drop)
        };
        let aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(check(aladdin, "Aladdin", "open sesame"), Ok(()));
        assert_eq!(check(&aladdin.replace("Basic", "basic"), "Aladdin", "open sesame"), Ok(()));
        assert_eq!(check("Basic dGVzdDoxMjPCow==", "test", "123\u{a3}"), Ok(()));
        for (user, secret) in [("aladdin", "open sesame"), ("Aladdin", "open"), ("", "")] {
            assert_eq!(check(aladdin, user, secret), Err(Denied::CredentialsInvalid), "{user}");
        }
        for none in
            ["Basic", "Basic !", "Basic QWxhZGRpbg==", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
        {
            assert_eq!(check(none, "Aladdin", "open sesame"), Err(Denied::CredentialsMissing));
        }
    }
}
