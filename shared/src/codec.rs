//! The codec of the boundary: postcard, a compact binary format for serde.
//!
//! Invariant: decoding never panics and never allocates more than the input can describe. Leftover
//! bytes are an error.
//!
//! Source: <https://postcard.jamesmunns.com/wire-format>.

use serde::{Serialize, de::DeserializeOwned};

/// The bytes cannot be decoded as the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError;

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the bytes are not a message of the expected type")
    }
}

impl std::error::Error for DecodeError {}

/// Encodes a message.
///
/// # Panics
/// Never for the types of this crate: a vector grows as needed, and every sequence knows its
/// length.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "a vector cannot be full, and no type here has an unsized sequence"
    )]
    postcard::to_stdvec(message).expect("the contract's types encode")
}

/// Encodes a message into `buffer`. Returns its length; `None` if it does not fit.
#[must_use]
pub fn encode_into<T: Serialize>(message: &T, buffer: &mut [u8]) -> Option<usize> {
    postcard::to_slice(message, buffer).ok().map(|encoded| encoded.len())
}

/// Decodes a message that must fill `bytes` exactly.
///
/// # Errors
/// [`DecodeError`] if the bytes are truncated, malformed or too many.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(DecodeError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{calls, execution};
    use proptest::prelude::*;

    #[test]
    fn left_over_bytes_are_refused() {
        let mut bytes = encode(&7_u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(DecodeError));
    }

    #[test]
    fn a_buffer_takes_what_fits_exactly() {
        let encoded = encode(&"four");
        let mut buffer = [0; 8];
        assert_eq!(encode_into(&"four", &mut buffer), Some(encoded.len()));
        assert_eq!(buffer[..encoded.len()], encoded);
        assert_eq!(encode_into(&"four", &mut buffer[..encoded.len()]), Some(encoded.len()));
        assert_eq!(encode_into(&"four", &mut buffer[..encoded.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<execution::RunReply>(&bytes);
            let _ = decode::<execution::RunRequest>(&bytes);
            let _ = decode::<execution::CompileReply>(&bytes);
            let _ = decode::<calls::log::Write>(&bytes);
            let _ = decode::<calls::HostResult<calls::time::Instant>>(&bytes);
        }
    }
}
