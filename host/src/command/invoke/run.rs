//! The request and the result of a run by hand, `POST /execute/{id}`.
//!
//! The handler is in the orchestrator, whose types are only for the server. The tests here compare
//! the types of both sides.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use picloud::manager::api::{ExecutionError, Extensible, RecordedLine};
use picloud::orchestrator::execute::BodyEncoding;
use picloud::store::ExecutionStatus;
use serde::{Deserialize, Serialize};

use crate::command::Failure;

/// A request to a script.
#[derive(Serialize)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    #[serde(flatten)]
    pub(super) body: Body,
}

/// The result of a run.
#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) execution_id: String,
    pub(super) status: Extensible<ExecutionStatus>,
    pub(super) response: Option<Response>,
    pub(super) error: Option<ExecutionError>,
    pub(super) log: Vec<RecordedLine>,
    pub(super) fuel_used: u64,
    pub(super) memory_peak_bytes: u64,
    pub(super) duration_us: i64,
}

/// A script's response.
#[derive(Deserialize)]
pub(super) struct Response {
    pub(super) status: u16,
    #[serde(flatten)]
    pub(super) body: Body,
}

/// A body as text.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    #[serde(rename = "body")]
    text: String,
    #[serde(rename = "body_encoding")]
    encoding: BodyEncoding,
}

impl Body {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, encoding: BodyEncoding::Text },
            Err(error) => {
                Self { text: BASE64.encode(error.as_bytes()), encoding: BodyEncoding::Base64 }
            }
        }
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match self.encoding {
            BodyEncoding::Text => Ok(self.text.as_bytes().to_vec()),
            BodyEncoding::Base64 => BASE64
                .decode(&self.text)
                .map_err(|error| Failure(format!("the body is damaged: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use picloud::executor::{Failure as RunFailure, LogLine};
    use picloud::orchestrator::execute::{ExecuteAnswer, ExecuteRequest, ExecuteResponse};
    use serde_json::to_value;

    use super::*;
    use crate::command::tests::read;

    #[test]
    fn a_body_stays_what_it_is() {
        for bytes in [&b""[..], "\u{e4}".as_bytes(), b"\xff\xd8"] {
            assert_eq!(Body::of(bytes.to_vec()).bytes().ok().as_deref(), Some(bytes));
        }
        assert_eq!(Body::of(vec![0xff, 0xd8]).text, "/9g=");
        let damaged = Body { text: "/9g".to_owned(), encoding: BodyEncoding::Base64 };
        assert!(damaged.bytes().is_err());
    }

    #[test]
    fn the_server_reads_the_request() {
        let headers = vec![("x-trace".to_owned(), "on".to_owned())];
        let request = Request {
            method: "PUT".to_owned(),
            query: "a=b".to_owned(),
            headers: headers.clone(),
            body: Body::of(vec![0xff, 0xd8]),
        };
        let received: ExecuteRequest = read(&to_value(request).unwrap());
        assert_eq!((&*received.method, &*received.query), ("PUT", "a=b"));
        assert_eq!((received.headers, received.path), (headers, String::new()));
        assert_eq!((&*received.body, received.body_encoding), ("/9g=", BodyEncoding::Base64));
    }

    #[test]
    fn the_servers_result_is_read() {
        let response = ExecuteResponse {
            status: 201,
            headers: Vec::new(),
            body: "hi".to_owned(),
            body_encoding: BodyEncoding::Text,
        };
        let answer = ExecuteAnswer {
            execution_id: "7".to_owned(),
            status: ExecutionStatus::Error,
            response: Some(response),
            error: Some(RunFailure {
                message: "no".to_owned(),
                line: Some(2),
                column: None,
                limit: None,
                thrown: Some("{}".to_owned()),
                is_final: true,
            }),
            log: vec![LogLine {
                level: picloud_shared::calls::log::Level::Info,
                message: "hi".to_owned(),
                data: Some("{}".to_owned()),
                line: 3,
            }],
            fuel_used: 1,
            memory_peak_bytes: 2,
            duration_us: 3,
        };
        let run: Run = read(&to_value(answer).unwrap());
        assert_eq!((&*run.execution_id, run.status.known()), ("7", Some(&ExecutionStatus::Error)));
        assert_eq!((run.fuel_used, run.memory_peak_bytes, run.duration_us), (1, 2, 3));
        let response = run.response.unwrap();
        assert_eq!((response.status, response.body), (201, Body::of(b"hi".to_vec())));
        let error = run.error.unwrap();
        assert_eq!((&*error.message, error.line, error.column), ("no", Some(2), None));
        let RecordedLine { level, message, data, line } = &run.log[0];
        assert_eq!((&**level, &**message, data.as_deref(), *line), ("info", "hi", Some("{}"), 3));
    }
}
