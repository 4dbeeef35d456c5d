//! Times are written as RFC 3339 in the zone's own offset, which shows both the wall clock and the
//! instant.

mod clock_changes;
mod dialect;
mod missed;
mod properties;

use chrono::DateTime;

use super::*;

const HOUR_US: i64 = 3600 * US_PER_SECOND;
const DAY_US: i64 = 24 * HOUR_US;

fn schedule(expression: &str, zone: &str, dst: Dst) -> Schedule {
    Schedule::parse(expression, zone, dst).unwrap()
}

fn us(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

fn shown(schedule: &Schedule, us: i64) -> String {
    DateTime::from_timestamp_micros(us).unwrap().with_timezone(&schedule.clock.zone).to_rfc3339()
}

#[test]
fn fields_mean_what_cron_means() {
    for (expression, expected) in [
        ("0 12 * * *", vec!["2024-02-28T12:00:00", "2024-02-29T12:00:00", "2024-03-01T12:00:00"]),
        (
            "30 9 * * MON-FRI",
            vec![
                "2024-02-28T09:30:00",
                "2024-02-29T09:30:00",
                "2024-03-01T09:30:00",
                "2024-03-04T09:30:00",
            ],
        ),
        (
            "*/20 8 * * *",
            vec![
                "2024-02-28T08:00:00",
                "2024-02-28T08:20:00",
                "2024-02-28T08:40:00",
                "2024-02-29T08:00:00",
            ],
        ),
        (
            "5,10-12 0 1 * *",
            vec![
                "2024-03-01T00:05:00",
                "2024-03-01T00:10:00",
                "2024-03-01T00:11:00",
                "2024-03-01T00:12:00",
                "2024-04-01T00:05:00",
            ],
        ),
        // Six fields begin with the second.
        (
            "15,45 0 12 * * *",
            vec!["2024-02-28T12:00:15", "2024-02-28T12:00:45", "2024-02-29T12:00:15"],
        ),
        (
            "*/30 * * * * *",
            vec!["2024-02-28T00:00:30", "2024-02-28T00:01:00", "2024-02-28T00:01:30"],
        ),
        // The last day, the last weekday, the nearest weekday, the last and the second Friday.
        ("0 0 L * *", vec!["2024-02-29T00:00:00", "2024-03-31T00:00:00", "2024-04-30T00:00:00"]),
        ("0 0 LW * *", vec!["2024-02-29T00:00:00", "2024-03-29T00:00:00", "2024-04-30T00:00:00"]),
        ("0 0 16W 3 *", vec!["2024-03-15T00:00:00", "2025-03-17T00:00:00"]),
        ("0 0 * * 5L", vec!["2024-03-29T00:00:00", "2024-04-26T00:00:00"]),
        ("0 0 * * 5#2", vec!["2024-03-08T00:00:00", "2024-04-12T00:00:00"]),
        // Leap days, including a century without one.
        ("0 0 29 2 *", vec!["2024-02-29T00:00:00", "2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        (
            "0 0 29 2 +MON",
            vec!["2044-02-29T00:00:00", "2072-02-29T00:00:00", "2112-02-29T00:00:00"],
        ),
        // Either day matches.
        ("0 0 1 * SAT", vec!["2024-03-01T00:00:00", "2024-03-02T00:00:00", "2024-03-09T00:00:00"]),
        ("@monthly", vec!["2024-03-01T00:00:00", "2024-04-01T00:00:00"]),
        ("@hourly", vec!["2024-02-28T01:00:00", "2024-02-28T02:00:00"]),
    ] {
        let schedule = schedule(expression, "UTC", Dst::Once);
        let came = schedule.upcoming(us("2024-02-28T00:00:00Z"), expected.len());
        let came: Vec<_> = came.into_iter().map(|at| shown(&schedule, at)).collect();
        let expected: Vec<_> = expected.into_iter().map(|at| format!("{at}+00:00")).collect();
        assert_eq!(came, expected, "{expression}");
    }
}

#[test]
fn a_firing_is_strictly_after() {
    let noon = schedule("0 12 * * *", "UTC", Dst::Once);
    let at = us("2024-02-28T12:00:00Z");
    assert_eq!(noon.next_after(at - 1), Some(at));
    assert_eq!(noon.next_after(at - 999_999), Some(at));
    assert_eq!(noon.next_after(at), Some(at + DAY_US));
    assert_eq!(noon.next_after(at + 1), Some(at + DAY_US));
    // Also before 1970.
    let at = us("1969-12-31T12:00:00Z");
    assert_eq!(noon.next_after(at - 1), Some(at));
    assert_eq!(noon.next_after(at), Some(at + DAY_US));
}

#[test]
fn at_the_ends_of_the_calendar_there_is_no_firing() {
    let every_minute = schedule("* * * * *", "America/New_York", Dst::Both);
    assert_eq!(every_minute.next_after(i64::MAX), None);
    assert_eq!(every_minute.next_after(i64::MIN), None);
    assert!(every_minute.upcoming(i64::MAX, 5).is_empty());
}

#[test]
fn policies_have_names() {
    assert_eq!(Dst::try_from("both".to_owned()), Ok(Dst::Both));
    assert_eq!(Misfire::try_from("all".to_owned()), Ok(Misfire::All));
    assert_eq!(Overlap::Forbid.as_str(), "forbid");
    let refused = Misfire::try_from("never".to_owned()).unwrap_err();
    assert_eq!(refused.to_string(), "\"never\" is not one of skip, once, all");
    for policy in Misfire::ALL {
        assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
    }
}
