//! Decodes the `Content-Encoding` of a body (RFC 9110, section 8.4).
//!
//! Invariant: a decoded body never exceeds the limit for bodies.

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;

/// The supported codings, in the form of `Accept-Encoding`.
pub const ACCEPTED: &str = "gzip, br, zstd, deflate";

/// The maximum number of bodies decoded at once. A decoder takes up to 16 MiB besides its output.
const DECODERS_MAX: usize = 4;
static DECODERS: Semaphore = Semaphore::const_new(DECODERS_MAX);

/// The largest window of zstd, as a power of two: 8 MiB (RFC 9659). A frame could ask for 2 GiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The error of decoding a body.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The coding is unknown, or several were applied.
    #[error("the Content-Encoding {0:?} is not supported; send {ACCEPTED}, or none")]
    Unsupported(String),
    /// The decoded body would exceed this number of bytes.
    #[error("the decoded body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body is not valid in its coding.
    #[error("the body is not valid {coding}: {reason}")]
    Damaged {
        /// The coding, as in the header.
        coding: &'static str,
        /// The error.
        reason: String,
    },
}

/// The compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1950; some clients omit its frame and send RFC 1951.
    Deflate,
}

impl Coding {
    /// Returns the coding of a body with these headers; `None` if it is not encoded.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let all = values.collect::<Vec<_>>().join(",");
        let codings = all.split(',').map(|coding| coding.trim().to_ascii_lowercase());
        let codings: Vec<_> = codings.filter(|c| !c.is_empty() && c != "identity").collect();
        match &codings[..] {
            [] => Ok(None),
            [coding] => match &**coding {
                "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
                "br" => Ok(Some(Self::Brotli)),
                "zstd" => Ok(Some(Self::Zstd)),
                "deflate" => Ok(Some(Self::Deflate)),
                _ => Err(Error::Unsupported(all)),
            },
            _ => Err(Error::Unsupported(all)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// Decodes the body, up to `bytes_max` bytes. Uses a blocking thread, because a small body can
    /// expand to a large one.
    ///
    /// # Errors
    /// `TooLarge`, `Damaged`.
    pub async fn decode(self, body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let damaged = move |reason: &dyn std::fmt::Display| Error::Damaged {
            coding: self.name(),
            reason: reason.to_string(),
        };
        let _permit = DECODERS.acquire().await.map_err(|error| damaged(&error))?;
        let decoded = tokio::task::spawn_blocking(move || {
            futures::executor::block_on(read(self.reader(&body), bytes_max))
        });
        let decoded = decoded.await.map_err(|error| damaged(&error))?;
        let decoded = decoded.map_err(|error| damaged(&error))?;
        if decoded.len() > bytes_max { Err(Error::TooLarge(bytes_max)) } else { Ok(decoded) }
    }

    fn reader(self, body: &[u8]) -> Box<dyn AsyncRead + Unpin + '_> {
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(body);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Brotli => Box::new(BrotliDecoder::new(body)),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
                let mut decoder = ZstdDecoder::with_params(body, &[window]);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Deflate if is_zlib(body) => Box::new(ZlibDecoder::new(body)),
            Self::Deflate => Box::new(DeflateDecoder::new(body)),
        }
    }
}

/// Reads one byte more than `bytes_max`, which shows that the body is too large.
async fn read(reader: impl AsyncRead + Unpin, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut decoded).await?;
    Ok(decoded)
}

/// Whether the body begins with the header of RFC 1950, section 2.2.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{
        BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
    };

    use super::*;

    async fn all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    async fn encoded(text: &[u8]) -> [(Coding, Vec<u8>); 5] {
        [
            (Coding::Gzip, all(GzipEncoder::new(text)).await),
            (Coding::Brotli, all(BrotliEncoder::new(text)).await),
            (Coding::Zstd, all(ZstdEncoder::new(text)).await),
            (Coding::Deflate, all(ZlibEncoder::new(text)).await),
            (Coding::Deflate, all(DeflateEncoder::new(text)).await),
        ]
    }

    #[tokio::test]
    async fn what_was_encoded_is_decoded_up_to_the_limit() {
        let text = "héllo ".repeat(1000);
        for (coding, bytes) in encoded(text.as_bytes()).await {
            let decoded = coding.decode(bytes.clone(), text.len()).await.unwrap();
            assert!(decoded == text.as_bytes(), "{coding:?}");
            let refused = coding.decode(bytes, text.len() - 1).await.unwrap_err();
            assert!(
                matches!(refused, Error::TooLarge(most) if most == text.len() - 1),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn a_bomb_takes_no_more_than_the_limit() {
        let zeros = vec![0; 64 << 20];
        for (coding, bytes) in encoded(&zeros).await {
            let refused = coding.decode(bytes, 1 << 20).await.unwrap_err();
            assert!(matches!(refused, Error::TooLarge(_)), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_damaged_body_is_refused_by_the_name_of_its_coding() {
        for (coding, bytes) in encoded(b"some text that is long enough to be cut").await {
            let cut = bytes[..bytes.len() / 2].to_vec();
            for wrong in [b"plain text".to_vec(), cut, Vec::new()] {
                let refused = coding.decode(wrong.clone(), 1 << 20).await;
                // A zstd body without a frame is empty.
                if coding == Coding::Zstd && wrong.is_empty() {
                    continue;
                }
                let refused = refused.unwrap_err().to_string();
                assert!(refused.starts_with("the body is not valid "), "{coding:?} {refused}");
            }
        }
    }

    #[test]
    fn one_known_coding_is_understood() {
        let of = |values: &[&str]| {
            let headers = values.iter().map(|value| (CONTENT_ENCODING, value.parse().unwrap()));
            Coding::of(&headers.collect())
        };
        for none in [&[][..], &["identity"], &[""], &["Identity, "]] {
            assert_eq!(of(none).unwrap(), None, "{none:?}");
        }
        assert_eq!(of(&["GZIP"]).unwrap(), Some(Coding::Gzip));
        assert_eq!(of(&["identity, x-gzip"]).unwrap(), Some(Coding::Gzip));
        assert_eq!(of(&["br"]).unwrap(), Some(Coding::Brotli));
        for wrong in [&["compress"][..], &["gzip, gzip"], &["gzip", "br"], &["aws-chunked"]] {
            assert!(matches!(of(wrong), Err(Error::Unsupported(_))), "{wrong:?}");
        }
    }
}
