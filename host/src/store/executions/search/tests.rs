use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Whether a text is found in a value that is stored as JSON.
fn finds(text: &str, value: &Value) -> bool {
    Text::new(text).is_in_json(&Json::of(value).unwrap())
}

#[test]
fn every_character_that_json_escapes_is_found_as_it_is() {
    let others = ['"', '\\', '/', '\u{7f}', '\u{2028}', '\u{2029}', 'é', '😀', '\u{10ffff}'];
    for c in ('\0'..=' ').chain(others) {
        let text = format!("before{c}after");
        let (as_log, as_body) = (json!([{"message": text}]), json!({"a": text}).to_string());
        for stored in [as_log, json!({"body": as_body}), json!({"error": {text.clone(): 1}})] {
            assert!(finds(&text, &stored), "{c:?} in {stored}");
            assert!(finds(&text.to_uppercase(), &stored), "{c:?} in {stored}");
            // A backslash is stored as two, and both forms match.
            assert_eq!(finds(&format!("before{c}{c}after"), &stored), c == '\\', "{c:?}");
        }
    }
}

#[test]
fn spaces_beside_the_punctuation_of_json_do_not_count() {
    for body in [r#"{"name":"Ada","n":[1,2]}"#, "{ \"name\" : \"Ada\",\n  \"n\": [ 1, 2 ] }"] {
        let stored = json!({"body": body});
        for text in [r#""name":"Ada""#, r#""name": "Ada""#, r#""n": [1, 2]"#, "\"ADA\",\n\"n\""] {
            assert!(finds(text, &stored), "{text} in {body}");
        }
        for text in [r#""name":"Bob""#, r#""na me":"Ada""#, r#""name" "Ada""#] {
            assert!(!finds(text, &stored), "{text} in {body}");
        }
    }
    assert!(finds("a: b", &json!("a: b")) && finds(" b", &json!("a: b")));
}

#[test]
fn escapes_of_a_body_are_found_as_written_and_as_what_they_say() {
    let stored = json!({"body": r#"{"name":"Ren\u00e9 \ud83d\ude00","path":"a\/b"}"#});
    for text in ["René", "RENÉ 😀", "a/b", r"ren\u00e9", r#"a\/b"#] {
        assert!(finds(text, &stored), "{text}");
    }
    // A truncated body.
    let cut = json!({"body": r#"{"name":"Ren\u00e9","path":"a\"#});
    assert!(finds("\"name\":\"rené\"", &cut) && finds("a\\", &cut));
    // The escaped form, as in API responses, matches too.
    for text in [r#"\"name\":"#, r"\\u00e9"] {
        assert!(finds(text, &stored), "{text}");
    }
}

#[test]
fn letters_are_the_same_in_either_case() {
    for (text, other) in [
        ("ÄÖÜ", "äöü"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ", "οδοσ"),
        ("ПРИВЕТ", "привет"),
        ("\u{212a}", "k"),
        ("ẞ", "ß"),
    ] {
        assert!(finds(text, &json!([other])) && finds(other, &json!([text])), "{text} {other}");
    }
}

#[test]
fn a_fragment_is_what_every_database_takes_for_the_same() {
    for (text, fragment) in [
        ("needle 77 in", Some("needle")),
        ("LIKE %_!", Some("e")),
        ("\"Ada\\", Some("ada")),
        ("kiKI", None),
        ("éà \n", None),
    ] {
        assert_eq!(Text::new(text).fragment(), fragment, "{text:?}");
    }
}

/// The weakest form of the database's condition on candidates: only ASCII is lowercased.
fn is_candidate(text: &Text, stored: &str) -> bool {
    let fragment = text.fragment();
    fragment.is_none_or(|fragment| stored.to_ascii_lowercase().contains(fragment))
        || stored.contains("\\u")
}

proptest! {
    #[test]
    fn any_part_of_what_is_stored_is_found(
        value in "[a-zA-Z\"\\\\\\x00-\\x1fäÄßéKİ😀:,{}\\[\\] %_!]{1,20}", from in 0..20_usize, chars in 1..20_usize,
        large in any::<bool>(),
    ) {
        let part: String = value.chars().skip(from).take(chars).collect();
        let part = if large { part.to_uppercase().to_lowercase() } else { part };
        prop_assume!(!part.is_empty() && (!large || !value.contains(['ß', 'İ'])));
        for stored in [json!({"a": value}), json!({value.clone(): 1}), json!({"body": json!([value]).to_string()})] {
            prop_assert!(finds(&part, &stored), "{part:?} in {stored}");
            prop_assert!(is_candidate(&Text::new(&part), &stored.to_string()), "{part:?} in {stored}");
        }
    }
}
