//! Lists, which the API returns in pages.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{CallError, Client};

/// A page of any list of the API. Each list has some of these cursors.
#[derive(Deserialize)]
pub(in crate::command) struct Page<T> {
    /// The items on this page.
    pub(in crate::command) items: Vec<T>,
    /// The `offset` of the next page.
    pub(in crate::command) next_offset: Option<i64>,
    /// The `after` of the next page.
    pub(in crate::command) next_after: Option<String>,
    /// The `before` of the next page.
    pub(in crate::command) next_before: Option<String>,
    /// Whether items already exist after `next_after`.
    #[serde(default)]
    pub(in crate::command) has_more: bool,
}

impl Client {
    /// Calls `visit` for the items of a list, page by page, until it breaks.
    pub(in crate::command) async fn visit<T: DeserializeOwned, B>(
        &self,
        path: &str,
        mut visit: impl FnMut(T) -> ControlFlow<B>,
    ) -> Result<Option<B>, CallError> {
        let mut offset = Some(0);
        while let Some(from) = offset {
            let page = self.list::<T>(&format!("{path}?limit=200&offset={from}")).await?;
            for item in page.items {
                if let ControlFlow::Break(found) = visit(item.value) {
                    return Ok(Some(found));
                }
            }
            offset = page.next_offset;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use picloud::manager::api::{Entries, ExecutionList, FileEntries, List};
    use serde::Serialize;

    use super::*;

    fn read(list: impl Serialize) -> Page<u8> {
        serde_json::from_value(serde_json::to_value(list).unwrap()).unwrap()
    }

    #[test]
    fn every_list_is_a_page() {
        let after = || Some("after".to_owned());
        let page = read(List { items: vec![7], next_offset: Some(50), next_after: after() });
        assert_eq!((page.items, page.next_offset, page.next_after), (vec![7], Some(50), after()));
        let page = read(Entries { items: Vec::new(), next_after: after() });
        assert_eq!((page.next_offset, page.next_after), (None, after()));
        let page = read(FileEntries { items: Vec::new(), next_after: after() });
        assert_eq!(page.next_after, after());
        let page = read(ExecutionList {
            items: Vec::new(),
            next_offset: Some(1),
            next_before: Some("before".to_owned()),
            searched_until: None,
            next_after: after(),
            has_more: true,
        });
        assert_eq!((page.next_offset, page.next_after, page.has_more), (Some(1), after(), true));
        assert_eq!(page.next_before.as_deref(), Some("before"));
    }
}
