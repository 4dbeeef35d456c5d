//! `encoding::*`: bytes as text and back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rhai::Blob;
use rhai::plugin::*;

use super::bytes_of;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[export_module]
pub(crate) mod functions {
    /// Base64 of a text or blob, with padding (RFC 4648, section 4).
    #[rhai_fn(return_raw)]
    pub fn base64_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(STANDARD.encode(bytes_of(&data)?))
    }

    /// The blob that a base64 text stands for.
    #[rhai_fn(return_raw)]
    pub fn base64_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        STANDARD.decode(text).map_err(|error| format!("invalid base64: {error}").into())
    }

    /// Base64 for addresses and file names, without padding (RFC 4648, section 5).
    #[rhai_fn(return_raw)]
    pub fn base64url_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(URL_SAFE_NO_PAD.encode(bytes_of(&data)?))
    }

    /// The blob that a base64url text stands for.
    #[rhai_fn(return_raw)]
    pub fn base64url_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        let text = text.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("invalid base64url: {error}").into())
    }

    /// Lower-case hexadecimal of a text or blob.
    #[rhai_fn(return_raw)]
    pub fn hex_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(hex::encode(bytes_of(&data)?))
    }

    /// The blob that a hexadecimal text stands for.
    #[rhai_fn(return_raw)]
    pub fn hex_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        hex::decode(text).map_err(|error| format!("invalid hexadecimal: {error}").into())
    }

    /// A text with everything escaped that has a meaning in a URL.
    pub fn url_encode(text: &str) -> String {
        utf8_percent_encode(text, RESERVED).to_string()
    }

    /// The text that a percent-encoded text stands for.
    #[rhai_fn(return_raw)]
    pub fn url_decode(text: &str) -> Result<String, Box<EvalAltResult>> {
        match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(format!("the decoded text is not UTF-8: {error}").into()),
        }
    }
}
