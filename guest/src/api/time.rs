//! `time::*`: points in time as milliseconds since 1970-01-01T00:00:00Z.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use picloud_shared::calls::time::Now;
use rhai::plugin::*;

use crate::host;

fn moment(unix_ms: i64) -> Result<DateTime<Utc>, Box<EvalAltResult>> {
    DateTime::from_timestamp_millis(unix_ms)
        .ok_or_else(|| format!("{unix_ms} ms is outside of the calendar").into())
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// The current time in milliseconds since 1970-01-01T00:00:00Z.
    #[rhai_fn(return_raw)]
    pub fn now(context: NativeCallContext<'_>) -> Result<i64, Box<EvalAltResult>> {
        Ok(host::call(&context, &Now)?.unix_us.div_euclid(1000))
    }

    /// Milliseconds from an RFC 3339 time, such as `2026-03-01T12:00:00Z`, or from
    /// a date, such as `2026-03-01`, which is taken as midnight UTC.
    #[rhai_fn(return_raw)]
    pub fn parse(text: &str) -> Result<i64, Box<EvalAltResult>> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.timestamp_millis());
        }
        match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Ok(date) => Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()),
            Err(_) => Err(format!("{text:?} is neither an RFC 3339 time nor a date").into()),
        }
    }

    /// Milliseconds from a text in the given strftime format; without a zone in
    /// the format, UTC.
    #[rhai_fn(return_raw, name = "parse")]
    pub fn parse_format(text: &str, format: &str) -> Result<i64, Box<EvalAltResult>> {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Ok(time.timestamp_millis());
        }
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc().timestamp_millis());
        }
        match NaiveDate::parse_from_str(text, format) {
            Ok(date) => Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()),
            Err(error) => Err(format!("{text:?} is not in the format {format:?}: {error}").into()),
        }
    }

    /// The time as RFC 3339 text in UTC, with milliseconds.
    #[rhai_fn(return_raw)]
    pub fn format(unix_ms: i64) -> Result<String, Box<EvalAltResult>> {
        Ok(moment(unix_ms)?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    }

    /// The time as text in the given strftime format, in UTC.
    #[rhai_fn(return_raw, name = "format")]
    pub fn format_as(unix_ms: i64, format: &str) -> Result<String, Box<EvalAltResult>> {
        let mut text = String::new();
        match write!(text, "{}", moment(unix_ms)?.format(format)) {
            Ok(()) => Ok(text),
            Err(_) => Err(format!("{format:?} is not a time format").into()),
        }
    }
}
