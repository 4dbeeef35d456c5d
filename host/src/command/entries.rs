//! The common parts of `picloud kv` and `picloud files`: addresses, and lists of any length.

use std::ops::ControlFlow;

use picloud::manager::api::Collection;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Answer, Client, Ignored, Page, encode, query};
use super::output::pretty;
use super::terminal::one_line;
use super::{Failure, print_to_reader};

/// The number of entries that one request lists.
const PAGE: usize = 200;

/// A collection or a bucket, written `APP/NAME`.
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
            _ => Err("it is written APP/NAME, like demo/orders"),
        }
    }
}

impl Place {
    /// Returns its path in the API; `space` is `kv` or `files`.
    pub(super) fn path(&self, space: &str) -> String {
        format!("/apps/{}/{space}/{}", encode(&self.app), encode(&self.name))
    }

    /// Returns the path of one of its entries.
    pub(super) fn entry_path(&self, space: &str, name: &str) -> String {
        format!("{}/{}", self.path(space), encode(name))
    }
}

/// The part of a list to print.
#[derive(clap::Args)]
pub(super) struct Range {
    /// Only names that start with this text
    #[arg(long, value_name = "TEXT")]
    pub(super) prefix: Option<String>,
    /// Only names after this one, in byte order
    #[arg(long, value_name = "NAME")]
    pub(super) after: Option<String>,
    /// The most items to print
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
    /// Print all items
    #[arg(long, conflicts_with = "limit")]
    pub(super) all: bool,
    /// Print JSON
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

    /// Prints the entries at `path` page by page, so that a long list needs little memory.
    pub(super) async fn print<T: DeserializeOwned>(
        &self,
        client: &Client,
        path: &str,
        line: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        let (mut after, mut printed) = (self.after.clone(), 0);
        if self.json && print_to_reader("[")?.is_break() {
            return Ok(());
        }
        loop {
            let limit = PAGE.min(self.most() - printed);
            let prefix = self.prefix.as_deref();
            let page = list(client, path, prefix, after.as_deref(), limit).await?;
            for item in page.items {
                let text = match (self.json, printed) {
                    (true, 0) => format!("\n{}", pretty(&item)?),
                    (true, _) => format!(",\n{}", pretty(&item)?),
                    (false, _) => format!("{}\n", one_line(&line(&item.value))),
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
            eprintln!("there are more; --after {after:?} continues, --all prints all");
        }
        Ok(())
    }
}

/// Reads a page of a collection or a bucket.
async fn list<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    prefix: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Answer<T>>, Failure> {
    let filter = query(&[("prefix", prefix), ("after", after)]);
    Ok(client.list(&format!("{path}?limit={limit}{filter}")).await?)
}

/// The name of a key or a file in a list.
#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Deletes all entries whose names start with `prefix`, and returns their number. Entries that
/// another caller deletes meanwhile are not counted.
pub(super) async fn delete_all(
    client: &Client,
    space: &str,
    place: &Place,
    prefix: &str,
) -> Result<usize, Failure> {
    let (mut after, mut deleted): (Option<String>, _) = (None, 0);
    loop {
        let path = place.path(space);
        let page = list(client, &path, Some(prefix), after.as_deref(), PAGE).await?;
        for Answer { value: Named { name }, .. } in page.items {
            match client.delete::<Ignored>(&place.entry_path(space, &name)).await {
                Ok(_) => deleted += 1,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        after = page.next_after;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}

/// Formats a collection or a bucket of a list as a line.
pub(super) fn place_line(Collection { name, entries, .. }: &Collection) -> String {
    match entries {
        1_000.. => format!("{name} · 1000 or more"),
        entries => format!("{name} · {entries}"),
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

    #[test]
    fn a_collection_has_a_number_of_entries() {
        let line = |entries| place_line(&Collection { name: "a".to_owned(), entries, version: 1 });
        assert_eq!((line(0), line(999)), ("a · 0".to_owned(), "a · 999".to_owned()));
        assert_eq!(line(1_000), "a · 1000 or more");
    }
}
