//! `encoding::*`: conversion of bytes to text and back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rhai::Blob;
use rhai::plugin::*;

use super::bytes_of;

/// All characters except the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[export_module]
pub(crate) mod functions {
    /// Encodes a text or blob in base64, with padding (RFC 4648, section 4).
    #[rhai_fn(return_raw)]
    pub fn base64_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(STANDARD.encode(bytes_of(&data)?))
    }

    /// Decodes a base64 text into a blob.
    #[rhai_fn(return_raw)]
    pub fn base64_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        STANDARD.decode(text).map_err(|error| format!("invalid base64: {error}").into())
    }

    /// Encodes a text or blob in base64 for URLs and file names, unpadded (RFC 4648, section 5).
    #[rhai_fn(return_raw)]
    pub fn base64url_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(URL_SAFE_NO_PAD.encode(bytes_of(&data)?))
    }

    /// Decodes a base64url text into a blob.
    #[rhai_fn(return_raw)]
    pub fn base64url_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        let text = text.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(text).map_err(|error| format!("invalid base64url: {error}").into())
    }

    /// Encodes a text or blob in lower-case hexadecimal.
    #[rhai_fn(return_raw)]
    pub fn hex_encode(data: Dynamic) -> Result<String, Box<EvalAltResult>> {
        Ok(hex::encode(bytes_of(&data)?))
    }

    /// Decodes a hexadecimal text into a blob.
    #[rhai_fn(return_raw)]
    pub fn hex_decode(text: &str) -> Result<Blob, Box<EvalAltResult>> {
        hex::decode(text).map_err(|error| format!("invalid hexadecimal: {error}").into())
    }

    /// Percent-encodes a text, so that it can be used anywhere in a URL.
    pub fn url_encode(text: &str) -> String {
        utf8_percent_encode(text, RESERVED).to_string()
    }

    /// Decodes a percent-encoded text.
    #[rhai_fn(return_raw)]
    pub fn url_decode(text: &str) -> Result<String, Box<EvalAltResult>> {
        match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(format!("the decoded text is not UTF-8: {error}").into()),
        }
    }
}
