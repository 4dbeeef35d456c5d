//! `time::*`: points in time as milliseconds since 1970-01-01T00:00:00Z.

use std::fmt::Write;

use chrono::format::{Fixed, Item, Numeric, Pad, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use picloud_shared::calls::time::Now;
use rhai::plugin::*;

use crate::host;

fn moment(unix_ms: i64) -> Result<DateTime<Utc>, Box<EvalAltResult>> {
    DateTime::from_timestamp_millis(unix_ms)
        .ok_or_else(|| format!("{unix_ms} ms is outside of the calendar").into())
}

/// Parses `text` in a strftime format. Uses every field that the format names. Missing fields of
/// the time of day are 0; the date must be complete.
fn parsed(text: &str, format: &str) -> Result<i64, Box<EvalAltResult>> {
    let refused = |why: &dyn std::fmt::Display| -> Box<EvalAltResult> {
        format!("{text:?} is not in the format {format:?}: {why}").into()
    };
    if StrftimeItems::new(format).any(|item| item == Item::Fixed(Fixed::TimezoneName)) {
        return Err(refused(&"the name of a time zone (%Z) cannot be read, an offset (%z) can"));
    }
    let mut fields = Parsed::new();
    read_fields(&mut fields, text, format).map_err(|error| refused(&error))?;
    if fields.timestamp().is_none() {
        complete_time(&mut fields).map_err(|error| refused(&error))?;
    }
    let offset_s = match fields.offset() {
        None => 0,
        Some(_) => fields.to_fixed_offset().map_err(|error| refused(&error))?.local_minus_utc(),
    };
    let local = fields.to_naive_datetime_with_offset(offset_s).map_err(|error| refused(&error))?;
    let unix_ms = local.and_utc().timestamp_millis();
    Ok(unix_ms - i64::from(offset_s) * 1000)
}

/// Chrono does not parse a sign before the seconds since 1970 (`%s`), although it writes one.
fn read_fields(fields: &mut Parsed, text: &str, format: &str) -> chrono::ParseResult<()> {
    const SECONDS: Item<'static> = Item::Numeric(Numeric::Timestamp, Pad::None);
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    let mut rest = text;
    for (index, part) in items.split(|item| *item == SECONDS).enumerate() {
        if index > 0 {
            let unsigned = rest.trim_start().strip_prefix('-');
            let mut seconds = Parsed::new();
            rest = parse_and_remainder(&mut seconds, unsigned.unwrap_or(rest), [SECONDS].iter())?;
            let value = seconds.timestamp().unwrap_or(0);
            fields.set_timestamp(if unsigned.is_some() { -value } else { value })?;
        }
        rest = parse_and_remainder(fields, rest, part.iter())?;
    }
    // The library refuses any remaining text with its own error.
    chrono::format::parse(fields, rest, std::iter::empty::<&Item<'_>>())
}

/// Completes a time of day that the format names only in part: midnight, or the full hour.
fn complete_time(fields: &mut Parsed) -> chrono::ParseResult<()> {
    let has_hour = fields.hour_div_12().is_some() || fields.hour_mod_12().is_some();
    let has_more = fields.minute().is_some() || fields.second().is_some();
    if !has_hour && !has_more && fields.nanosecond().is_none() {
        fields.set_hour(0)?;
    }
    if fields.minute().is_none() && fields.second().is_none() {
        fields.set_minute(0)?;
    }
    Ok(())
}

#[export_module]
pub(crate) mod functions {
    use rhai::NativeCallContext;

    /// Returns the current time in milliseconds since 1970-01-01T00:00:00Z.
    #[rhai_fn(return_raw)]
    pub fn now(context: NativeCallContext<'_>) -> Result<i64, Box<EvalAltResult>> {
        Ok(host::call(&context, &Now)?.unix_us.div_euclid(1000))
    }

    /// Parses an RFC 3339 time, such as `2026-03-01T12:00:00Z`, or a date, such as `2026-03-01`,
    /// which means midnight UTC. Returns milliseconds since 1970.
    #[rhai_fn(return_raw)]
    pub fn parse(text: &str) -> Result<i64, Box<EvalAltResult>> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.timestamp_millis());
        }
        match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Ok(date) => Ok(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis()),
            Err(_) => Err(format!("{text:?} is neither an RFC 3339 time nor a date").into()),
        }
    }

    /// Parses a text in a strftime format. Returns milliseconds since 1970. The default time of day
    /// is midnight, the default offset UTC. Refuses the name of a time zone (`%Z`).
    #[rhai_fn(return_raw, name = "parse")]
    pub fn parse_format(text: &str, format: &str) -> Result<i64, Box<EvalAltResult>> {
        parsed(text, format)
    }

    /// Formats a time as RFC 3339 text in UTC, with milliseconds.
    #[rhai_fn(return_raw)]
    pub fn format(unix_ms: i64) -> Result<String, Box<EvalAltResult>> {
        Ok(moment(unix_ms)?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    }

    /// Formats a time in a strftime format, in UTC.
    #[rhai_fn(return_raw, name = "format")]
    pub fn format_as(unix_ms: i64, format: &str) -> Result<String, Box<EvalAltResult>> {
        let mut text = String::new();
        match write!(text, "{}", moment(unix_ms)?.format(format)) {
            Ok(()) => Ok(text),
            Err(_) => Err(format!("{format:?} is not a time format").into()),
        }
    }
}
