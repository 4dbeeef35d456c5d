//! Tests the grammar of schedules, and that the library agrees with it.

use super::*;

/// Refused expressions, and the field that is reported.
const REFUSED: &[(&str, &str)] = &[
    ("", "schedule"),
    ("* * * *", "schedule"),
    ("* * * * * * *", "schedule"),
    ("0 0 30 2 *", "schedule"),
    ("0 0 31 4,6,9,11 *", "schedule"),
    // Characters that only look like spaces.
    ("0\u{a0}0 * * *", "schedule"),
    ("0 0\n* * *", "schedule"),
    ("0 0 * *\u{3000}*", "schedule"),
    ("0 0 * * * \u{0}", "schedule"),
    // Letters whose upper case is an ASCII letter.
    ("0 0 * * \u{17f}un", "schedule"),
    // Macros.
    ("@sometimes", "macro"),
    ("@", "macro"),
    ("@reboot", "macro"),
    ("@daily * * * *", "minute"),
    // Numbers.
    ("60 * * * * *", "second"),
    ("60 * * * *", "minute"),
    ("-1 * * * *", "minute"),
    ("+1 * * * *", "minute"),
    ("007 * * * *", "minute"),
    ("a * * * *", "minute"),
    ("? * * * *", "minute"),
    ("L * * * *", "minute"),
    ("* 24 * * *", "hour"),
    ("* L * * *", "hour"),
    ("* * 0 * *", "day of month"),
    ("* * 32 * *", "day of month"),
    ("* * * 0 *", "month"),
    ("* * * 13 *", "month"),
    ("* * * * 8", "day of week"),
    // Names in other fields, and next to other characters.
    ("* * * MON *", "month"),
    ("* * * monday *", "month"),
    ("* * * * JAN", "day of week"),
    ("* * MON * *", "day of month"),
    ("JAN * * * *", "minute"),
    ("MON * * * * *", "second"),
    ("* * * * 1MON", "day of week"),
    ("1MON * * * *", "minute"),
    ("* * * * MON1", "day of week"),
    ("* * * * MONTUE", "day of week"),
    ("* * * * mond", "day of week"),
    ("* * * 1JAN *", "month"),
    ("* * * JANFEB *", "month"),
    ("* * * june1 *", "month"),
    // Lists.
    (", * * * *", "minute"),
    ("1,,2 * * * *", "minute"),
    (",1 * * * *", "minute"),
    ("1, * * * *", "minute"),
    ("1, 2 * * * *", "second"),
    ("*,5 * * * *", "minute"),
    ("* 1,,2 * * *", "hour"),
    ("* * 1, * *", "day of month"),
    ("* * * ,1 *", "month"),
    ("* * * * MON,", "day of week"),
    ("0, 0 * * * *", "second"),
    // Ranges and steps.
    ("5-1 * * * *", "minute"),
    ("1-2-3 * * * *", "minute"),
    ("1- * * * *", "minute"),
    ("*-5 * * * *", "minute"),
    ("* * * * SAT-MON", "day of week"),
    ("* * * * 5-0", "day of week"),
    ("* * * DEC-JAN *", "month"),
    ("*/0 * * * *", "minute"),
    ("*/ * * * *", "minute"),
    ("/5 * * * *", "minute"),
    ("5/5 * * * *", "minute"),
    ("*/5/5 * * * *", "minute"),
    ("*/60 * * * *", "minute"),
    ("*/90 * * * *", "minute"),
    ("* */24 * * *", "hour"),
    ("* * */32 * *", "day of month"),
    ("* * * */13 *", "month"),
    ("* * * * */8", "day of week"),
    ("* * * * */MON", "day of week"),
    // Days of the month.
    ("* * 15W20 * *", "day of month"),
    ("* * 15WW * *", "day of month"),
    ("* * W * *", "day of month"),
    ("* * W15 * *", "day of month"),
    ("* * 32W * *", "day of month"),
    ("* * 1-5W * *", "day of month"),
    ("* * LW,L * *", "day of month"),
    ("* * L,15 * *", "day of month"),
    ("* * 15,L * *", "day of month"),
    ("* * LW,15W * *", "day of month"),
    ("* * L,L * *", "day of month"),
    ("* * L-3 * *", "day of month"),
    ("* * 5L * *", "day of month"),
    ("* * LL * *", "day of month"),
    ("* * WL * *", "day of month"),
    ("* * 5#2 * *", "day of month"),
    ("* * ?,1 * *", "day of month"),
    ("* * +1 * *", "day of month"),
    // Days of the week.
    ("* * * * L", "day of week"),
    ("* * * * L5", "day of week"),
    ("* * * * 8L", "day of week"),
    ("* * * * 5#", "day of week"),
    ("* * * * #2", "day of week"),
    ("* * * * 5#0", "day of week"),
    ("* * * * 5#6", "day of week"),
    ("* * * * 5#L", "day of week"),
    ("* * * * 5#2#3", "day of week"),
    ("* * * * 5L#2", "day of week"),
    ("* * * * MON-FRI#2", "day of week"),
    ("* * * * 5#2/2", "day of week"),
    ("* * * * 1,?", "day of week"),
    ("* * * * 5W", "day of week"),
    ("* * * * +", "day of week"),
    ("* * * * +*", "day of week"),
    ("* * * * ++1", "day of week"),
    ("* * * * 1,+2", "day of week"),
];

#[test]
fn what_the_dialect_does_not_have_is_refused_by_its_field() {
    for (expression, field) in REFUSED {
        let refused = Schedule::parse(expression, "UTC", Dst::Once).unwrap_err();
        assert_eq!(refused.field, *field, "{expression:?}: {refused}");
        assert!(!refused.reason.is_empty() && !refused.allowed.is_empty(), "{refused}");
        if !matches!(*field, "schedule" | "macro") {
            let mut fields = expression.split_ascii_whitespace();
            assert!(fields.any(|given| given == refused.given), "{expression:?}: {refused}");
        }
    }
    for zone in ["Mars/Base", "", "utc+1"] {
        let refused = Schedule::parse("* * * * *", zone, Dst::Once).unwrap_err();
        assert_eq!((refused.field, &*refused.given), ("zone", zone));
    }
    let long = "0,".repeat(200) + "0 * * * *";
    let refused = Schedule::parse(&long, "UTC", Dst::Once).unwrap_err();
    assert!(refused.reason.contains("256 bytes"), "{refused}");
    let words = Schedule::parse("* * * MON *", "UTC", Dst::Once).unwrap_err().to_string();
    let begin =
        "the month \"MON\" is not valid: \"mon\" is not one of its values; allowed: *, 1 to 12";
    assert!(words.starts_with(begin), "{words}");
}

/// Accepted expressions, and their next instants after 2024-02-28T00:00:00Z (a Wednesday).
const ACCEPTED: &[(&str, &[&str])] = &[
    ("@midnight", &["2024-02-29T00:00:00", "2024-03-01T00:00:00"]),
    ("@daily", &["2024-02-29T00:00:00", "2024-03-01T00:00:00"]),
    ("@Hourly", &["2024-02-28T01:00:00", "2024-02-28T02:00:00"]),
    ("@weekly", &["2024-03-03T00:00:00", "2024-03-10T00:00:00"]),
    ("@monthly", &["2024-03-01T00:00:00", "2024-04-01T00:00:00"]),
    ("@yearly", &["2025-01-01T00:00:00", "2026-01-01T00:00:00"]),
    (" @annually ", &["2025-01-01T00:00:00", "2026-01-01T00:00:00"]),
    ("0 9 * * monday", &["2024-03-04T09:00:00", "2024-03-11T09:00:00"]),
    ("0 9 * * Monday-FRIDAY", &["2024-02-28T09:00:00", "2024-02-29T09:00:00"]),
    ("0 9 * * tue,Sunday", &["2024-03-03T09:00:00", "2024-03-05T09:00:00"]),
    (
        "0 9 * * fri-sun",
        &[
            "2024-03-01T09:00:00",
            "2024-03-02T09:00:00",
            "2024-03-03T09:00:00",
            "2024-03-08T09:00:00",
        ],
    ),
    (
        "0 9 * * SUN-TUE",
        &[
            "2024-03-03T09:00:00",
            "2024-03-04T09:00:00",
            "2024-03-05T09:00:00",
            "2024-03-10T09:00:00",
        ],
    ),
    ("0 9 * * SUN-SUN", &["2024-03-03T09:00:00", "2024-03-10T09:00:00"]),
    ("0 9 * * 7", &["2024-03-03T09:00:00", "2024-03-10T09:00:00"]),
    ("0 9 * * MON-FRI/2", &["2024-02-28T09:00:00", "2024-03-01T09:00:00", "2024-03-04T09:00:00"]),
    ("0 9 * * friday#2", &["2024-03-08T09:00:00", "2024-04-12T09:00:00"]),
    ("0 9 * * FRIL", &["2024-03-29T09:00:00", "2024-04-26T09:00:00"]),
    ("0 9 * * 5l,1#1", &["2024-03-04T09:00:00", "2024-03-29T09:00:00", "2024-04-01T09:00:00"]),
    ("0 9 1 * +mon", &["2024-04-01T09:00:00", "2024-07-01T09:00:00"]),
    ("0 9 ? * 1", &["2024-03-04T09:00:00", "2024-03-11T09:00:00"]),
    ("0 9 1 * ?", &["2024-03-01T09:00:00", "2024-04-01T09:00:00"]),
    ("0 9 1 january *", &["2025-01-01T09:00:00", "2026-01-01T09:00:00"]),
    (
        "0 9 1 Mar-MAY,december *",
        &[
            "2024-03-01T09:00:00",
            "2024-04-01T09:00:00",
            "2024-05-01T09:00:00",
            "2024-12-01T09:00:00",
        ],
    ),
    ("0 9 l * *", &["2024-02-29T09:00:00", "2024-03-31T09:00:00"]),
    ("0 9 lW * *", &["2024-02-29T09:00:00", "2024-03-29T09:00:00"]),
    ("0 9 2w,20 * *", &["2024-03-01T09:00:00", "2024-03-20T09:00:00", "2024-04-02T09:00:00"]),
    ("00 07 * * *", &["2024-02-28T07:00:00", "2024-02-29T07:00:00"]),
    ("  0\t7  * *   * ", &["2024-02-28T07:00:00", "2024-02-29T07:00:00"]),
    ("0,30 6-7 * * *", &["2024-02-28T06:00:00", "2024-02-28T06:30:00", "2024-02-28T07:00:00"]),
    ("10-50/20 6 * * *", &["2024-02-28T06:10:00", "2024-02-28T06:30:00", "2024-02-28T06:50:00"]),
    ("*/59 * * * *", &["2024-02-28T00:59:00", "2024-02-28T01:00:00"]),
    ("30 0 7 * * *", &["2024-02-28T07:00:30", "2024-02-29T07:00:30"]),
];

#[test]
fn what_the_dialect_has_fires_when_it_says() {
    for (expression, expected) in ACCEPTED {
        let schedule = schedule(expression, "UTC", Dst::Once);
        assert_eq!(schedule.objection(), None, "{expression}");
        let came = schedule.upcoming(us("2024-02-28T00:00:00Z"), expected.len());
        let came: Vec<_> = came.into_iter().map(|at| shown(&schedule, at)).collect();
        let expected: Vec<_> = expected.iter().map(|at| format!("{at}+00:00")).collect();
        assert_eq!(came, expected, "{expression}");
    }
}

#[test]
fn every_name_is_its_number_in_any_case() {
    let weekdays = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let months = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    for (number, name) in weekdays.iter().enumerate() {
        let normal = format!("0 0 * * {number}");
        for name in [name, &name[..3], &*name.to_uppercase(), &*name[..3].to_uppercase()] {
            assert_eq!(grammar::normalise(&format!("0 0 * * {name}")), Ok(normal.clone()));
        }
    }
    for (number, name) in months.iter().enumerate() {
        let normal = format!("0 0 1 {} *", number + 1);
        for name in [name, &name[..3], &*name.to_uppercase(), &*name[..3].to_uppercase()] {
            assert_eq!(grammar::normalise(&format!("0 0 1 {name} *")), Ok(normal.clone()));
        }
    }
}

#[test]
fn a_stored_schedule_that_would_be_refused_today_fires_as_before() {
    for (expression, field, expected) in [
        ("0 9 1 MON *", "month", "2025-01-01T09:00:00+00:00"),
        ("0 9 1,,2 * *", "day of month", "2024-03-01T09:00:00+00:00"),
        ("1MON 9 * * *", "minute", "2024-02-28T09:11:00+00:00"),
        ("0\u{a0}9 * * *", "schedule", "2024-02-28T09:00:00+00:00"),
    ] {
        let stored = Schedule::parse_stored(expression, "UTC", Dst::Once).unwrap();
        assert_eq!(stored.objection().map(|refused| refused.field), Some(field), "{expression}");
        let next = stored.next_after(us("2024-02-28T00:00:00Z")).unwrap();
        assert_eq!(shown(&stored, next), expected, "{expression}");
    }
    assert!(Schedule::parse_stored("61 * * * *", "UTC", Dst::Once).is_err());
}
