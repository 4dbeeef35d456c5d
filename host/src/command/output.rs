//! The result of a command: as JSON, or for people.

use std::fmt;

use serde::Serialize;

use super::client::{Answer, Page};
use super::terminal::one_line;
use super::{Failure, print};

/// The options of a list.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// The most items to print, the newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=200))]
    pub(super) limit: u8,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The output format.
#[derive(clap::Args)]
pub(super) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Output {
    /// Prints a result: as JSON in full, or this text on a line.
    pub(super) fn print(&self, made: &impl Serialize, text: &str) -> Result<(), Failure> {
        print_one(made, self.json, format_args!("{text}\n"))
    }

    /// Prints a result as JSON, and nothing for people.
    pub(super) fn print_json(&self, made: &impl Serialize) -> Result<(), Failure> {
        print_one(made, self.json, "")
    }
}

/// Formats a value as JSON on indented lines, with the members in the order of their names.
pub(super) fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_value(value).map_err(Failure::new)?;
    Ok(format!("{json:#}"))
}

/// Prints a resource: as JSON in full, or as this text.
pub(super) fn print_one(
    resource: &impl Serialize,
    as_json: bool,
    text: impl fmt::Display,
) -> Result<(), Failure> {
    print(if as_json { format!("{}\n", pretty(resource)?) } else { text.to_string() })
}

/// Prints a page: its items as JSON, or a line for each.
pub(super) fn print_page<T>(
    page: &Page<Answer<T>>,
    as_json: bool,
    line: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    let lines = page.items.iter().map(|item| format!("{}\n", one_line(&line(&item.value))));
    let text: String = lines.collect();
    print_one(&page.items, as_json, text)?;
    if !as_json && page.next_offset.is_some() {
        eprintln!("there are more; --limit shows up to 200");
    }
    Ok(())
}
