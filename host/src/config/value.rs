//! Parsers for numbers and sizes, and suggestions for misspelt names.
//!
//! Invariant: a parser that refuses a value returns the allowed values.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The allowed values, worded to precede "is allowed".
pub(super) type Allowed = String;

/// Parses a whole number within `range`.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, Allowed>
where
    T: FromStr + PartialOrd + Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{} to {}", range.start(), range.end()))
}

/// Parses a number of bytes within `range`: plain, or with a unit as in `256MiB`. `KB`, `MB` and
/// `GB` are powers of 1000; `KiB`, `MiB` and `GiB` of 1024.
pub(super) fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, Allowed> {
    parse_bytes(text).filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        format!(
            "{} to {}, in bytes or with a unit as in 256MiB,",
            show_bytes(*range.start()),
            show_bytes(*range.end())
        )
    })
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Formats a number of bytes with the largest unit that divides it.
pub(super) fn show_bytes(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Returns the candidate closest to `name`, if at most a third of it differs.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let (distance, nearest) = candidates
        .map(|known| (strsim::osa_distance(name, known), known))
        .min_by_key(|&(d, _)| d)?;
    (distance * 3 <= nearest.len() - "PICLOUD_".len()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        let table = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("256MiB", Some(256 << 20)),
            ("256 mib", Some(256 << 20)),
            ("2k", Some(2048)),
            ("1GB", Some(1_000_000_000)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1TiB", None),
            ("99999999999999999999", None),
            ("99999999999GiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_the_largest_unit_that_divides_them() {
        let table = [(0, "0"), (1, "1"), (1536, "1536"), (2048, "2KiB"), (256 << 20, "256MiB")];
        for (bytes, expected) in table {
            assert_eq!(show_bytes(bytes), expected);
            assert_eq!(parse_bytes(expected), Some(bytes));
        }
    }

    #[test]
    fn a_number_outside_its_range_is_refused_with_the_range() {
        assert_eq!(number("5", 1..=9), Ok(5));
        assert_eq!(number("10", 1..=9), Err("1 to 9".to_owned()));
        assert_eq!(number("five", 1..=9), Err("1 to 9".to_owned()));
    }

    #[test]
    fn the_nearest_name_is_found_if_there_is_one() {
        let known = ["PICLOUD_LISTEN", "PICLOUD_LOG", "PICLOUD_MAX_FUEL"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("PICLOUD_LISTN"), Some("PICLOUD_LISTEN"));
        assert_eq!(nearest("PICLOUD_MAX_FULE"), Some("PICLOUD_MAX_FUEL"));
        assert_eq!(nearest("PICLOUD_ELEPHANT"), None);
    }
}
