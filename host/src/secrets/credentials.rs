//! Decides which headers and fields hold credentials, by name. Pure.
//!
//! This is the only list. It decides which values are masked when they are shown and sealed when
//! they are stored, and which headers a redirect to another origin drops. Names are compared in a
//! normal form, so that `apiKey`, `API_KEY`, `X-Api-Key` and `user[api_key]` all match.
//!
//! Invariant: a value with an unknown name is shown. Credentials are not recognised by their
//! content.

use std::borrow::Cow;

/// Names of headers that are credentials.
const NAMES: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// The words that are a credential's name, or end it after a separator.
const ENDS: [&str; 10] = [
    "key",
    "token",
    "secret",
    "signature",
    "auth",
    "password",
    // Written as one word.
    "apikey",
    "passwd",
    "passphrase",
    "accesstoken",
];

/// The endings of a word written without separators, as in `xapikey`. Header names are in lower
/// case.
const ENDS_OF_WORDS: [&str; 12] = [
    "secret",
    "token",
    "password",
    "passwd",
    "signature",
    "apikey",
    "accesskey",
    "authkey",
    "secretkey",
    "privatekey",
    "signingkey",
    "sharedkey",
];

/// The words that can follow such an ending: `password_confirmation`, `signature-sha256`.
const AFTER: [&str; 4] = ["confirmation", "confirm", "sha", "hmac"];

/// The caller's name for a request. It is searched for in the log, and grants nothing.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Whether headers, query parameters or form fields with this name hold credentials.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let name = normalised(name);
    if name == IDEMPOTENCY_KEY {
        return false;
    }
    // Digits are ignored: `password2` and `x-hub-signature-256` are credentials too.
    let words = name.rsplit('-').map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    let mut words = words.skip_while(|word| word.is_empty() || AFTER.contains(word));
    let is_end =
        |last: &str| ENDS.contains(&last) || ENDS_OF_WORDS.iter().any(|end| last.ends_with(end));
    NAMES.contains(&&*name) || words.next().is_some_and(is_end)
}

/// Returns the name in lower case, with its words separated by `-`.
fn normalised(name: &str) -> Cow<'_, str> {
    // Most names of headers are in this form already.
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if name.split('-').all(is_word) {
        return Cow::Borrowed(name);
    }
    let mut words = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            before = None;
            continue;
        }
        // `apiKey` is two words, and so is `HTTPAuth`.
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || letters.peek().is_some_and(|next| next.is_lowercase())
            });
        if !words.is_empty() && (begins || before.is_none()) {
            words.push('-');
        }
        words.extend(letter.to_lowercase());
        before = Some(letter);
    }
    Cow::Owned(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_known_however_its_name_is_written() {
        for name in [
            "authorization",
            "Authorization",
            "Proxy-Authorization",
            "cookie",
            "Set-Cookie",
            "x-api-key",
            "X_API_KEY",
            "apiKey",
            "APIKey",
            "xapikey",
            "clientsecret",
            "x-authtoken",
            "xcsrftoken",
            "myaccesskey",
            "api.key",
            "apikey",
            "key",
            "KEY",
            "token",
            "access_token",
            "accessToken",
            "csrfToken",
            "X-Gitlab-Token",
            "client_secret",
            "clientSecret",
            "Stripe-Signature",
            "X-Hub-Signature",
            "HTTPAuth",
            "x-auth",
            "password",
            "newPassword",
            "user[password]",
            "user[api_key]",
            "password ",
            "key[]",
            "password2",
            "password_confirmation",
            "X-Hub-Signature-256",
            "X-My-Idempotency-Key",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "idempotency-key",
            "Idempotency_Key",
            "idempotencyKey",
            "",
            "accept",
            "monkey",
            "keyboard",
            "tokens",
            "x-token-count",
            "author",
            "passwords",
            "secretary",
            "x-authority",
            "key-id",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }
}
