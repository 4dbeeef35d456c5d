//! The response log: one line per response (the access log), and the causes of internal errors with
//! the ids that the callers received.
//!
//! Invariant: no line contains a credential of a caller.

use std::error::Error as StdError;
use std::net::IpAddr;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::Response;
use tokio::time::Instant;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::error::{InternalCause, internal_answer};
use crate::requests::mask;
use crate::telemetry::ACCESS;

/// The header with the id of an execution.
const EXECUTION: &str = "x-picloud-execution-id";
/// The prefix of the API paths that belong to an app.
const API_OF_APPS: &str = "/api/v1/apps/";

/// The app and the path that a response of a script belongs to. An extension of that response.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The app's name.
    pub app: String,
    /// The path of the request, with credentials in its parameters masked.
    pub path: String,
}

/// The settings of the response log. Cheap to clone.
#[derive(Clone)]
pub struct AnswerLog {
    /// Generates the ids of internal errors.
    pub clock: Clock,
    /// Finds the address of the caller.
    pub auth: Auth,
    /// Whether the access log is on.
    pub logs_access: bool,
}

/// The part of a request that its line in the log needs.
pub struct Asked {
    /// The method.
    pub method: Method,
    uri: Uri,
    caller: Option<IpAddr>,
    begun: Instant,
}

impl AnswerLog {
    /// Notes a request, before it is answered.
    #[must_use]
    pub fn note(&self, request: &Request) -> Asked {
        let caller = match self.logs_access {
            true => self.auth.caller_address(request.extensions(), request.headers()),
            false => None,
        };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Asked { method, uri, caller, begun: Instant::now() }
    }

    /// Logs a response. Replaces an internal error by a response with the id of its cause.
    #[must_use]
    pub fn finish(&self, asked: Asked, mut answer: Response) -> Response {
        let Asked { method, uri, caller, begun } = asked;
        let subject = answer.extensions_mut().remove::<Subject>();
        if let Some(InternalCause(cause)) = answer.extensions_mut().remove::<InternalCause>() {
            let id = self.clock.new_id().to_string();
            let (app, path) = (app_of(subject.as_ref(), &uri), shown(subject.as_ref(), &uri));
            let error = in_full(&*cause);
            tracing::error!(id, %method, path, app, error, "internal error");
            answer = internal_answer(&id);
        }
        if self.logs_access {
            let line = Line { method, uri, subject, answer: &answer };
            let caller = caller.map(|caller| caller.to_string());
            line.write(caller.as_deref(), begun.elapsed().as_micros());
        }
        answer
    }
}

/// A line of the access log.
struct Line<'a> {
    method: Method,
    uri: Uri,
    subject: Option<Subject>,
    answer: &'a Response,
}

impl Line<'_> {
    fn write(self, caller: Option<&str>, duration_us: u128) {
        let subject = self.subject.as_ref();
        let execution = self.answer.headers().get(EXECUTION).and_then(|id| id.to_str().ok());
        let app = Some(app_of(subject, &self.uri)).filter(|app| !app.is_empty());
        tracing::info!(
            target: ACCESS,
            status = self.answer.status().as_u16(),
            duration_us = u64::try_from(duration_us).unwrap_or(u64::MAX),
            // Unknown for a streamed response.
            bytes = self.answer.body().size_hint().exact(),
            caller,
            app,
            execution,
            "{} {}", self.method, shown(subject, &self.uri),
        );
    }
}

/// Returns the name of a request's app; empty if the request belongs to no app.
fn app_of<'a>(subject: Option<&'a Subject>, uri: &'a Uri) -> &'a str {
    let of_api = || uri.path().strip_prefix(API_OF_APPS)?.split('/').next();
    subject.map(|subject| &*subject.app).or_else(of_api).unwrap_or_default()
}

/// Returns the path and query without credentials.
fn shown(subject: Option<&Subject>, uri: &Uri) -> String {
    let path = subject.map_or(uri.path(), |subject| &*subject.path);
    match uri.query() {
        Some(query) => format!("{path}?{}", mask::query(query)),
        None => path.to_owned(),
    }
}

/// Returns an error and its causes, outermost first.
fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors already include the text of their cause.
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
