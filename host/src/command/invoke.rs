//! `picloud invoke APP/SCRIPT`.

mod run;

use std::process::ExitCode;

use picloud::config::Config;
use picloud::store::ExecutionStatus;

use super::data::read_data;
use super::execution::{log_line, short_error};
use super::output::pretty;
use super::{Failure, ScriptAddress, Server, print, print_bytes};

use run::{Body, Request, Run};

/// The arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud invoke demo/hello
  picloud invoke demo/hello --query name=Ada
  picloud invoke demo/orders --data '{\"item\": 1}' --header 'X-Trace: on'
  picloud invoke demo/thumbnail --data @photo.jpg > small.jpg

The response body goes to standard output; status, log, fuel and time to standard error.
The exit code is 1 if the script fails.")]
pub(super) struct Invoke {
    /// The script
    #[arg(value_name = "APP/SCRIPT")]
    script: ScriptAddress,
    /// The request body: a text, @FILE, or - for standard input
    #[arg(long)]
    data: Option<String>,
    /// The request method [default: GET, with --data POST]
    #[arg(long)]
    method: Option<String>,
    /// A header, as `Name: value`; can be repeated
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A query parameter, as `name=value`; can be repeated
    #[arg(long = "query", value_name = "QUERY", value_parser = parameter)]
    query: Vec<(String, String)>,
    /// Print the whole result as JSON: status, log, fuel and response
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
        if let Some(body) = &body {
            let is_typed =
                headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            if !is_typed {
                headers.push(("content-type".to_owned(), content_type(body).to_owned()));
            }
        }
        let request = Request {
            method: self.method.as_deref().unwrap_or(default_method).to_ascii_uppercase(),
            query: query_text(&self.query),
            headers,
            body: Body::of(body.unwrap_or_default()),
        };

        let id = client.script_id(&self.script).await?;
        let run = client.post::<Run>(&format!("/execute/{id}"), &request).await?;
        if self.json {
            print(format!("{}\n", pretty(&run)?))?;
        } else {
            show(&run.value)?;
        }
        Ok(match run.value.status.known() {
            Some(ExecutionStatus::Success) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

fn show(run: &Run) -> Result<(), Failure> {
    if let Some(response) = &run.response {
        print_bytes(&response.body.bytes()?)?;
    }
    // A shell prompt must not follow the body on the same line.
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        print("\n")?;
    }

    for line in &run.log {
        eprintln!("{}", log_line(line));
    }
    if let Some(error) = &run.error {
        eprintln!("{}", short_error(error));
    }
    let answered = run.response.as_ref().map(|response| format!(", HTTP {}", response.status));
    eprintln!(
        "{}{} · {} fuel · {:.1} MiB · {:.2} ms · {}",
        run.status,
        answered.unwrap_or_default(),
        run.fuel_used,
        run.memory_peak_bytes as f64 / f64::from(1 << 20),
        run.duration_us as f64 / 1000.0,
        run.execution_id,
    );
    Ok(())
}

fn query_text(parameters: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// Guesses the content type of a body.
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
    fn headers_and_parameters_are_pairs() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("X-Time: 12:30"), pair("X-Time", "12:30"));
        assert_eq!(parameter("a=b=c"), pair("a", "b=c"));
        let pairs = [("name".to_owned(), "Ada & Co".to_owned()), ("n".to_owned(), "1".to_owned())];
        assert_eq!(query_text(&pairs), "name=Ada+%26+Co&n=1");
        assert!(header("X-Time").is_err() && parameter("a").is_err());
    }
}
