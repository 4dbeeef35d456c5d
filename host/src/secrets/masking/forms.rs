//! The forms of a value in text: plain, escaped, or encoded with an encoding of scripts or the
//! platform.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::MASKED_CHARS_MIN;

/// The sets of characters that percent-encoding leaves unchanged: RFC 3986's unreserved characters,
/// JavaScript's `encodeURIComponent`, and a query, path and user in the URL Standard.
const PERCENT: [&AsciiSet; 6] = [NON_ALPHANUMERIC, UNRESERVED, COMPONENT, QUERY, PATH, USERINFO];
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const COMPONENT: &AsciiSet =
    &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');
const USERINFO: &AsciiSet = &PATH
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'|');

/// The number of base64 characters that belong to the text before the value, by the number of its
/// bytes in the group of three where the value begins.
const FOREIGN_CHARS: [usize; 3] = [0, 2, 3];

/// Returns every form of a value, each once; empty if the value is too short.
pub(super) fn of(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    // Scripts often strip the line end of a text read from a file.
    for value in [value, value.trim()] {
        if value.chars().count() < MASKED_CHARS_MIN {
            continue;
        }
        forms.insert(value.to_owned());
        escaped(value, &mut forms);
        based(value, &mut forms);
        forms.insert(hex::encode(value));
        forms.insert(hex::encode_upper(value));
        percent(value, &mut forms);
    }
    forms
}

/// Adds the value as in JSON, in ASCII-only JSON, in JSON inside JSON, and in Rust's `Debug`.
fn escaped(value: &str, forms: &mut BTreeSet<String>) {
    let json = json(value);
    forms.insert(json_within(&json));
    forms.insert(json.replace('/', "\\/"));
    forms.insert(ascii(&json));
    forms.insert(json);
    let debug = format!("{value:?}");
    forms.insert(debug[1..debug.len() - 1].to_owned());
}

fn json(value: &str) -> String {
    let text = serde_json::Value::from(value).to_string();
    text[1..text.len() - 1].to_owned()
}

fn json_within(json_text: &str) -> String {
    json(json_text)
}

/// Returns JSON with all non-ASCII characters escaped (RFC 8259, section 7).
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// Adds base64 of the value, and the part of it that appears in base64 of a longer text, as in
/// `Authorization: Basic`.
fn based(value: &str, forms: &mut BTreeSet<String>) {
    forms.insert(STANDARD.encode(value));
    forms.insert(URL_SAFE.encode(value));
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(value));
        forms.extend((0..3).filter_map(|before| within(engine, value, before)));
    }
}

fn within(engine: &GeneralPurpose, value: &str, before: usize) -> Option<String> {
    let bytes = [&[0; 2][..before], value.as_bytes()].concat();
    // The last character can contain bits of the following text.
    let whole_chars = bytes.len() * 8 / 6;
    let text = engine.encode(&bytes);
    let own = text.get(FOREIGN_CHARS[before]..whole_chars)?;
    (own.len() >= MASKED_CHARS_MIN).then(|| own.to_owned())
}

fn percent(value: &str, forms: &mut BTreeSet<String>) {
    for set in PERCENT {
        let text = utf8_percent_encode(value, set).to_string();
        forms.insert(lower(&text));
        forms.insert(text);
    }
    let form: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    forms.insert(lower(&form));
    forms.insert(form);
}

/// Returns percent-encoding in lower case: `%2F` becomes `%2f`.
fn lower(text: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| match c {
        '%' => {
            digits = 2;
            c
        }
        _ if digits > 0 => {
            digits -= 1;
            c.to_ascii_lowercase()
        }
        _ => c,
    };
    text.chars().map(lower).collect()
}
