//! The PiCloud host: the server and everything stateful.
//!
//! ```text
//! roles         which services a process runs, and how they start and stop
//! manager       the admin API
//! orchestrator  ingress, events, schedules
//! executor      runs each script in its own sandbox
//! store         all SQL
//! ```
//!
//! `docs/architecture.md` lists all layers. [`App::build`] creates the whole server without its
//! socket, which the tests use.

pub mod answers;
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod cron;
pub mod data_folder;
pub mod definitions;
pub mod dns;
pub mod error;
pub mod events;
pub mod executor;
pub mod faults;
pub mod hostname;
pub mod instance;
pub mod json;
pub mod limits;
pub mod manager;
pub mod metrics;
pub mod named;
pub mod orchestrator;
pub mod private_hosts;
pub mod requests;
pub mod retention;
pub mod roles;
pub mod secrets;
pub mod serving;
pub mod shares;
pub mod store;
pub mod telemetry;

pub use roles::front::Front;
pub use roles::serve::serve;
pub use roles::{App, StartError, compile_guest, has_compiled_guest};
