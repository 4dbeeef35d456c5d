//! `picloud config`.

use std::process::ExitCode;

use picloud::config::{Config, SETTINGS};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::detail::Output;
use super::{Failure, Server, print};

/// Whose settings.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  picloud config
  picloud config --local            what `picloud serve` would start with in this environment

Without --local it asks the server, and needs a key that may see how the instance is.")]
pub(super) struct Settings {
    /// Those of this process's environment, without asking a server
    #[arg(long, conflicts_with_all = ["url", "key"])]
    local: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: Server,
}

/// A setting and its value; of a secret, whether it is set.
#[derive(Deserialize)]
struct Setting {
    name: String,
    value: String,
    default: String,
    unit: String,
    description: String,
}

/// What the server answers.
#[derive(Deserialize)]
struct Answer {
    settings: Vec<Setting>,
}

impl Settings {
    pub(super) async fn run(self, config: Config) -> Result<ExitCode, Failure> {
        let settings = match self.local {
            true => of_environment(&config),
            false => of_server(self.server, config).await.map_err(|Failure(why)| {
                Failure(format!(
                    "{why}\n`picloud config --local` prints the settings of this environment"
                ))
            })?,
        };
        print(if self.output.json { json(&settings) } else { table(&settings) })?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn of_server(server: Server, config: Config) -> Result<Vec<Setting>, Failure> {
    let client = server.client(config)?;
    let answer = client.call(Method::GET, "/instance/settings", None).await?;
    let answer: Answer = serde_json::from_value(answer).map_err(Failure::new)?;
    Ok(answer.settings)
}

fn of_environment(config: &Config) -> Vec<Setting> {
    let defaults = Config::default();
    let settings = SETTINGS.iter().map(|setting| Setting {
        name: setting.name.to_owned(),
        value: setting.show(config),
        default: setting.show(&defaults),
        unit: setting.unit.to_owned(),
        description: setting.doc.to_owned(),
    });
    settings.collect()
}

fn json(settings: &[Setting]) -> String {
    let settings: Map<String, Value> = (settings.iter())
        .map(|setting| {
            let value = json!({
                "value": setting.value,
                "default": setting.default,
                "unit": setting.unit,
                "description": setting.description,
            });
            (setting.name.clone(), value)
        })
        .collect();
    format!("{:#}\n", Value::Object(settings))
}

fn table(settings: &[Setting]) -> String {
    let head = ["NAME", "VALUE", "DEFAULT", "UNIT", "WHAT IT IS FOR"];
    let rows = settings.iter().map(|setting| {
        [&setting.name, &setting.value, &setting.default, &setting.unit, &setting.description]
            .map(String::as_str)
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // The last column needs nothing behind it.
            let width = if column + 1 == row.len() { 0 } else { width + 2 };
            text += &format!("{cell:<width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_shows_no_secret() {
        let key = "0123456789abcdef";
        let config = Config { owner_key: key.parse().ok(), ..Config::default() };
        let settings = of_environment(&config);
        let table = table(&settings);
        let column = table.find("DEFAULT").unwrap();
        assert!(table.lines().all(|line| &line[column - 2..column] == "  "), "{table}");
        assert!(table.contains("(set)") && !table.contains(key));
        assert!(!json(&settings).contains(key));
    }

    #[test]
    fn every_setting_is_in_both_forms() {
        let settings = of_environment(&Config::default());
        let (table, json) = (table(&settings), json(&settings));
        for setting in SETTINGS {
            assert!(table.contains(setting.name) && json.contains(setting.name));
        }
    }
}
