//! Records the statements that sqlx runs, and PostgreSQL's messages about them.

use std::fmt;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

/// A recorded event.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    /// A statement.
    Statement(String),
    /// A message of the server: a statement and its execution plan.
    Notice(String),
}

struct Listener;

#[derive(Default)]
struct Fields {
    summary: String,
    statement: String,
    message: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.trim().clone_into(&mut self.statement),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        match event.metadata().target() {
            "sqlx::query" => {
                event.record(&mut fields);
                let whole = Some(fields.statement).filter(|statement| !statement.is_empty());
                lock().push(Heard::Statement(whole.unwrap_or(fields.summary)));
            }
            "sqlx::postgres::notice" => {
                event.record(&mut fields);
                lock().push(Heard::Notice(fields.message));
            }
            _ => {}
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<Heard>> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to record, once for the process.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| tracing_subscriber::registry().with(Listener).init());
}

/// Deletes what was recorded.
pub(crate) fn forget() {
    lock().clear();
}

/// Returns what was recorded since.
pub(crate) fn heard() -> Vec<Heard> {
    lock().clone()
}
