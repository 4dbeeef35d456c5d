//! The newest definitions in memory: apps, scripts, routes, domains and triggers.
//!
//! ```text
//! current    the table of the newest definitions, read again when they change
//! matching   which script answers a request; pure
//! path_tree  the paths of an app or a domain; pure
//! triggers   which triggers an event fires; pure
//! glob       patterns of names; pure
//! ```
//!
//! Invariant: nothing here changes a definition.

mod current;
pub(crate) mod glob;
pub mod matching;
mod path_tree;
mod triggers;

pub use current::{Current, REMADE_MAX, definitions_move};
pub use matching::{Found, Match, MethodRules, RouteRules, Table, Target};
