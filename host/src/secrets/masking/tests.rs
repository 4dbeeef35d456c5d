use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn masker(values: &[&str]) -> Masker {
    let values: Vec<_> =
        values.iter().map(|value| SecretValue::from((*value).to_owned())).collect();
    Masker::new(&values)
}

#[test]
fn a_value_is_masked_in_every_form() {
    let value = "p4ß \"w/o+rd\"?";
    let masker = masker(&[value]);
    let json = Value::from(value).to_string();
    let table = [
        (value.to_owned(), "***"),
        (format!("token={value};"), "token=***;"),
        (json.clone(), "\"***\""),
        (Value::from(json).to_string(), "\"\\\"***\\\"\""),
        (format!("{value:?}"), "\"***\""),
        (STANDARD.encode(value), "***"),
        (URL_SAFE_NO_PAD.encode(value), "***"),
        (hex::encode(value), "***"),
        (hex::encode_upper(value), "***"),
        ("p4%C3%9F%20%22w%2Fo%2Brd%22%3F".to_owned(), "***"),
        ("p4%c3%9f%20%22w%2fo%2brd%22%3f".to_owned(), "***"),
        ("p4%C3%9F+%22w%2Fo%2Brd%22%3F".to_owned(), "***"),
        ("p4\\u00df \\\"w/o+rd\\\"?".to_owned(), "***"),
        ("p4ß \"w/o+r".to_owned(), "p4ß \"w/o+r"),
        ("nothing".to_owned(), "nothing"),
        (String::new(), ""),
    ];
    for (text, expected) in table {
        assert_eq!(masker.text(&text), expected, "{text}");
    }
}

/// `Authorization: Basic` with user names of any length.
#[test]
fn a_value_inside_of_longer_base64_is_masked() {
    let masker = masker(&["correct horse"]);
    for user in ["", "a", "ab", "abc", "ada"] {
        for after in ["", "!", "!!", "!!!"] {
            let text = STANDARD.encode(format!("{user}:correct horse{after}"));
            let masked = masker.text(&text).into_owned();
            assert!(masked.contains(MASK), "{text} {masked}");
            // At most two characters of base64 on each side reveal bits of the value.
            assert!(masked.len() <= text.len() - 15 + MASK.len(), "{text} {masked}");
        }
    }
}

#[test]
fn values_that_overlap_leave_nothing_of_either() {
    let masker = masker(&["abcdef", "defghi"]);
    assert_eq!(masker.text("<abcdefghi>"), "<***>");
    assert_eq!(masker.text("<defghi abcdef>"), "<*** ***>");
    assert_eq!(masker.text("abcdeabcdef"), "abcde***");
}

#[test]
fn what_masking_puts_together_is_masked_again() {
    assert_eq!(masker(&["ab***"]).text("abab***"), "***");
    assert_eq!(masker(&["****"]).text("*****"), "***");
}

#[test]
fn short_values_are_not_masked() {
    assert!(masker(&["abc", "", "\n\n\n\nab"]).text("abc ab").contains("abc"));
    assert!(masker(&["abc", ""]).is_none());
    assert_eq!(masker(&["äöüß"]).text("<äöüß>"), "<***>");
    assert_eq!(masker(&["secret\n"]).text("<secret>"), "<***>");
}

#[test]
fn a_long_value_is_masked_only_where_all_of_it_stands() {
    let long = "0123456789".repeat(100);
    let masker = masker(&[&long]);
    assert_eq!(masker.text(&format!("<{long}>")), "<***>");
    assert_eq!(masker.text(&long[..999]), &long[..999]);
    assert_eq!(masker.cut_text(&format!("<{}", &long[..999])), "<***");
}

#[test]
fn of_a_text_that_was_cut_no_beginning_of_a_value_is_left() {
    let masker = masker(&["correct horse"]);
    assert_eq!(masker.cut_text("it is correct ho"), "it is ***");
    assert_eq!(masker.cut_text("it is corr"), "it is ***");
    assert_eq!(masker.cut_text("it is cor"), "it is cor");
    assert_eq!(masker.cut_text("it is correct horse"), "it is ***");
}

#[test]
fn masked_json_is_json() {
    let masker = masker(&["1234", "s3cret", "true", "{\"key\":\"value\"}"]);
    let table = [
        (json!({"pin": 12345, "text": "s3cret!"}), json!({"pin": "***5", "text": "***!"})),
        (json!({"s3cret": [true, false, null]}), json!({"***": ["***", false, null]})),
        (json!({"nested": {"key": "value"}}), json!("{\"nested\":***}")),
        (json!({"nested": "{\"key\":\"value\"}"}), json!({"nested": "***"})),
        (json!(["harmless", 1]), json!(["harmless", 1])),
    ];
    for (given, expected) in table {
        assert_eq!(masker.json(given.clone()), expected);
        let text: Value = serde_json::from_str(&masker.json_text(given.to_string())).unwrap();
        assert_eq!(text, expected);
    }
    assert_eq!(masker.json_text("{\"cut\": \"s3cret".to_owned()), "\"{\\\"cut\\\": \\\"***\"");
}

#[test]
fn nothing_to_mask_changes_nothing() {
    let none = Masker::default();
    assert!(matches!(none.text("abc"), Cow::Borrowed("abc")));
    assert_eq!(none.json_text("{\"a\" : 1}".to_owned()), "{\"a\" : 1}");
    let masker = masker(&["s3cret"]);
    assert!(matches!(masker.bytes(b"\xff\xfe"), Cow::Borrowed(_)));
    assert_eq!(&*masker.bytes(b"\xffs3cret\xfe"), b"\xff***\xfe");
}

#[test]
fn what_a_run_reads_later_is_masked_from_then_on() {
    let revealed = Revealed::default();
    let shared = revealed.clone();
    assert!(revealed.masker().is_none());
    shared.add("A".to_owned(), SecretValue::from("first".to_owned()));
    assert_eq!(revealed.masker().text("first second"), "*** second");
    shared.add("B".to_owned(), SecretValue::from("second".to_owned()));
    assert_eq!(revealed.masker().text("first second"), "*** ***");
    assert_eq!(revealed.find("B").unwrap().reveal(), "second");
}

/// Each of these once took time proportional to the square of the length.
#[test]
fn texts_that_are_made_to_be_masked_again_and_again_are_masked_once() {
    let text = "a".repeat(400_000);
    assert_eq!(masker(&["***a"]).text(&format!("***{text}")), "***");
    let stars = "*".repeat(400_000);
    assert_eq!(masker(&["****"]).text(&stars), "***");
    let all = |count: usize| {
        masker(
            &(4..count)
                .map(|n| "a".repeat(n))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(all(60).text(&text), "***");
    // Every position looks like the beginning of a long value.
    let long = format!("{}b", "a".repeat(30_000));
    assert_eq!(masker(&[&long]).text(&text), "***");
    assert_eq!(masker(&[&long]).text(&format!("<{long}>")), "***");
    assert_eq!(masker(&[&long]).cut_text("<aaaaaa"), "<***");
}

#[test]
fn a_set_of_values_is_prepared_once() {
    let maskers = Maskers::default();
    let masker = |values: &[&str]| {
        let revealed = Revealed::new(maskers.clone());
        for (n, value) in values.iter().enumerate() {
            revealed.add(n.to_string(), SecretValue::from((*value).to_owned()));
        }
        revealed.masker()
    };
    let one = masker(&["first", "second"]);
    assert!(one.is_same_as(&masker(&["first", "second"])));
    assert!(!one.is_same_as(&masker(&["firsts", "econd"])));
    assert_eq!(masker(&["firsts", "econd"]).text("first second firsts"), "first s*** ***");
}

fn encode(value: &str, form: usize) -> String {
    match form {
        0 => value.to_owned(),
        1 => Value::from(value).to_string(),
        2 => STANDARD.encode(value),
        3 => URL_SAFE_NO_PAD.encode(value),
        4 => hex::encode(value),
        5 => format!("{value:?}"),
        _ => form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    }
}

proptest! {
    #[test]
    fn no_masked_text_contains_a_value(
        values in prop::collection::vec("[a*\"\\\\é%\\n ]{4,8}|\\PC{4,40}", 1..4),
        pieces in prop::collection::vec((0..4_usize, 0..7_usize, "[a*\"é ]{0,5}"), 0..8),
    ) {
        let secrets: Vec<_> = values.iter().map(|v| SecretValue::from(v.clone())).collect();
        let masker = Masker::new(&secrets);
        let text: String = pieces
            .iter()
            .map(|(which, form, between)| {
                format!("{}{between}", encode(&values[which % values.len()], *form))
            })
            .collect();
        let masked = masker.text(&text).into_owned();
        prop_assert!(masked.len() <= text.len());
        let inside = masker.json(json!({"text": text, "list": [text]})).to_string();
        let cut = masker.cut_text(&text).into_owned();
        for value in values.iter().filter(|value| value.trim().chars().count() >= 4) {
            for form in 0..7 {
                // The quotes of JSON and `Debug` do not belong to the value.
                let is_quoted = matches!(form, 1 | 5);
                let form = encode(value, form);
                let form = if is_quoted { &form[1..form.len() - 1] } else { &*form };
                if form.len() >= 4 {
                    prop_assert!(!masked.contains(form), "{form:?} in {masked:?}");
                    prop_assert!(!cut.contains(form), "{form:?} in {cut:?}");
                }
            }
            prop_assert!(!inside.contains(value.as_str()), "{value:?} in {inside:?}");
        }
        // Masking a masked text changes nothing.
        prop_assert_eq!(masker.text(&masked), masked.as_str());
    }
}
