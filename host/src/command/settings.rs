//! `picloud config`: prints settings.

use std::collections::BTreeMap;
use std::process::ExitCode;

use picloud::config::Config;
use picloud::manager::api::{InstanceSettings, Setting};
use serde::Serialize;
use serde_json::json;

use super::output::{Output, print_one};
use super::{Failure, Server};

/// The settings to print.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud config
  picloud config --local            what `picloud serve` would use in this environment

Without --local it asks the server, and needs a key with the scope instance:admin.")]
pub(super) struct Settings {
    /// Print the settings of this environment, without asking a server
    #[arg(long, conflicts_with_all = ["url", "key"])]
    local: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

impl Settings {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let settings = match self.local {
            true => Setting::all(&config),
            false => of_server(self.server, config).await.map_err(|Failure(why)| {
                Failure(format!(
                    "{why}\n`picloud config --local` prints the settings of this environment"
                ))
            })?,
        };
        print_one(&by_name(&settings), self.output.json, table(&settings))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn of_server(server: Server, config: Config) -> Result<Vec<Setting>, Failure> {
    let client = server.client(config)?;
    let answer = client.get::<InstanceSettings>("/instance/settings").await?;
    Ok(answer.value.settings)
}

/// Returns the settings for programs.
fn by_name(settings: &[Setting]) -> BTreeMap<&str, impl Serialize> {
    let by_name = settings.iter().map(|setting| {
        let Setting { name, value, default, unit, description, .. } = setting;
        let shown = json!({
            "value": value,
            "default": default,
            "unit": unit,
            "description": description,
        });
        (&**name, shown)
    });
    by_name.collect()
}

fn table(settings: &[Setting]) -> String {
    let head = ["NAME", "VALUE", "DEFAULT", "UNIT", "DESCRIPTION"];
    let rows = settings.iter().map(|setting| {
        let Setting { name, value, default, unit, description, .. } = setting;
        [name, &**value, &**default, unit, description]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // The last column needs no padding.
            let width = if column + 1 == row.len() { 0 } else { width + 2 };
            text += &format!("{cell:<width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use picloud::config::SETTINGS;

    use super::*;
    use crate::command::output::pretty;

    #[test]
    fn the_table_is_aligned_and_shows_no_secret() {
        let key = "0123456789abcdef";
        let config = Config { owner_key: key.parse().ok(), ..Config::default() };
        let settings = Setting::all(&config);
        let table = table(&settings);
        let column = table.find("DEFAULT").unwrap();
        assert!(table.lines().all(|line| &line[column - 2..column] == "  "), "{table}");
        assert!(table.contains("(set)") && !table.contains(key));
        let json = pretty(&by_name(&settings)).ok().unwrap();
        assert!(json.contains("(set)") && !json.contains(key));
    }

    #[test]
    fn every_setting_is_in_both_forms() {
        let settings = Setting::all(&Config::default());
        let (table, by_name) = (table(&settings), by_name(&settings));
        for setting in SETTINGS {
            assert!(table.contains(setting.name) && by_name.contains_key(setting.name));
        }
    }
}
