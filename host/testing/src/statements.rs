//! The statements of the database that the process executes, as sqlx logs them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// The beginnings of the statements since the last [`take`], in order.
static STATEMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to listen. The statements are the process's, so a test binary has one such test.
pub fn listen() {
    tracing::subscriber::set_global_default(Listener).expect("no other subscriber");
}

/// Returns the number of statements since the last [`take`].
pub fn count() -> usize {
    STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Returns the statements since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Listener;

struct Summary(String);

impl Visit for Summary {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "summary" {
            self.0 = format!("{value:?}").trim_matches('"').to_owned();
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn event(&self, event: &Event<'_>) {
        let mut summary = Summary(String::new());
        event.record(&mut summary);
        STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner).push(summary.0);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
