//! `picloud config`.

use std::process::ExitCode;

use picloud::config::{Config, SETTINGS};
use serde_json::{Map, Value, json};

use super::{Failure, print};

/// Prints every setting, as a table or as JSON.
pub(super) fn show(config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    print(if as_json { json(config) } else { table(config) })?;
    Ok(ExitCode::SUCCESS)
}

fn json(config: &Config) -> String {
    let defaults = Config::default();
    let settings: Map<String, Value> = (SETTINGS.iter())
        .map(|setting| {
            let value = json!({
                "value": setting.show(config),
                "default": setting.show(&defaults),
                "unit": setting.unit,
                "description": setting.doc,
            });
            (setting.name.to_owned(), value)
        })
        .collect();
    format!("{:#}\n", Value::Object(settings))
}

fn table(config: &Config) -> String {
    let defaults = Config::default();
    let head = ["NAME", "VALUE", "DEFAULT", "UNIT", "WHAT IT IS FOR"].map(str::to_owned);
    let rows = SETTINGS.iter().map(|setting| {
        let (name, unit, doc) = (setting.name.into(), setting.unit.into(), setting.doc.into());
        [name, setting.show(config), setting.show(&defaults), unit, doc]
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
        let table = table(&config);
        let column = table.find("DEFAULT").unwrap();
        assert!(table.lines().all(|line| &line[column - 2..column] == "  "), "{table}");
        assert!(table.contains("(set)") && !table.contains(key));
        assert!(!json(&config).contains(key));
    }

    #[test]
    fn every_setting_is_in_both_forms() {
        let (table, json) = (table(&Config::default()), json(&Config::default()));
        for setting in SETTINGS {
            assert!(table.contains(setting.name) && json.contains(setting.name));
        }
    }
}
