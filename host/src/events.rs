//! Events: their form, their limits, and the events that follow from a change.
//!
//! ```text
//! form      the event as a script sees it; pure
//! payload   how large and how deep a payload may be
//! intake    the one constructor of an event
//! effects   what a run wants to change, and what it has seen
//! causes    what follows from effects: entries and events; pure but for the ids
//! retry     whether and when a failed event is tried again; pure
//! ```

pub(crate) mod causes;
pub mod effects;
pub(crate) mod form;
mod intake;
pub mod payload;
pub mod retry;

pub(crate) use intake::{Common, brought_by};
