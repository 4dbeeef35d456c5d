//! Text in charsets other than UTF-8. Pure.

use encoding_rs::{Encoding, UTF_8};

use super::media_type;

/// Returns the charset that a type names by a label of the Encoding Standard, unless it is UTF-8.
pub(super) fn named(content_type: &str) -> Option<&'static Encoding> {
    labelled(media_type::parameter(content_type, "charset")?)
}

/// Returns the charset of a label of the Encoding Standard, unless it is UTF-8.
pub(super) fn labelled(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != UTF_8)
}

/// Returns the text of a body whose type names a charset other than UTF-8. `None` if it names none,
/// and if the body is not valid in that charset.
pub(super) fn decode(content_type: &str, body: &[u8]) -> Option<String> {
    let encoding = named(content_type)?;
    // A byte order mark takes precedence over the type (Encoding Standard, section 6.1).
    let (encoding, body) = match Encoding::for_bom(body) {
        Some((marked, mark_bytes)) => (marked, &body[mark_bytes..]),
        None => (encoding, body),
    };
    encoding.decode_without_bom_handling_and_without_replacement(body).map(Into::into)
}

/// Whether a label names UTF-8.
pub(super) fn is_utf8(label: &str) -> bool {
    Encoding::for_label(label.as_bytes()) == Some(UTF_8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_by_its_charset() {
        for (content_type, body, text) in [
            ("text/plain; charset=iso-8859-1", &b"caf\xe9 \x80"[..], Some("café €")),
            ("text/plain; charset=\"ISO-8859-15\"", b"\xa4", Some("€")),
            ("text/csv;header=present;charset=windows-1251", b"\xcf\xe8", Some("Пи")),
            ("text/plain; charset=utf-16le", b"P\0i\0", Some("Pi")),
            ("text/plain; charset=utf-16", b"\xfe\xff\0P\0i", Some("Pi")),
            ("text/plain; charset=shift_jis", b"\x83p\x83C", Some("パイ")),
            ("text/plain; charset=latin1", b"\xef\xbb\xbfPi", Some("Pi")),
            // Invalid in its charset, an unknown charset, UTF-8.
            ("text/plain; charset=shift_jis", b"\x83", None),
            ("text/plain; charset=klingon", b"Pi", None),
            ("text/plain; charset=utf-8", b"Pi", None),
            ("text/plain", b"Pi", None),
        ] {
            assert_eq!(decode(content_type, body).as_deref(), text, "{content_type}");
        }
    }
}
