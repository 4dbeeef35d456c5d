//! The newest definitions in memory: apps, scripts, routes, domains and triggers.
//!
//! ```text
//! current    the table of the newest definitions, read again when they change
//! matching   which script answers a request; pure
//! path_tree  a tree of path patterns, one per app or domain; pure
//! triggers   which triggers an event fires; pure
//! glob       name patterns with `*`; pure
//! ```
//!
//! Invariant: no code here changes a definition.

mod current;
pub(crate) mod glob;
pub mod matching;
mod path_tree;
mod triggers;

pub use current::{Current, REMADE_MAX, definitions_move};
pub use matching::{Lookup, Match, MethodRules, RouteRules, Table, Target};
