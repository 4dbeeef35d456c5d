//! The webhook signature schemes: where each sender puts its signature, and what it signs.
//!
//! ```text
//! github            X-Hub-Signature-256: sha256=HEX        body
//! shopify           X-Shopify-Hmac-Sha256: BASE64          body
//! slack             X-Slack-Signature: v0=HEX              v0:{timestamp}:{body}
//! stripe            Stripe-Signature: t=TIME,v1=HEX,…      {timestamp}.{body}
//! standard_webhooks webhook-signature: v1,BASE64 v1,…      {id}.{timestamp}.{body}
//! ```
//!
//! Sources: standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`; the
//! documentation of GitHub ("Validating webhook deliveries"), Stripe ("Verify webhook
//! signatures"), Slack ("Verifying requests from Slack") and Shopify ("Validate the origin
//! of your webhook").

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::claim::Claim;
use super::{Denied, only};
use crate::store::{HmacAuth, SignatureAlgorithm, SignatureEncoding, SignaturePreset};

/// The default tolerance of the signing time, in seconds, as recommended by Standard Webhooks,
/// Stripe and Slack.
const TOLERANCE_S: u32 = 300;
/// The header names of a message: those of the specification, and the older ones of Svix, which
/// signs in the same way.
const STANDARD_WEBHOOKS: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("webhook-signature"),
        HeaderName::from_static("webhook-timestamp"),
        HeaderName::from_static("webhook-id"),
    ],
    [
        HeaderName::from_static("svix-signature"),
        HeaderName::from_static("svix-timestamp"),
        HeaderName::from_static("svix-id"),
    ],
];

/// The signature scheme of a route.
pub(in super::super) struct Scheme<'a>(&'a HmacAuth);

impl<'a> Scheme<'a> {
    pub(in super::super) fn of(auth: &'a HmacAuth) -> Self {
        Self(auth)
    }

    /// Returns the hash function.
    pub(in super::super) fn algorithm(&self) -> SignatureAlgorithm {
        self.0.custom.as_ref().map_or(SignatureAlgorithm::Sha256, |custom| custom.algorithm)
    }

    /// Returns the tolerance of the signing time, in seconds.
    pub(in super::super) fn tolerance_s(&self) -> i64 {
        self.0.tolerance_s.unwrap_or(TOLERANCE_S).into()
    }

    /// Returns the key that a secret encodes; `None` if it is not valid.
    pub(in super::super) fn key(&self, secret: &[u8]) -> Option<Vec<u8>> {
        let key = if self.0.preset == Some(SignaturePreset::StandardWebhooks) {
            let text = std::str::from_utf8(secret).ok()?.trim();
            STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?
        } else {
            secret.to_vec()
        };
        Some(key).filter(|key| !key.is_empty())
    }

    /// Reads the claimed values from the headers.
    ///
    /// # Errors
    /// `SignatureMissing` with the header that is missing or cannot be read.
    pub(in super::super) fn claim(&self, headers: &HeaderMap) -> Result<Claim, Denied> {
        if let Some(custom) = &self.0.custom {
            let timestamp = custom.timestamp_header.as_deref();
            return single(
                headers,
                (&custom.header, &custom.prefix, custom.encoding),
                timestamp,
                &custom.signed,
            );
        }
        let hex = SignatureEncoding::Hex;
        match self.0.preset {
            Some(SignaturePreset::Github) => {
                single(headers, ("x-hub-signature-256", "sha256=", hex), None, "{body}")
            }
            Some(SignaturePreset::Shopify) => {
                let place = ("x-shopify-hmac-sha256", "", SignatureEncoding::Base64);
                single(headers, place, None, "{body}")
            }
            Some(SignaturePreset::Slack) => {
                let place = ("x-slack-signature", "v0=", hex);
                let timestamp = Some("x-slack-request-timestamp");
                single(headers, place, timestamp, "v0:{timestamp}:{body}")
            }
            Some(SignaturePreset::Stripe) => stripe(headers),
            Some(SignaturePreset::StandardWebhooks) => standard_webhooks(headers),
            // Refused when the policy is saved. Without a scheme no request is admitted.
            None => Err(Denied::SignatureInvalid),
        }
    }
}

/// Reads one signature from a header of its own.
fn single(
    headers: &HeaderMap,
    (name, prefix, encoding): (&str, &str, SignatureEncoding),
    timestamp: Option<&str>,
    signed: &str,
) -> Result<Claim, Denied> {
    let name = header(name)?;
    let missing = || Denied::SignatureMissing(name.clone());
    let value = only(headers, &name).ok_or_else(missing)?.trim();
    let signature = value.strip_prefix(prefix).and_then(|text| decode(text, encoding));
    let signatures = vec![signature.ok_or_else(missing)?];
    let time = timestamp.map(|name| time_in(headers, &header(name)?)).transpose()?;
    let filled = signed.replace("{timestamp}", time.as_ref().map_or("", |(text, _)| text));
    let (before, after) = filled.split_once("{body}").unwrap_or((&filled, ""));
    Ok(Claim {
        signatures,
        timestamp: time.as_ref().map(|(_, seconds)| *seconds),
        before: before.to_owned(),
        after: after.to_owned(),
        message_id: None,
    })
}

fn stripe(headers: &HeaderMap) -> Result<Claim, Denied> {
    let name = HeaderName::from_static("stripe-signature");
    let missing = || Denied::SignatureMissing(name.clone());
    let value = only(headers, &name).ok_or_else(missing)?;
    let parts = || value.split(',').filter_map(|part| part.trim().split_once('='));
    let mut times = parts().filter(|(key, _)| *key == "t").map(|(_, time)| time);
    let (Some(text), None) = (times.next(), times.next()) else { return Err(missing()) };
    let timestamp = seconds(text).ok_or_else(missing)?;
    let signatures = parts().filter(|(key, _)| *key == "v1");
    let signatures: Vec<_> =
        signatures.filter_map(|(_, text)| decode(text, SignatureEncoding::Hex)).collect();
    if signatures.is_empty() {
        return Err(missing());
    }
    let (before, after) = (format!("{text}."), String::new());
    Ok(Claim { signatures, timestamp: Some(timestamp), before, after, message_id: None })
}

fn standard_webhooks(headers: &HeaderMap) -> Result<Claim, Denied> {
    let [ours, svix] = &STANDARD_WEBHOOKS;
    let names = if headers.contains_key(&ours[0]) { ours } else { svix };
    // If both are missing, the error names the header of the specification.
    let names = if headers.contains_key(&names[0]) { names } else { ours };
    let [signature, timestamp, id] = names;
    let missing = |name: &HeaderName| Denied::SignatureMissing(name.clone());
    let value = only(headers, signature).ok_or_else(|| missing(signature))?;
    let signatures = value.split(' ').filter_map(|part| part.strip_prefix("v1,"));
    let signatures: Vec<_> =
        signatures.filter_map(|text| decode(text, SignatureEncoding::Base64)).collect();
    if signatures.is_empty() {
        return Err(missing(signature));
    }
    let message = only(headers, id).filter(|id| !id.is_empty()).ok_or_else(|| missing(id))?;
    let (text, seconds) = time_in(headers, timestamp)?;
    let before = format!("{message}.{text}.");
    let message_id = Some(message.to_owned());
    Ok(Claim { signatures, timestamp: Some(seconds), before, after: String::new(), message_id })
}

fn header(name: &str) -> Result<HeaderName, Denied> {
    // Checked when the policy was saved.
    name.parse().map_err(|_| Denied::SignatureInvalid)
}

/// Returns the signed time as text, exactly as it was signed, and in seconds.
fn time_in(headers: &HeaderMap, name: &HeaderName) -> Result<(String, i64), Denied> {
    let text = only(headers, name).map(str::trim);
    let time = text.and_then(|text| Some((text.to_owned(), seconds(text)?)));
    time.ok_or_else(|| Denied::SignatureMissing(name.clone()))
}

/// Parses 1 to 12 digits, which is enough for every plausible time.
fn seconds(text: &str) -> Option<i64> {
    let is_time = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_time.then(|| text.parse().ok()).flatten()
}

fn decode(text: &str, encoding: SignatureEncoding) -> Option<Vec<u8>> {
    match encoding {
        SignatureEncoding::Hex => hex::decode(text).ok(),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}
