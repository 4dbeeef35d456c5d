//! What `picloud kv` and `picloud files` have in common: places, and lists of any length.

use std::ops::ControlFlow;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Client, encode};
use super::events::query;
use super::terminal::one_line;
use super::{Failure, print_to_reader};

/// How many entries one request lists.
const PAGE: usize = 200;

/// A collection or a bucket, as `APP/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) app: String,
    pub(super) name: String,
}

impl std::str::FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((app, name)) if !app.is_empty() && !name.is_empty() => {
                Ok(Self { app: app.to_owned(), name: name.to_owned() })
            }
            _ => Err("it is named APP/NAME, like demo/orders"),
        }
    }
}

impl Place {
    /// Where the API has it; `space` is `kv` or `files`.
    pub(super) fn path(&self, space: &str) -> String {
        format!("/apps/{}/{space}/{}", encode(&self.app), encode(&self.name))
    }

    /// Where the API has one of its entries.
    pub(super) fn entry_path(&self, space: &str, name: &str) -> String {
        format!("{}/{}", self.path(space), encode(name))
    }
}

/// Which part of a list.
#[derive(clap::Args)]
pub(super) struct Range {
    /// Only names that begin so
    #[arg(long, value_name = "TEXT")]
    pub(super) prefix: Option<String>,
    /// Only names after this one, in the order of their bytes
    #[arg(long, value_name = "NAME")]
    pub(super) after: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    pub(super) all: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Range {
    fn most(&self) -> usize {
        match self.all {
            true => usize::MAX,
            false => usize::try_from(self.limit).unwrap_or(usize::MAX),
        }
    }

    /// Prints what is at `path`, page by page, so that a long list needs no memory.
    pub(super) async fn print(
        &self,
        client: &Client,
        path: &str,
        line: impl Fn(&Value) -> String,
    ) -> Result<(), Failure> {
        let (mut after, mut printed) = (self.after.clone(), 0);
        if self.json && print_to_reader("[")?.is_break() {
            return Ok(());
        }
        loop {
            let limit = PAGE.min(self.most() - printed);
            let page = list(client, path, self.prefix.clone(), after, limit).await?;
            for item in page.items {
                let text = match (self.json, printed) {
                    (true, 0) => format!("\n{item:#}"),
                    (true, _) => format!(",\n{item:#}"),
                    (false, _) => format!("{}\n", one_line(&line(&item))),
                };
                printed += 1;
                if print_to_reader(text)?.is_break() {
                    return Ok(());
                }
            }
            after = page.next_after;
            if after.is_none() || printed >= self.most() {
                break;
            }
        }
        if self.json {
            let _: ControlFlow<()> = print_to_reader(if printed > 0 { "\n]\n" } else { "]\n" })?;
        }
        if let Some(after) = after {
            eprintln!("there are more; --after {after:?} goes on, --all shows all");
        }
        Ok(())
    }
}

/// A page of a collection or a bucket.
struct Part {
    items: Vec<Value>,
    next_after: Option<String>,
}

async fn list(
    client: &Client,
    path: &str,
    prefix: Option<String>,
    after: Option<String>,
    limit: usize,
) -> Result<Part, Failure> {
    let filter = query(&[("prefix", prefix), ("after", after)]);
    let mut page = client.call(Method::GET, &format!("{path}?limit={limit}{filter}"), None).await?;
    let next_after = page["next_after"].as_str().map(str::to_owned);
    let items = match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    Ok(Part { items, next_after })
}

/// Deletes everything in a place whose name begins with `prefix`; how much that was. What
/// somebody else deletes meanwhile is not counted.
pub(super) async fn delete_all(
    client: &Client,
    space: &str,
    place: &Place,
    prefix: &str,
) -> Result<usize, Failure> {
    let (mut after, mut deleted) = (None, 0);
    loop {
        let part = list(client, &place.path(space), Some(prefix.to_owned()), after, PAGE).await?;
        for item in &part.items {
            let path = place.entry_path(space, item["name"].as_str().unwrap_or_default());
            match client.try_call(Method::DELETE, &path, None).await? {
                Ok(_) => deleted += 1,
                Err(refused) if refused.status == StatusCode::NOT_FOUND => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        after = part.next_after;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}

/// One collection or bucket of a list in a line.
pub(super) fn place_line(place: &Value) -> String {
    let name = place["name"].as_str().unwrap_or_default();
    match place["entries"].as_u64() {
        Some(most) if most >= 1_000 => format!("{name} · 1000 or more"),
        entries => format!("{name} · {}", entries.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_app_and_a_name_with_any_slashes() {
        let place: Place = "demo/orders/2026".parse().unwrap();
        assert_eq!((&*place.app, &*place.name), ("demo", "orders/2026"));
        assert_eq!(place.entry_path("kv", "a b"), "/apps/demo/kv/orders%2F2026/a%20b");
        for wrong in ["demo", "demo/", "/orders", ""] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
