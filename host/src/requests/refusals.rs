//! Maps errors of bodies and stored requests to API errors.

use super::{Error as RequestError, body, coding, form};
use crate::error::{Error, Refusal};

impl From<coding::Error> for Error {
    fn from(error: coding::Error) -> Self {
        let message = error.to_string();
        match error {
            coding::Error::Unsupported(_) => Self::Unsupported {
                refusal: Refusal::new("content_encoding_unsupported", message),
                accepted: coding::ACCEPTED,
            },
            coding::Error::TooLarge(most) => {
                let refusal = Refusal::new("body_too_large", message);
                Self::TooLarge(refusal.with("limit", "request_bytes").with("most", most))
            }
            coding::Error::Damaged { .. } => Self::Invalid(Refusal::new("body_invalid", message)),
        }
    }
}

impl From<body::Error> for Error {
    fn from(error: body::Error) -> Self {
        let message = error.to_string();
        match error {
            body::Error::Json(error) => Self::body_invalid(&error),
            body::Error::Form(form::Error::Invalid(_)) => {
                Self::Invalid(Refusal::new("body_invalid", message))
            }
            body::Error::Form(form::Error::TooMany { limit, most, .. }) => {
                let refusal = Refusal::new("form_too_large", message);
                Self::TooLarge(refusal.with("limit", limit).with("most", most))
            }
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Lost(lost) => {
                let message = format!("{lost}; send the payload with its credentials");
                Self::Conflict(Refusal::new("credentials_lost", message))
            }
            RequestError::Body(why) => Self::Invalid(Refusal::new("body_invalid", why)),
            RequestError::Secrets(error) => error.into(),
            RequestError::Json(error) => Self::internal(error),
        }
    }
}
