//! Calls that fail, and error responses.

use picloud::manager::api::{ErrorBody, Refusal};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;

use crate::command::Failure;

/// The reason why a call has no result.
pub(in crate::command) enum CallError {
    /// There is no response.
    Unanswered(Failure),
    /// The response is an error.
    Refused(Refused),
    /// The response has another form than the API's.
    Unreadable(Failure),
}

/// An error response.
pub(in crate::command) struct Refused {
    pub(in crate::command) status: StatusCode,
    /// The error; `None` if the response is not one of PiCloud.
    error: Option<Refusal>,
}

impl CallError {
    pub(super) fn unreadable(status: StatusCode, error: &serde_json::Error) -> Self {
        Self::Unreadable(Failure(format!(
            "the server answered {status} in a form that PiCloud {} does not know: {error}; is \
             the URL correct, and does the server run the same release?",
            env!("CARGO_PKG_VERSION")
        )))
    }

    /// Whether the server does not have the resource.
    pub(in crate::command) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.status == StatusCode::NOT_FOUND)
    }

    /// Returns the error of the response, if the server refused the call.
    pub(in crate::command) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refused) => refused.error.as_ref(),
            Self::Unanswered(_) | Self::Unreadable(_) => None,
        }
    }

    /// Whether the server refused the call with this error code.
    pub(in crate::command) fn has_code(&self, code: &str) -> bool {
        self.refusal().is_some_and(|error| error.code == code)
    }
}

impl Refused {
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let body = serde_json::from_slice::<ErrorBody>(body).ok();
        Self { status, error: body.map(|body| body.error) }
    }
}

/// Reads the details of an error; `None` if it does not have those of `T`.
pub(in crate::command) fn details<T: DeserializeOwned>(error: &Refusal) -> Option<T> {
    let details = error.details.iter().map(|(name, value)| (name.as_str(), value.clone()));
    T::deserialize(MapDeserializer::<_, serde_json::Error>::new(details)).ok()
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unanswered(failure) | CallError::Unreadable(failure) => failure,
            CallError::Refused(refused) => refused.into(),
        }
    }
}

impl From<Refused> for Failure {
    fn from(Refused { status, error }: Refused) -> Self {
        match (status, error) {
            (StatusCode::UNAUTHORIZED, Some(_)) => Self::new(
                "the server does not accept this key; it prints the owner key at its first start, \
                 and `picloud owner-key reset` makes a new one",
            ),
            (_, Some(error)) => Self::new(error),
            (status, None) => Self(format!(
                "the server answered {status} in a form that PiCloud does not know; is the URL \
                 correct?"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn said(status: StatusCode, body: &str) -> String {
        let Failure(said) = Refused::read(status, body.as_bytes()).into();
        said
    }

    #[test]
    fn an_error_is_told_in_the_servers_words() {
        let body = r#"{"error":{"code":"app_not_found","message":"there is no such app"}}"#;
        assert_eq!(said(StatusCode::NOT_FOUND, body), "there is no such app");
        assert!(said(StatusCode::UNAUTHORIZED, body).contains("does not accept this key"));
        for foreign in ["", "<html>", "{}", r#"{"error":"no"}"#] {
            let said = said(StatusCode::BAD_GATEWAY, foreign);
            assert!(said.starts_with("the server answered 502 Bad Gateway in a form"), "{said}");
        }
        let error = CallError::Refused(Refused::read(StatusCode::NOT_FOUND, body.as_bytes()));
        assert!(error.is_not_found() && error.has_code("app_not_found") && !error.has_code("app"));
    }

    #[test]
    fn an_error_has_details() {
        #[derive(Deserialize)]
        struct Position {
            line: u32,
        }
        let error = |details: &str| {
            let body = format!(r#"{{"error":{{"code":"c","message":"m"{details}}}}}"#);
            Refused::read(StatusCode::BAD_REQUEST, body.as_bytes()).error.unwrap()
        };
        let line = |of: &Refusal| details::<Position>(of).map(|position| position.line);
        assert_eq!(line(&error(r#","line":7,"more":[{}]"#)), Some(7));
        assert_eq!((line(&error("")), line(&error(r#","line":"7""#))), (None, None));
    }
}
