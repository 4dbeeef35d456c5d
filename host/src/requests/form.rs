//! Reads the fields and files of a form: `application/x-www-form-urlencoded` (URL Standard, section
//! 5.1) and `multipart/form-data` (RFC 7578).

use std::convert::Infallible;

use bytes::Bytes;
use encoding_rs::Encoding;
use http::header::CONTENT_DISPOSITION;
use multer::{Field, Multipart};
use percent_encoding::percent_decode;
use picloud_shared::execution::{FormFile, without_bom};

use super::{Pairs, charset, media_type};

/// The limits of a form. Its size is limited as the size of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormLimits {
    /// `form_fields`: the maximum number of fields.
    pub fields_max: usize,
    /// `form_files`: the maximum number of files.
    pub files_max: usize,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self { fields_max: 1000, files_max: 100 }
    }
}

/// A form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The names and values, in order; a name can occur several times.
    pub fields: Pairs,
    /// The files, in order.
    pub files: Vec<FormFile>,
}

/// The error of reading a form.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The form does not match its type.
    #[error("the form is not valid: {0}")]
    Invalid(String),
    /// The form exceeds the limit `limit`.
    #[error("the form has more than {most} {what}")]
    TooMany {
        /// The name of the limit.
        limit: &'static str,
        /// The parts that exceed the limit.
        what: &'static str,
        /// The maximum number.
        most: usize,
    },
}

/// Reads the form in a body; `None` if its type is not a form.
///
/// # Errors
/// `Invalid`, `TooMany`.
pub async fn read(
    content_type: &str,
    body: &[u8],
    limits: &FormLimits,
) -> Result<Option<Form>, Error> {
    match &*media_type::essence(content_type) {
        "application/x-www-form-urlencoded" => {
            let mut form = Form::default();
            let body = without_bom(body);
            match charset::named(content_type) {
                Some(encoding) => {
                    for (name, value) in pairs(body, encoding) {
                        form.push_field(limits, name, value)?;
                    }
                }
                None => {
                    for (name, value) in form_urlencoded::parse(body) {
                        form.push_field(limits, name.into_owned(), value.into_owned())?;
                    }
                }
            }
            Ok(Some(form))
        }
        "multipart/form-data" => parts(content_type, body, limits).await.map(Some),
        _ => Ok(None),
    }
}

/// Returns the names and values of a URL-encoded form in a charset other than UTF-8.
fn pairs(body: &[u8], encoding: &'static Encoding) -> impl Iterator<Item = (String, String)> {
    let decoded = move |text: &[u8]| {
        let text: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let bytes: Vec<u8> = percent_decode(&text).collect();
        encoding.decode_without_bom_handling(&bytes).0.into_owned()
    };
    body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decoded(&pair[..end]), decoded(pair.get(end + 1..).unwrap_or_default()))
    })
}

async fn parts(content_type: &str, body: &[u8], limits: &FormLimits) -> Result<Form, Error> {
    let invalid = |error: multer::Error| Error::Invalid(error.to_string());
    let boundary = multer::parse_boundary(content_type).map_err(invalid)?;
    let body = Bytes::copy_from_slice(body);
    let stream = futures::stream::once(async { Ok::<_, Infallible>(body) });
    let mut parts = Multipart::new(stream, boundary);
    let mut form = Form::default();
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(invalid)? {
        let Some(field) = form.push(limits, part).await? else { continue };
        if fields.len() == limits.fields_max {
            return Err(too_many_fields(limits));
        }
        fields.push(field);
    }
    // RFC 7578, section 4.6: a field with this name gives the charset of the others.
    let of_form = fields
        .iter()
        .find(|(name, ..)| name == "_charset_")
        .and_then(|(_, value, _)| charset::labelled(&String::from_utf8_lossy(value)));
    for (name, value, own) in fields {
        let value = match own.or(of_form) {
            Some(encoding) => encoding.decode_without_bom_handling(&value).0.into_owned(),
            None => String::from_utf8_lossy(&value).into_owned(),
        };
        form.push_field(limits, name, value)?;
    }
    Ok(form)
}

/// A field of a multipart form: its name, its bytes, and the charset of its own type.
type RawField = (String, Bytes, Option<&'static Encoding>);

impl Form {
    /// Adds a part with a file name as a file; returns any other part as a field.
    async fn push(
        &mut self,
        limits: &FormLimits,
        part: Field<'_>,
    ) -> Result<Option<RawField>, Error> {
        let invalid = |error: multer::Error| Error::Invalid(error.to_string());
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(Error::Invalid("a part has no name".to_owned()));
        };
        let Some(file_name) =
            part.file_name().map_or_else(|| file_name(&part), |given| Some(given.to_owned()))
        else {
            let own = part.content_type().and_then(|given| charset::named(given.as_ref()));
            let value = part.bytes().await.map_err(invalid)?;
            return Ok(Some((name, value, own)));
        };
        if self.files.len() == limits.files_max {
            let most = limits.files_max;
            return Err(Error::TooMany { limit: "form_files", what: "files", most });
        }
        // RFC 7578, section 4.4.
        let content_type = part.content_type().map_or("text/plain", |given| given.as_ref());
        let content_type = content_type.to_owned();
        let content = part.bytes().await.map_err(invalid)?.into();
        self.files.push(FormFile { name, file_name, content_type, content });
        Ok(None)
    }

    fn push_field(
        &mut self,
        limits: &FormLimits,
        name: String,
        value: String,
    ) -> Result<(), Error> {
        if self.fields.len() == limits.fields_max {
            return Err(too_many_fields(limits));
        }
        self.fields.push((name, value));
        Ok(())
    }
}

fn too_many_fields(limits: &FormLimits) -> Error {
    Error::TooMany { limit: "form_fields", what: "fields", most: limits.fields_max }
}

/// Returns a file name that is not UTF-8: a page in another charset sends it unchanged. Otherwise
/// the file would be treated as a field.
fn file_name(part: &Field<'_>) -> Option<String> {
    const BEGIN: &[u8] = b"filename=\"";
    let disposition = part.headers().get(CONTENT_DISPOSITION)?.as_bytes();
    let at = memchr::memmem::find(disposition, BEGIN)? + BEGIN.len();
    let name = disposition[at..].split(|byte| *byte == b'"').next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FormLimits = FormLimits { fields_max: 3, files_max: 1 };
    const URLENCODED: &str = "application/x-www-form-urlencoded";

    async fn of(content_type: &str, body: &str) -> Result<Form, String> {
        let form = read(content_type, body.as_bytes(), &LIMITS).await;
        form.map(Option::unwrap_or_default).map_err(|error| error.to_string())
    }

    fn part(disposition: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn every_field_of_a_form_is_read_in_order() {
        let form = of(URLENCODED, "a=1&b=%C3%A9+x&a=2").await.unwrap();
        assert_eq!(form.fields, [field("a", "1"), field("b", "é x"), field("a", "2")]);
        let body = [
            part("name=\"a\"", "1"),
            part("name=\"f\"; filename=\"ü.txt\"", "line\r\n--c\r\n"),
            part("name=\"a\"", "2"),
            "--b--\r\n".to_owned(),
        ];
        let form = of("Multipart/Form-Data; boundary=\"b\"", &body.concat()).await.unwrap();
        assert_eq!(form.fields, [field("a", "1"), field("a", "2")]);
        let file = &form.files[0];
        assert_eq!(
            (&*file.name, &*file.file_name, &*file.content_type),
            ("f", "ü.txt", "text/plain")
        );
        assert_eq!(file.content, b"line\r\n--c\r\n");
        assert_eq!(of("application/json", "{}").await, Ok(Form::default()));
    }

    #[tokio::test]
    async fn a_form_is_read_in_its_charset() {
        let latin1 = "application/x-www-form-urlencoded; charset=iso-8859-1";
        for (content_type, body, fields) in [
            (
                latin1,
                &b"a=%E9&b=\xe9&c+d=1%2B+2&e&&=f"[..],
                &[("a", "é"), ("b", "é"), ("c d", "1+ 2"), ("e", ""), ("", "f")][..],
            ),
            (URLENCODED, b"\xef\xbb\xbfa=1", &[("a", "1")]),
            (URLENCODED, b"a=%FF%FEx", &[("a", "\u{fffd}\u{fffd}x")]),
        ] {
            let limits = FormLimits { fields_max: 9, files_max: 1 };
            let form = read(content_type, body, &limits).await.unwrap().unwrap();
            let expected: Vec<_> = fields.iter().map(|(name, value)| field(name, value)).collect();
            assert_eq!(form.fields, expected, "{content_type}");
        }
        let parts = |parts: &[(&str, &[u8])]| {
            let mut body = Vec::new();
            for (head, value) in parts {
                let head = format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n");
                body.extend([head.as_bytes(), value, b"\r\n"].concat());
            }
            [&body[..], b"--b--\r\n"].concat()
        };
        let typed = "name=\"a\"\r\nContent-Type: text/plain; charset=latin1";
        for (body, last) in [
            (parts(&[("name=\"a\"", b"\xff\xfeab")]), "\u{fffd}\u{fffd}ab"),
            (parts(&[(typed, b"\xe9")]), "é"),
            (parts(&[("name=\"_charset_\"", b"iso-8859-1"), ("name=\"a\"", b"\xe9")]), "é"),
        ] {
            let form = read("multipart/form-data; boundary=b", &body, &LIMITS).await;
            let form = form.unwrap().unwrap();
            assert_eq!(form.fields.last(), Some(&field("a", last)));
        }
    }

    #[tokio::test]
    async fn a_file_is_one_whatever_its_name_is_written_in() {
        let head =
            b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\xf6te.txt\"\r\n\r\n";
        let body = [&head[..], b"\xff\r\n--b--\r\n"].concat();
        let form = read("multipart/form-data; boundary=b", &body, &LIMITS).await.unwrap().unwrap();
        assert_eq!(form.fields, []);
        assert_eq!(
            (&*form.files[0].file_name, &*form.files[0].content),
            ("n\u{fffd}te.txt", &b"\xff"[..])
        );
    }

    #[tokio::test]
    async fn a_form_has_at_most_so_many_fields_and_files() {
        assert_eq!(of(URLENCODED, "a&b&c").await.unwrap().fields.len(), 3);
        assert_eq!(of(URLENCODED, "a&b&c&d").await, Err("the form has more than 3 fields".into()));
        let file = part("name=\"f\"; filename=\"a\"", "1");
        let form = |files: usize| format!("{}--b--", file.repeat(files));
        let multipart = "multipart/form-data; boundary=b";
        assert_eq!(of(multipart, &form(1)).await.unwrap().files.len(), 1);
        assert_eq!(of(multipart, &form(2)).await, Err("the form has more than 1 files".into()));
    }

    #[tokio::test]
    async fn a_form_of_parts_that_is_none_is_refused() {
        let whole = format!("{}--b--\r\n", part("name=\"a\"", "1"));
        for (content_type, body) in [
            ("multipart/form-data", &*whole),
            ("multipart/form-data; boundary=c", &whole),
            ("multipart/form-data; boundary=b", &whole[..whole.len() - 8]),
            ("multipart/form-data; boundary=b", ""),
            ("multipart/form-data; boundary=b", &whole.replace("; name=\"a\"", "")),
        ] {
            let refused = of(content_type, body).await.unwrap_err();
            assert!(refused.starts_with("the form is not valid: "), "{content_type}: {refused}");
        }
    }
}
