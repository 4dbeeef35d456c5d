//! `picloud invoke APP/SCRIPT`.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use picloud::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::data::read_data;
use super::execution::{log_line, short_error};
use super::{Failure, ScriptAddress, Server, print, print_bytes};

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud invoke demo/hello
  picloud invoke demo/hello --query name=Ada
  picloud invoke demo/orders --data '{\"item\": 1}' --header 'X-Trace: on'
  picloud invoke demo/thumbnail --data @photo.jpg > small.jpg

The body goes to standard output; status, log, fuel and time to standard error.
The exit code is 1 when the script failed.")]
pub(super) struct Invoke {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// The request's body: a text, @FILE, or - for standard input
    #[arg(long)]
    data: Option<String>,
    /// The request's method [default: GET, with --data POST]
    #[arg(long)]
    method: Option<String>,
    /// A header, as `Name: value`; may be given more than once
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A parameter of the query, as `name=value`; may be given more than once
    #[arg(long = "query", value_name = "QUERY", value_parser = parameter)]
    query: Vec<(String, String)>,
    /// Print the whole answer as JSON: status, log, fuel and the response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Invoke {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let client = self.server.client(config)?;
        let body = self.data.as_deref().map(read_data).transpose()?;
        let default_method = if body.is_some() { "POST" } else { "GET" };
        let mut headers = self.headers;
        let mut request = json!({
            "method": self.method.as_deref().unwrap_or(default_method).to_ascii_uppercase(),
            "query": query_text(&self.query),
        });
        if let Some(body) = body {
            let is_typed =
                headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            if !is_typed {
                headers.push(("content-type".to_owned(), content_type(&body).to_owned()));
            }
            match String::from_utf8(body) {
                Ok(text) => request["body"] = text.into(),
                Err(binary) => {
                    request["body"] = BASE64.encode(binary.as_bytes()).into();
                    request["body_encoding"] = "base64".into();
                }
            }
        }
        request["headers"] = json!(headers);

        let id = client.script_id(&self.script).await?;
        let answer = client.call(Method::POST, &format!("/execute/{id}"), Some(&request)).await?;
        if self.json {
            print(format!("{answer:#}\n"))?;
            return Ok(exit_code(&answer));
        }
        show(&answer)
    }
}

fn show(answer: &Value) -> Result<ExitCode, Failure> {
    let response = &answer["response"];
    print_bytes(&response_body(response)?)?;
    // The shell's next line must not begin behind the body.
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        print("\n")?;
    }

    for line in answer["log"].as_array().into_iter().flatten() {
        eprintln!("{}", log_line(line));
    }
    if !answer["error"].is_null() {
        eprintln!("{}", short_error(&answer["error"]));
    }
    let status = answer["status"].as_str().unwrap_or_default();
    let answered = response["status"].as_u64().map(|code| format!(", HTTP {code}"));
    eprintln!(
        "{status}{} · {} fuel · {:.1} MiB · {:.2} ms · {}",
        answered.unwrap_or_default(),
        answer["fuel_used"],
        answer["memory_peak_bytes"].as_f64().unwrap_or_default() / f64::from(1 << 20),
        answer["duration_us"].as_f64().unwrap_or_default() / 1000.0,
        answer["execution_id"].as_str().unwrap_or_default(),
    );
    Ok(exit_code(answer))
}

fn exit_code(answer: &Value) -> ExitCode {
    if answer["status"] == "success" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn response_body(response: &Value) -> Result<Vec<u8>, Failure> {
    let text = response["body"].as_str().unwrap_or_default();
    if response["body_encoding"] == "base64" {
        BASE64.decode(text).map_err(|error| Failure(format!("the body is damaged: {error}")))
    } else {
        Ok(text.as_bytes().to_vec())
    }
}

fn query_text(parameters: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// What the body seems to be.
fn content_type(body: &[u8]) -> &'static str {
    match std::str::from_utf8(body) {
        Err(_) => "application/octet-stream",
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            "application/json"
        }
        Ok(_) => "text/plain; charset=utf-8",
    }
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is written `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("a parameter is written `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_announced_as_what_it_seems_to_be() {
        assert_eq!(content_type(b"{\"a\": 1}"), "application/json");
        assert_eq!(content_type(b"hello"), "text/plain; charset=utf-8");
        assert_eq!(content_type(b"\xff\xd8"), "application/octet-stream");
    }

    #[test]
    fn a_binary_body_is_printed_as_it_was() {
        let response = json!({ "body": "/9g=", "body_encoding": "base64" });
        assert_eq!(response_body(&response).ok(), Some(vec![0xff, 0xd8]));
        assert_eq!(response_body(&json!({ "body": "ä" })).ok(), Some("ä".into()));
        assert_eq!(response_body(&Value::Null).ok(), Some(Vec::new()));
    }

    #[test]
    fn headers_and_parameters_are_pairs() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("X-Time: 12:30"), pair("X-Time", "12:30"));
        assert_eq!(parameter("a=b=c"), pair("a", "b=c"));
        let pairs = [("name".to_owned(), "Ada & Co".to_owned()), ("n".to_owned(), "1".to_owned())];
        assert_eq!(query_text(&pairs), "name=Ada+%26+Co&n=1");
        assert!(header("X-Time").is_err() && parameter("a").is_err());
    }
}
