//! Parses a `Content-Type` (RFC 9110, section 8.3.1) as leniently as browsers do. Pure.

/// Returns the media type in lower case, without its parameters.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the type is JSON (RFC 6839, section 3.1).
pub(crate) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

/// Whether the type is text other than JSON.
pub(crate) fn is_text(essence: &str) -> bool {
    const TEXTS: [&str; 3] =
        ["application/x-www-form-urlencoded", "application/xml", "application/javascript"];
    essence.starts_with("text/") || essence.ends_with("+xml") || TEXTS.contains(&essence)
}

/// Returns the first parameter with that name, without quotes.
pub(crate) fn parameter<'t>(content_type: &'t str, name: &str) -> Option<&'t str> {
    let parameters = content_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut found = parameters.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    let (_, value) = found.next()?;
    Some(value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}
