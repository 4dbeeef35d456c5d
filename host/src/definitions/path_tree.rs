//! A tree of path patterns, keyed by segment.
//!
//! At each segment, a static one takes precedence over a parameter, and a parameter over a rest. If
//! the preferred branch finds nothing, the next is tried. Segments are compared decoded: `/%75sers`
//! is `/users`. Pure.
//!
//! Invariant: two patterns that differ in more than parameter names fit into one tree. (matchit
//! refuses `/{id}` beside `/{*rest}`.)
//! Invariant: a search visits each node of the tree at most once.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;

/// Values, each stored under a pattern.
pub struct PathTree<T> {
    here: Option<T>,
    /// By decoded bytes.
    statics: HashMap<Vec<u8>, PathTree<T>>,
    parameter: Option<Box<PathTree<T>>>,
    rest: Option<T>,
}

impl<T> Default for PathTree<T> {
    fn default() -> Self {
        Self { here: None, statics: HashMap::new(), parameter: None, rest: None }
    }
}

impl<T: Default> PathTree<T> {
    /// Returns the value under this pattern. Parameter names are ignored.
    pub fn entry(&mut self, pattern: &str) -> &mut T {
        let mut node = self;
        for segment in segments(pattern) {
            if segment.starts_with("{*") {
                return node.rest.get_or_insert_default();
            }
            node = if segment.starts_with('{') {
                node.parameter.get_or_insert_default()
            } else {
                node.statics.entry(decoded(segment).into_owned()).or_default()
            };
        }
        node.here.get_or_insert_default()
    }
}

impl<T> PathTree<T> {
    /// Calls `visit` for each value that matches the path, the most specific first, until it
    /// returns `Some`. `visit` also gets the parts of the path that match parameters, in order and
    /// not decoded.
    pub fn search<'a, 'p, R>(
        &'a self,
        path: &'p str,
        mut visit: impl FnMut(&'a T, &[&'p str]) -> Option<R>,
    ) -> Option<R> {
        self.descend(path.strip_prefix('/')?, &mut Vec::new(), &mut visit)
    }

    /// `path` has no slash before its first segment.
    fn descend<'a, 'p, R>(
        &'a self,
        path: &'p str,
        values: &mut Vec<&'p str>,
        visit: &mut impl FnMut(&'a T, &[&'p str]) -> Option<R>,
    ) -> Option<R> {
        if path.is_empty() {
            return visit(self.here.as_ref()?, values);
        }
        let (segment, after) = path.split_once('/').unwrap_or((path, ""));
        // "/a/" is not "/a"; only a rest matches it.
        let leads_on = !path.ends_with('/') || !after.is_empty();
        if leads_on && !segment.is_empty() {
            if let Some(node) = self.statics.get(&*decoded(segment))
                && let Some(found) = node.descend(after, values, visit)
            {
                return Some(found);
            }
            if let Some(node) = &self.parameter {
                values.push(segment);
                if let Some(found) = node.descend(after, values, visit) {
                    return Some(found);
                }
                values.pop();
            }
        }
        let rest = self.rest.as_ref()?;
        values.push(path);
        let found = visit(rest, values);
        values.pop();
        found
    }
}

fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|segment| !segment.is_empty())
}

fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode_str(segment).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_specific_pattern_wins_and_none_is_lost() {
        let mut tree = PathTree::<String>::default();
        let patterns = [
            "/",
            "/a",
            "/{id}",
            "/{*rest}",
            "/a/{id}",
            "/a/b",
            "/a/{*rest}",
            "/{x}/c",
            "/{x}/{*r}",
        ];
        for pattern in patterns {
            *tree.entry(pattern) = pattern.to_owned();
        }
        let table: &[(&str, &str, &[&str])] = &[
            ("/", "/", &[]),
            ("/a", "/a", &[]),
            ("/b", "/{id}", &["b"]),
            ("/a/b", "/a/b", &[]),
            ("/%61/%62", "/a/b", &[]),
            ("/a/c", "/a/{id}", &["c"]),
            ("/a/c/d", "/a/{*rest}", &["c/d"]),
            ("/a/c/", "/a/{*rest}", &["c/"]),
            ("/b/c", "/{x}/c", &["b"]),
            ("/b/d/e", "/{x}/{*r}", &["b", "d/e"]),
            ("/b/", "/{*rest}", &["b/"]),
            ("//b", "/{*rest}", &["/b"]),
        ];
        for (path, pattern, values) in table {
            let found = tree.search(path, |found, values| Some((found.as_str(), values.to_vec())));
            assert_eq!(found, Some((*pattern, values.to_vec())), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let mut tree = PathTree::<String>::default();
        *tree.entry("/a/{id}/b") = String::new();
        for path in ["", "a", "/", "/a", "/a/1", "/a/1/", "/a/1/b/", "/a//b", "/a/1/b/c"] {
            assert_eq!(tree.search(path, |_, _| Some(())), None, "{path}");
        }
    }

    #[test]
    fn every_pattern_of_a_path_is_visited_the_most_specific_first() {
        let mut tree = PathTree::<String>::default();
        for pattern in ["/{*rest}", "/{x}/{*r}", "/{x}/{y}", "/{x}/b", "/a/{y}", "/a/b", "/a/c"] {
            *tree.entry(pattern) = pattern.to_owned();
        }
        let mut visited = Vec::new();
        let found = tree.search("/a/b", |pattern, values| {
            visited.push((pattern.as_str(), values.to_vec()));
            None::<()>
        });
        assert_eq!(found, None);
        let expected = [
            ("/a/b", vec![]),
            ("/a/{y}", vec!["b"]),
            ("/{x}/b", vec!["a"]),
            ("/{x}/{y}", vec!["a", "b"]),
            ("/{x}/{*r}", vec!["a", "b"]),
            ("/{*rest}", vec!["a/b"]),
        ];
        assert_eq!(visited, expected);
    }
}
