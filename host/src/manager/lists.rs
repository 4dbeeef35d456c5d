//! Pagination: parses the parameters of a list request and builds the response.
//!
//! Invariant: every list is paginated; a page has at most [`LIMIT_MAX`] items.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Refusal, Result};
use crate::store::{self, Listed, Position};

/// The most items of a page.
pub const LIMIT_MAX: i64 = 200;
/// The items of a page when `limit` is omitted.
pub const LIMIT_DEFAULT: i64 = 50;

/// The most items that `offset` skips in a list that grows with use, because they are read one by
/// one. Later items are read with `after`.
pub const OFFSET_MAX: i64 = 10_000;

/// The requested page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    limit: i64,
    offset: i64,
}

impl PageQuery {
    /// Parses `?limit=&offset=`.
    ///
    /// # Errors
    /// `Invalid`, naming the bound, if the limit is not 1 to 200 or the offset is below 0.
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

    /// Like [`PageQuery::new`], for a list that grows with use and that takes `after`.
    ///
    /// # Errors
    /// `Invalid` also for an offset above [`OFFSET_MAX`].
    pub fn of_growing(limit: Option<i64>, offset: Option<i64>) -> Result<Self> {
        let page = Self::new(limit, offset)?;
        if page.offset > OFFSET_MAX {
            let reason = format!("must be at most {OFFSET_MAX}; use `after` to read further");
            let refusal = Refusal::field("offset", &reason);
            return Err(Error::Invalid(refusal.with("most", OFFSET_MAX)));
        }
        Ok(page)
    }

    /// Returns the part of a growing list after `after`, a cursor from a previous response.
    ///
    /// # Errors
    /// `Invalid` if `after` is not a valid cursor, or if it is combined with an offset.
    pub fn part(self, field: &str, after: Option<&str>) -> Result<store::Part> {
        let after: Option<Position> = after
            .map(str::parse)
            .transpose()
            .map_err(|_| refused(field, &format!("must be the `next_{field}` of a response")))?;
        if after.is_some() && self.offset > 0 {
            return Err(refused("offset", &format!("cannot be combined with `{field}`")));
        }
        Ok(store::Part { page: self.rows(), after })
    }

    /// Builds the response from the rows of [`PageQuery::part`]; `position` is the cursor of a row.
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

    /// The rows to read from the store. It reads one row more than it shows, to detect whether
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

    /// Builds the response from the rows of [`PageQuery::rows`].
    pub fn list<R, T>(self, rows: Vec<R>, item: impl FnMut(R) -> T) -> List<T> {
        let shown = self.size();
        let next_offset = (rows.len() > shown).then(|| self.offset.saturating_add(self.limit));
        List {
            items: rows.into_iter().take(shown).map(item).collect(),
            next_offset,
            next_after: None,
        }
    }

    /// Builds the response from the whole list.
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
    /// The items on this page.
    pub items: Vec<T>,
    /// The `offset` of the next page; `null` on the last one.
    pub next_offset: Option<i64>,
    /// The `after` of the next page, in a list that takes it; `null` on the last one. A page can
    /// have fewer items than its limit although there is a next page: the server examines a bounded
    /// number of rows, and few of them may match.
    pub next_after: Option<String>,
}

/// Refuses query texts that cannot equal any stored text.
///
/// # Errors
/// `Invalid` if a text contains NUL.
pub fn check_texts<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Result<()> {
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Error::Invalid(Refusal::new("query_invalid", "a text must not contain NUL")));
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
        assert_eq!(PageQuery::new(None, None).unwrap(), PageQuery { limit: 50, offset: 0 });
        assert!(PageQuery::new(Some(200), Some(0)).is_ok());
        for (limit, offset) in [(201, 0), (0, 0), (-1, 0), (1, -1)] {
            assert!(PageQuery::new(Some(limit), Some(offset)).is_err(), "{limit} {offset}");
        }
        let refused = PageQuery::new(Some(201), None).unwrap_err().to_string();
        assert_eq!(refused, "limit must be 1 to 200");
    }

    #[test]
    fn a_list_that_grows_is_not_skipped_through() {
        assert!(PageQuery::of_growing(None, Some(OFFSET_MAX)).is_ok());
        let refused = PageQuery::of_growing(None, Some(OFFSET_MAX + 1)).unwrap_err().to_string();
        assert_eq!(refused, "offset must be at most 10000; use `after` to read further");
    }

    #[test]
    fn the_next_page_is_named_unless_it_is_empty() {
        let page = PageQuery::new(Some(2), Some(1)).unwrap();
        let list = page.list_part(0..4, |item| item);
        assert_eq!((list.items, list.next_offset), (vec![1, 2], Some(3)));
        let list = page.list_part(0..3, |item| item);
        assert_eq!((list.items, list.next_offset), (vec![1, 2], None));
    }
}
