//! Events: their JSON form, their limits, and which events a change causes.
//!
//! ```text
//! form      the event as a script sees it; pure
//! payload   the limits on the size and depth of a payload
//! intake    the only constructor of an event
//! rules     the rules for names, delays, lifetimes and files
//! sent      an event that a run or a caller sends
//! effects   the changes that a run wants to make, and its reads
//! causes    from effects to entries and events; pure except for the ids
//! retry     whether and when a failed event is retried; pure
//! ```

pub(crate) mod causes;
pub mod effects;
pub(crate) mod form;
mod intake;
pub mod payload;
pub mod retry;
pub mod rules;
pub mod sent;

pub(crate) use intake::{Common, Fired, replayed};
