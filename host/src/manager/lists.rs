//! Lists: which part is asked for, and how it is answered.
//!
//! Invariant: no list is answered whole; a page has at most [`LIMIT_MAX`] items.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Refusal, Result};
use crate::store::{self, Listed, Position};

/// The most items of a page.
pub const LIMIT_MAX: i64 = 200;
/// The items of a page when nothing is said.
pub const LIMIT_DEFAULT: i64 = 50;

/// The most items of a list that grows with use that `offset` skips: they are read one by one.
/// What is behind them is read with `after`.
pub const OFFSET_MAX: i64 = 10_000;

/// A page that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    limit: i64,
    offset: i64,
}

impl Page {
    /// The page that `?limit=&offset=` asks for.
    ///
    /// # Errors
    /// `Invalid`, naming the bound, for a limit outside of 1 to 200 or an offset
    /// below 0.
    pub fn new(limit: Option<i64>, offset: Option<i64>) -> Result<Self> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let refusal = Refusal::field("limit", &format!("must be 1 to {LIMIT_MAX}"));
            return Err(Error::Invalid(refusal.with("least", 1).with("most", LIMIT_MAX)));
        }
        let offset = offset.unwrap_or(0);
        if offset < 0 {
            return Err(Error::Invalid(
                Refusal::field("offset", "must be 0 or more").with("least", 0),
            ));
        }
        Ok(Self { limit, offset })
    }

    /// [`Page::new`] for a list that grows with use, and that takes `after`.
    ///
    /// # Errors
    /// `Invalid` also for an offset above [`OFFSET_MAX`].
    pub fn of_growing(limit: Option<i64>, offset: Option<i64>) -> Result<Self> {
        let page = Self::new(limit, offset)?;
        if page.offset > OFFSET_MAX {
            let reason = format!("must be at most {OFFSET_MAX}; read what is behind with `after`");
            let refusal = Refusal::field("offset", &reason);
            return Err(Error::Invalid(refusal.with("most", OFFSET_MAX)));
        }
        Ok(page)
    }

    /// The part of a list that grows, behind the `after` of an earlier answer.
    ///
    /// # Errors
    /// `Invalid` for an `after` that is none, or one together with an offset.
    pub fn part(self, field: &str, after: Option<&str>) -> Result<store::Part> {
        let after: Option<Position> = after
            .map(str::parse)
            .transpose()
            .map_err(|_| refused(field, &format!("must be the `next_{field}` of an answer")))?;
        if after.is_some() && self.offset > 0 {
            return Err(refused("offset", &format!("must not be given together with `{field}`")));
        }
        Ok(store::Part { page: self.rows(), after })
    }

    /// The answer, from what the store has of [`Page::part`]; `position` tells where a row is.
    pub fn listed<R, T>(
        self,
        listed: Listed<R>,
        position: impl Fn(&R) -> Position,
        item: impl FnMut(R) -> T,
    ) -> List<T> {
        let shown = self.size();
        let last = match listed.rows.len() > shown {
            true => listed.rows.get(shown - 1).map(position),
            false => listed.looked_to,
        };
        let next_after = last.map(|position| position.to_string());
        List { next_after, ..self.list(listed.rows, item) }
    }

    /// What to read from the store: one row more than is shown tells whether
    /// there is another page.
    #[must_use]
    pub fn rows(self) -> store::Page {
        store::Page { limit: self.limit + 1, offset: self.offset }
    }

    /// The most items of the page.
    #[must_use]
    pub fn size(self) -> usize {
        // At most LIMIT_MAX.
        usize::try_from(self.limit).unwrap_or_default()
    }

    /// The answer, from what [`Page::rows`] brought.
    pub fn list<R, T>(self, rows: Vec<R>, item: impl FnMut(R) -> T) -> List<T> {
        let shown = self.size();
        let next_offset = (rows.len() > shown).then(|| self.offset.saturating_add(self.limit));
        List {
            items: rows.into_iter().take(shown).map(item).collect(),
            next_offset,
            next_after: None,
        }
    }

    /// The answer, from the whole list.
    pub fn list_part<R, T>(
        self,
        all: impl IntoIterator<Item = R>,
        item: impl FnMut(R) -> T,
    ) -> List<T> {
        let store::Page { limit, offset } = self.rows();
        let size = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
        self.list(all.into_iter().skip(size(offset)).take(size(limit)).collect(), item)
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// The `offset` of the next page; `null` on the last one.
    pub next_offset: Option<i64>,
    /// The `after` of the next page, in a list that takes it; `null` on the last one. A page
    /// can have fewer items than its limit and a next page all the same, when few of those
    /// that were looked at fit.
    pub next_after: Option<String>,
}

/// Refuses texts of a query that no stored text can equal.
///
/// # Errors
/// `Invalid` for a text with NUL.
pub fn check_texts<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Result<()> {
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Error::Invalid(Refusal::new("query_invalid", "a text contains no NUL")));
    }
    Ok(())
}

fn refused(field: &str, reason: &str) -> Error {
    Error::Invalid(Refusal::field(field, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_and_the_bound_is_named() {
        assert_eq!(Page::new(None, None).unwrap(), Page { limit: 50, offset: 0 });
        assert!(Page::new(Some(200), Some(0)).is_ok());
        for (limit, offset) in [(201, 0), (0, 0), (-1, 0), (1, -1)] {
            assert!(Page::new(Some(limit), Some(offset)).is_err(), "{limit} {offset}");
        }
        let refused = Page::new(Some(201), None).unwrap_err().to_string();
        assert_eq!(refused, "limit must be 1 to 200");
    }

    #[test]
    fn a_list_that_grows_is_not_skipped_through() {
        assert!(Page::of_growing(None, Some(OFFSET_MAX)).is_ok());
        let refused = Page::of_growing(None, Some(OFFSET_MAX + 1)).unwrap_err().to_string();
        assert_eq!(refused, "offset must be at most 10000; read what is behind with `after`");
    }

    #[test]
    fn the_next_page_is_named_unless_it_is_empty() {
        let page = Page::new(Some(2), Some(1)).unwrap();
        let list = page.list_part(0..4, |item| item);
        assert_eq!((list.items, list.next_offset), (vec![1, 2], Some(3)));
        let list = page.list_part(0..3, |item| item);
        assert_eq!((list.items, list.next_offset), (vec![1, 2], None));
    }
}
