//! Daylight-saving changes in several zones.

use super::*;

/// Returns the firings after `after`, up to and including `until`.
fn between(schedule: &Schedule, after: &str, until: &str) -> Vec<String> {
    let all = schedule.upcoming(us(after), 1000);
    all.into_iter().filter(|at| *at <= us(until)).map(|at| shown(schedule, at)).collect()
}

/// Each row has a zone, an expression, the hours around the change, and the firings under skip,
/// once and both.
#[test]
fn a_change_of_the_clocks_follows_the_policy() {
    type Row = (&'static str, &'static str, [&'static str; 2], [&'static [&'static str]; 3]);
    let rows: &[Row] = &[
        // Berlin, spring: 02:00 to 03:00 is skipped.
        (
            "Europe/Berlin",
            "30 2 * * *",
            ["2024-03-30T12:00:00+01:00", "2024-04-01T12:00:00+02:00"],
            [
                &["2024-04-01T02:30:00+02:00"],
                &["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"],
                &["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"],
            ],
        ),
        // The first instant of the gap belongs to it; the first instant after the gap does not.
        (
            "Europe/Berlin",
            "0 2 * * *",
            ["2024-03-30T12:00:00+01:00", "2024-03-31T12:00:00+02:00"],
            [&[], &["2024-03-31T03:00:00+02:00"], &["2024-03-31T03:00:00+02:00"]],
        ),
        // Several times in one gap map to one instant, which can be a regular time as well.
        (
            "Europe/Berlin",
            "0,20,40 1-3 * * *",
            ["2024-03-31T01:30:00+01:00", "2024-03-31T12:00:00+02:00"],
            [
                &[
                    "2024-03-31T01:40:00+01:00",
                    "2024-03-31T03:00:00+02:00",
                    "2024-03-31T03:20:00+02:00",
                    "2024-03-31T03:40:00+02:00",
                ],
                &[
                    "2024-03-31T01:40:00+01:00",
                    "2024-03-31T03:00:00+02:00",
                    "2024-03-31T03:20:00+02:00",
                    "2024-03-31T03:40:00+02:00",
                ],
                &[
                    "2024-03-31T01:40:00+01:00",
                    "2024-03-31T03:00:00+02:00",
                    "2024-03-31T03:20:00+02:00",
                    "2024-03-31T03:40:00+02:00",
                ],
            ],
        ),
        // Every second of a minute that does not exist maps to one instant too.
        (
            "Europe/Berlin",
            "* 30 2 31 3 *",
            ["2024-03-30T12:00:00+01:00", "2024-12-31T12:00:00+01:00"],
            [&[], &["2024-03-31T03:00:00+02:00"], &["2024-03-31T03:00:00+02:00"]],
        ),
        // Berlin, autumn: 02:00 to 03:00 occurs twice.
        (
            "Europe/Berlin",
            "30 2 * * *",
            ["2024-10-26T12:00:00+02:00", "2024-10-28T12:00:00+01:00"],
            [
                &["2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"],
                &["2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"],
                &[
                    "2024-10-27T02:30:00+02:00",
                    "2024-10-27T02:30:00+01:00",
                    "2024-10-28T02:30:00+01:00",
                ],
            ],
        ),
        // The first instant of the fold occurs twice, the first after it does not. Two times of one
        // fold fire in clock order.
        (
            "Europe/Berlin",
            "0,30 2-3 * * *",
            ["2024-10-26T12:00:00+02:00", "2024-10-27T12:00:00+01:00"],
            [
                &[
                    "2024-10-27T02:00:00+02:00",
                    "2024-10-27T02:30:00+02:00",
                    "2024-10-27T03:00:00+01:00",
                    "2024-10-27T03:30:00+01:00",
                ],
                &[
                    "2024-10-27T02:00:00+02:00",
                    "2024-10-27T02:30:00+02:00",
                    "2024-10-27T03:00:00+01:00",
                    "2024-10-27T03:30:00+01:00",
                ],
                &[
                    "2024-10-27T02:00:00+02:00",
                    "2024-10-27T02:30:00+02:00",
                    "2024-10-27T02:00:00+01:00",
                    "2024-10-27T02:30:00+01:00",
                    "2024-10-27T03:00:00+01:00",
                    "2024-10-27T03:30:00+01:00",
                ],
            ],
        ),
        // New York: 02:00 to 03:00 in spring, 01:00 to 02:00 in autumn.
        (
            "America/New_York",
            "15 2 * * *",
            ["2024-03-09T12:00:00-05:00", "2024-03-11T12:00:00-04:00"],
            [
                &["2024-03-11T02:15:00-04:00"],
                &["2024-03-10T03:00:00-04:00", "2024-03-11T02:15:00-04:00"],
                &["2024-03-10T03:00:00-04:00", "2024-03-11T02:15:00-04:00"],
            ],
        ),
        (
            "America/New_York",
            "15 1 * * *",
            ["2024-11-02T12:00:00-04:00", "2024-11-04T12:00:00-05:00"],
            [
                &["2024-11-03T01:15:00-04:00", "2024-11-04T01:15:00-05:00"],
                &["2024-11-03T01:15:00-04:00", "2024-11-04T01:15:00-05:00"],
                &[
                    "2024-11-03T01:15:00-04:00",
                    "2024-11-03T01:15:00-05:00",
                    "2024-11-04T01:15:00-05:00",
                ],
            ],
        ),
        // Lord Howe: 02:00 to 02:30 in October, 01:30 to 02:00 in April.
        (
            "Australia/Lord_Howe",
            "15,45 2 * * *",
            ["2024-10-05T12:00:00+10:30", "2024-10-06T12:00:00+11:00"],
            [
                &["2024-10-06T02:45:00+11:00"],
                &["2024-10-06T02:30:00+11:00", "2024-10-06T02:45:00+11:00"],
                &["2024-10-06T02:30:00+11:00", "2024-10-06T02:45:00+11:00"],
            ],
        ),
        (
            "Australia/Lord_Howe",
            "15,45 1 * * *",
            ["2024-04-06T12:00:00+11:00", "2024-04-07T12:00:00+10:30"],
            [
                &["2024-04-07T01:15:00+11:00", "2024-04-07T01:45:00+11:00"],
                &["2024-04-07T01:15:00+11:00", "2024-04-07T01:45:00+11:00"],
                &[
                    "2024-04-07T01:15:00+11:00",
                    "2024-04-07T01:45:00+11:00",
                    "2024-04-07T01:45:00+10:30",
                ],
            ],
        ),
        // Samoa skipped a whole day, 30 December 2011.
        (
            "Pacific/Apia",
            "0 8 * * *",
            ["2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00"],
            [
                &["2011-12-29T08:00:00-10:00", "2011-12-31T08:00:00+14:00"],
                &[
                    "2011-12-29T08:00:00-10:00",
                    "2011-12-31T00:00:00+14:00",
                    "2011-12-31T08:00:00+14:00",
                ],
                &[
                    "2011-12-29T08:00:00-10:00",
                    "2011-12-31T00:00:00+14:00",
                    "2011-12-31T08:00:00+14:00",
                ],
            ],
        ),
    ];
    for (zone, expression, [after, until], expected) in rows {
        for (dst, expected) in Dst::ALL.iter().zip(expected) {
            let came = between(&schedule(expression, zone, *dst), after, until);
            assert_eq!(came, *expected, "{expression} in {zone}, {}", dst.as_str());
        }
    }
}

#[test]
fn time_that_passes_is_the_same_on_every_day() {
    let changes = [
        ("Europe/Berlin", "2024-03-31T00:00:00Z", "2024-10-27T00:00:00Z"),
        ("America/New_York", "2024-03-10T06:00:00Z", "2024-11-03T05:00:00Z"),
    ];
    for (zone, spring, autumn) in changes {
        for (expression, step_us) in [
            ("*/5 * * * *", HOUR_US / 12),
            ("0 * * * *", HOUR_US),
            ("*/10 * * * * *", 10 * US_PER_SECOND),
        ] {
            for (start, dst) in [spring, autumn]
                .into_iter()
                .flat_map(|start| Dst::ALL.iter().map(move |dst| (start, dst)))
            {
                let came = schedule(expression, zone, *dst).upcoming(us(start) - 1, 50);
                let expected: Vec<_> = (0..50).map(|n| us(start) + n * step_us).collect();
                assert_eq!(came, expected, "{expression} in {zone}, {}", dst.as_str());
            }
        }
    }
}

#[test]
fn an_interval_in_a_fixed_hour_follows_the_wall_clock() {
    for dst in Dst::ALL {
        let schedule = schedule("*/30 2 * * *", "Europe/Berlin", *dst);
        let spring = ["2024-03-31T00:00:00+01:00", "2024-03-31T12:00:00+02:00"];
        assert!(between(&schedule, spring[0], spring[1]).is_empty());
        assert_eq!(
            between(&schedule, "2024-10-27T00:00:00+02:00", "2024-10-27T12:00:00+01:00"),
            [
                "2024-10-27T02:00:00+02:00",
                "2024-10-27T02:30:00+02:00",
                "2024-10-27T02:00:00+01:00",
                "2024-10-27T02:30:00+01:00",
            ]
        );
    }
}

#[test]
fn a_time_that_is_always_left_out_never_fires() {
    // The last Sunday of March, when Berlin has no 02:30.
    let parse = |dst| Schedule::parse("30 2 * 3 0L", "Europe/Berlin", dst);
    assert!(parse(Dst::Skip).unwrap_err().reason.contains("never fires"));
    assert!(parse(Dst::Once).is_ok());
}
