//! The log of the process.

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A filter of `tracing`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
    /// Whether each answer has a line.
    pub logs_access: bool,
}

/// The target of the access log's lines.
pub const ACCESS: &str = "picloud::access";

/// Added to each filter: PostgreSQL's notices, for example that a table exists already, are no
/// news.
const QUIET: &str = "sqlx::postgres::notice=warn";

/// Writes log lines to standard error from now on.
///
/// # Errors
/// When logging was set up before, or the filter does not parse.
pub fn start(logging: &Logging) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let access = if logging.logs_access { "info" } else { "off" };
    let filter = format!("{QUIET},{},{ACCESS}={access}", logging.filter);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr);
    match logging.format {
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
}
