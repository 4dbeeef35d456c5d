//! Formats executions for people.

use picloud::manager::api::{ExecutionError, ExecutionSummary, RecordedLine};

use super::terminal::{indented, one_line};
use super::time::time;

/// Formats an execution as one line.
pub(super) fn summary_line(execution: &ExecutionSummary) -> String {
    let answered = execution.response_status.map(|code| format!(" → {code}"));
    let line = format!(
        "{} {:<8} {} v{} {}{} · {:.2} ms · {} fuel · {}",
        time(execution.finished_at),
        execution.status,
        execution.script,
        execution.version,
        what_started(execution),
        answered.unwrap_or_default(),
        execution.duration_us as f64 / 1000.0,
        execution.fuel_used,
        execution.id,
    );
    one_line(&line).into_owned()
}

/// Returns the request or the kind of event, and the attempt if it was not the first.
fn what_started(execution: &ExecutionSummary) -> String {
    let started = match &execution.method {
        Some(method) => format!("{method} {}", execution.path.as_deref().unwrap_or_default()),
        None => execution.trigger.to_string(),
    };
    match execution.attempt {
        attempt if attempt > 1 => format!("{started} (attempt {attempt})"),
        _ => started,
    }
}

/// Formats a line of a script's log.
pub(super) fn log_line(line: &RecordedLine) -> String {
    let message = indented(&line.message, 8);
    let place = (line.line > 0).then(|| format!(" (line {})", line.line));
    let data = line.data.as_ref().map(|json| format!(" {json}"));
    let (data, place) = (data.unwrap_or_default(), place.unwrap_or_default());
    format!("  {:<5} {message}{data}{place}", line.level)
}

/// Formats why an execution failed.
pub(super) fn short_error(error: &ExecutionError) -> String {
    let message = indented(&error.message, 10);
    let place = match (error.line, error.column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        (Some(line), None) => format!(" (line {line})"),
        _ => String::new(),
    };
    format!("  failed: {message}{place}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command::tests::read;

    fn execution() -> ExecutionSummary {
        read(&json!({
            "id": "0197", "script_id": "7", "script": "hello", "version": 3, "status": "error",
            "trigger": "http", "attempt": 1, "method": "GET", "path": "/x/demo/hello",
            "log_lines": 0, "fuel_used": 42, "memory_peak_bytes": 1, "duration_us": 1250,
            "started_at": 0, "finished_at": 0,
        }))
    }

    #[test]
    fn an_execution_is_a_line_and_its_log_more_lines() {
        assert_eq!(
            summary_line(&execution()),
            "1970-01-01T00:00:00.000Z error    hello v3 GET /x/demo/hello · 1.25 ms · 42 fuel · 0197"
        );
        let event = ExecutionSummary {
            method: None,
            trigger: picloud::store::TriggerKind::Cron.into(),
            attempt: 2,
            response_status: Some(200),
            ..execution()
        };
        assert!(summary_line(&event).contains("hello v3 cron (attempt 2) → 200 ·"));
        let error = json!({ "message": "no", "line": 2, "column": 7 });
        assert_eq!(short_error(&read(&error)), "  failed: no (line 2, column 7)");
        assert_eq!(short_error(&read(&json!({ "message": "no" }))), "  failed: no");
        let log = json!({ "level": "info", "message": "hi", "data": "{\"a\":1}", "line": 4 });
        assert_eq!(log_line(&read(&log)), "  info  hi {\"a\":1} (line 4)");
        let log = json!({ "level": "warn", "message": "hi", "line": 0 });
        assert_eq!(log_line(&read(&log)), "  warn  hi");
        let forged = json!({ "level": "info", "message": "a\u{1b}[2J\n2026 success", "line": 0 });
        assert_eq!(log_line(&read(&forged)), "  info  a\\u001b[2J\n        2026 success");
    }
}
