//! The filter of the server's log.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Checks a log filter: levels and `target=level`, separated by commas. The library would take a
/// misspelt level for a target's name, and the log would be silent.
///
/// # Errors
/// The allowed filters.
pub(super) fn check(text: &str) -> Result<(), String> {
    const ALLOWED: &str = "off, error, warn, info, debug or trace, or a filter like \
        info,picloud::store=debug";
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_plain = |part: &str| match part.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    };
    // The library would take a space for a part of a target's name.
    if text.contains(char::is_whitespace) || !text.split(',').all(is_plain) {
        return Err(ALLOWED.to_owned());
    }
    EnvFilter::try_new(text).map(drop).map_err(|_| ALLOWED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_levels_that_exist() {
        for right in ["info", "WARN", "off", "picloud=debug,warn", "info,picloud::store=trace"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "inf",
            "verbose",
            "picloud",
            "picloud=inf",
            "=info",
            "info,",
            "info,,warn",
            "warn picloud=debug",
            " info",
            "info ",
            "info\r",
            "info, picloud=debug",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
