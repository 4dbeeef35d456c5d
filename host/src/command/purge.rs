//! `picloud logs purge` and `picloud compact`: free disk space.

use std::process::ExitCode;
use std::str::FromStr;

use picloud::config::Config;
use picloud::manager::api::Purged;
use picloud::{data_folder, instance, store};
use serde_json::json;

use super::client::encode;
use super::output::Output;
use super::{Failure, ScriptAddress, Server};

/// The executions to delete: all, those of an app, or those of a script.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud logs purge --older-than 7d
  picloud logs purge --older-than 12h --app demo --script hello")]
pub(super) struct Purge {
    /// Only executions older than this: a number with s, m, h, d or w; 0s for all
    #[arg(long, value_name = "AGE")]
    older_than: Age,
    /// Only executions of this app
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Only executions of this script of the app; APP/SCRIPT without `--app`
    #[arg(long, value_name = "SCRIPT")]
    script: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// A time span in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Age(pub(super) u32);

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a number with s, m, h, d or w, such as 7d";
        let unit = text.chars().next_back().ok_or(WRONG)?;
        let seconds: u32 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(WRONG),
        };
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(WRONG);
        }
        let number = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(seconds));
        number.map(Self).ok_or("at most 136 years")
    }
}

impl Purge {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let (path, output) = (self.path()?, &self.output);
        let client = self.server.client(config)?;
        let mut deleted = 0;
        loop {
            let purged = client.delete::<Purged>(&path).await?.value;
            deleted += purged.deleted;
            if purged.complete {
                break;
            }
            eprintln!("deleted so far: {deleted}");
        }
        output.print(&json!({ "deleted": deleted }), &deleted.to_string())?;
        eprintln!("executions were deleted");
        Ok(ExitCode::SUCCESS)
    }

    fn path(&self) -> Result<String, Failure> {
        let Age(age) = self.older_than;
        let address = |script: &str| script.parse::<ScriptAddress>().map_err(Failure::new);
        let (app, script) = match (&self.app, &self.script) {
            (None, None) => return Ok(format!("/executions?older_than_s={age}")),
            (None, Some(script)) => {
                let ScriptAddress { app, script } = address(script)?;
                (app, Some(script))
            }
            (Some(app), script) => (app.clone(), script.clone()),
        };
        let script = script.map(|script| format!("&script={}", encode(&script)));
        let script = script.unwrap_or_default();
        Ok(format!("/apps/{}/executions?older_than_s={age}{script}", encode(&app)))
    }
}

/// Rewrites the SQLite database without unused space.
pub(super) async fn compact(config: &Config) -> Result<ExitCode, Failure> {
    let url = config.database_url().map_err(Failure::new)?;
    let Some(file) = url.file() else {
        return Err(Failure::new("PostgreSQL frees space itself: see VACUUM in its manual"));
    };
    instance::check_used(&url, &config.data).await.map_err(Failure::new)?;
    // Released when the process ends.
    let _lock = data_folder::lock(&file).map_err(Failure::new)?;
    let size = || std::fs::metadata(&file).map(|about| about.len()).map_err(Failure::new);
    let before = size()?;
    store::compact(&url).await.map_err(|error| Failure(format!("the database {url}: {error}")))?;
    eprintln!("the size of the database was {before} bytes and is now {} bytes", size()?);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("90m", 5400), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Age(seconds)), "{text}");
        }
        for wrong in ["", "7", "d", "-1d", "1.5h", "7 d", "7y", "9999999999s", "8000w", "7ä"] {
            assert!(wrong.parse::<Age>().is_err(), "{wrong}");
        }
    }
}
