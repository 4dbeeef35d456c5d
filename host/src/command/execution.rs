//! Executions as lines for a person to read.

use serde_json::Value;

use super::terminal::{indented, one_line};

/// One execution in a line.
pub(super) fn summary_line(execution: &Value) -> String {
    let text = |name: &str| execution[name].as_str().unwrap_or_default();
    let answered = execution["response_status"].as_u64().map(|code| format!(" → {code}"));
    let line = format!(
        "{} {:<8} {} v{} {}{} · {:.2} ms · {} fuel · {}",
        timestamp(execution["finished_at"].as_i64().unwrap_or_default()),
        text("status"),
        text("script"),
        execution["version"],
        what_started(execution),
        answered.unwrap_or_default(),
        execution["duration_us"].as_f64().unwrap_or_default() / 1000.0,
        execution["fuel_used"],
        text("id"),
    );
    one_line(&line).into_owned()
}

/// The request, or what else it was, and which attempt if it was not the first.
fn what_started(execution: &Value) -> String {
    let text = |name: &str| execution[name].as_str().unwrap_or_default();
    let started = match text("method") {
        "" => text("trigger").to_owned(),
        method => format!("{method} {}", text("path")),
    };
    match execution["attempt"].as_i64() {
        Some(attempt) if attempt > 1 => format!("{started} (attempt {attempt})"),
        _ => started,
    }
}

/// One line of a script's log.
pub(super) fn log_line(line: &Value) -> String {
    let level = line["level"].as_str().unwrap_or_default();
    let message = indented(line["message"].as_str().unwrap_or_default(), 8);
    let place =
        line["line"].as_u64().filter(|&line| line > 0).map(|line| format!(" (line {line})"));
    let data = match &line["data"] {
        Value::Null => String::new(),
        Value::String(json) => format!(" {json}"),
        other => format!(" {other}"),
    };
    format!("  {level:<5} {message}{data}{}", place.unwrap_or_default())
}

/// Why an execution failed.
pub(super) fn short_error(error: &Value) -> String {
    let message = indented(error["message"].as_str().unwrap_or_default(), 10);
    let place = match (error["line"].as_u64(), error["column"].as_u64()) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        (Some(line), None) => format!(" (line {line})"),
        _ => String::new(),
    };
    format!("  failed: {message}{place}")
}

/// Microseconds since 1970 as a date and time in UTC, to the millisecond.
pub(super) fn timestamp(at_us: i64) -> String {
    let (day, in_day_ms) =
        (at_us.div_euclid(86_400_000_000), at_us.rem_euclid(86_400_000_000) / 1000);
    let (year, month, day) = civil(day);
    let (s, ms) = (in_day_ms / 1000, in_day_ms % 1000);
    let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date of a day, counted from 1970-01-01. Years begin in March here, so that
/// the leap day is a year's last
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_a_date_in_utc() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1_000, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_123_456, "2024-02-29T23:59:59.123Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (at_us, expected) in table {
            assert_eq!(timestamp(at_us), expected);
        }
    }

    #[test]
    fn an_execution_is_a_line_and_its_log_more_lines() {
        let execution = json!({
            "id": "0197", "status": "error", "script": "hello", "version": 3, "method": "GET",
            "path": "/x/demo/hello", "duration_us": 1250, "fuel_used": 42, "finished_at": 0,
        });
        let line = summary_line(&execution);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z error    hello v3 GET /x/demo/hello · 1.25 ms · 42 fuel · 0197"
        );
        let event = json!({ "trigger": "cron", "attempt": 2, "script": "hello", "version": 1 });
        assert!(summary_line(&event).contains("hello v1 cron (attempt 2) ·"));
        let error = json!({ "message": "no", "line": 2, "column": 7 });
        assert_eq!(short_error(&error), "  failed: no (line 2, column 7)");
        let log = json!({ "level": "info", "message": "hi", "data": "{\"a\":1}", "line": 4 });
        assert_eq!(log_line(&log), "  info  hi {\"a\":1} (line 4)");
        assert_eq!(log_line(&json!({ "level": "warn", "message": "hi" })), "  warn  hi");
        let forged = json!({ "level": "info", "message": "a\u{1b}[2J\n2026 success" });
        assert_eq!(log_line(&forged), "  info  a\\u001b[2J\n        2026 success");
    }
}
