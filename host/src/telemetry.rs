//! The log of the process.

use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct Logging {
    /// The filter, in the syntax of `tracing`.
    pub filter: String,
    /// The format of a line.
    pub format: LogFormat,
    /// Whether each response gets a line.
    pub logs_access: bool,
}

/// The target of the access log's lines.
pub const ACCESS: &str = "picloud::access";

/// Added to each filter, to hide notices of PostgreSQL, for example that a table already exists.
const QUIET: &str = "sqlx::postgres::notice=warn";

/// Starts writing log lines to standard error.
///
/// # Errors
/// If logging was already set up, or if the filter is invalid.
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
