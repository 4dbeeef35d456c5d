//! Globs: `*` matches any characters, including none. Every other character matches itself.

/// Whether the glob matches the whole text. Takes time proportional to at most the product of both
/// lengths.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        // The piece before the last star can match anywhere. The earliest match leaves the most
        // text for the pieces after it.
        if let Some(piece) = last.replace(piece) {
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (glob, text) in [
            ("*", ""),
            ("*", "orders"),
            ("orders", "orders"),
            ("orders:*", "orders:2026"),
            ("orders:*", "orders:"),
            ("*.png", "a/b.png"),
            ("a*b*c", "a-b-b-c"),
            ("a**c", "ac"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("", "a"),
            ("orders", "orders2"),
            ("orders:*", "orders"),
            ("*.png", "a.png/"),
            ("ab*ba", "aba"),
            ("a*b*c", "a-c-b"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    /// Tries every possibility.
    fn slow(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| slow(rest, &text[skipped..])),
            Some((first, rest)) => text.first() == Some(first) && slow(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_trying_everything(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&glob, &text), slow(glob.as_bytes(), text.as_bytes()));
        }
    }
}
