//! Properties of every schedule.

use proptest::prelude::*;

use super::*;

fn any_expression() -> impl Strategy<Value = String> {
    let second = prop_oneof![Just(""), Just("0 "), Just("*/7 "), Just("5,50 ")];
    let minute =
        prop_oneof![Just("*"), Just("*/5"), Just("0"), Just("30"), Just("7,15,45"), Just("10-20")];
    let hour = prop_oneof![
        Just("*"),
        Just("*/3"),
        Just("0"),
        Just("1"),
        Just("2"),
        Just("1-3"),
        Just("23")
    ];
    let day = prop_oneof![Just("*"), Just("1"), Just("L"), Just("29"), Just("15W"), Just("*/2")];
    let month = prop_oneof![Just("*"), Just("2"), Just("3,10"), Just("4-11")];
    let weekday =
        prop_oneof![Just("*"), Just("0"), Just("SUN"), Just("MON-FRI"), Just("0L"), Just("0#1")];
    (second, minute, hour, day, month, weekday).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            format!("{second}{minute} {hour} {day} {month} {weekday}")
        },
    )
}

/// A field with values from `least` to `most`, some of them by name.
fn any_field(least: u8, most: u8, names: &'static [&'static str]) -> BoxedStrategy<String> {
    let number = (least..=most).prop_map(|number| number.to_string()).boxed();
    let value = match names {
        [] => number,
        names => {
            prop_oneof![number, proptest::sample::select(names).prop_map(str::to_owned)].boxed()
        }
    };
    let range = (least..=most).prop_flat_map(move |first| (Just(first), first..=most));
    let range = range.prop_map(|(first, last)| format!("{first}-{last}")).boxed();
    let step = 1..=most;
    let stepped = (prop_oneof![Just("*".to_owned()), range.clone()], step);
    let stepped = stepped.prop_map(|(range, step)| format!("{range}/{step}"));
    let items = proptest::collection::vec(prop_oneof![value, range, stepped], 1..4);
    prop_oneof![Just("*".to_owned()), items.prop_map(|items| items.join(","))].boxed()
}

/// Any text of the grammar, even if it never fires.
fn of_the_dialect() -> impl Strategy<Value = String> {
    let day = prop_oneof![
        4 => any_field(1, 31, &[]),
        1 => proptest::sample::select(vec!["?", "L", "lw", "15W", "1w,20", "31W"]).prop_map(str::to_owned),
    ];
    let weekday = prop_oneof![
        4 => any_field(0, 7, &["MON", "sunday", "Fri"]),
        1 => proptest::sample::select(vec!["?", "5L", "FRIl", "tuesday#3", "+MON-FRI", "1#1,2L"])
            .prop_map(str::to_owned),
    ];
    let second = proptest::option::of(any_field(0, 59, &[]));
    let month = any_field(1, 12, &["JAN", "december", "May"]);
    (second, any_field(0, 59, &[]), any_field(0, 23, &[]), day, month, weekday).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            let second = second.map(|second| format!("{second} ")).unwrap_or_default();
            format!("{second}{minute} {hour} {day} {month} {weekday}")
        },
    )
}

fn any_zone() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("America/New_York"),
        Just("Australia/Lord_Howe"),
        Just("Asia/Kathmandu"),
        Just("Africa/Casablanca"),
        Just("Pacific/Apia"),
        Just("Antarctica/Troll"),
    ]
}

fn any_dst() -> impl Strategy<Value = Dst> {
    prop_oneof![Just(Dst::Skip), Just(Dst::Once), Just(Dst::Both)]
}

/// Instants from 1980 to 2080.
fn any_instant() -> impl Strategy<Value = i64> {
    us("1980-01-01T00:00:00Z")..us("2080-01-01T00:00:00Z")
}

/// A zone, and an instant within a quarter of a day of one of its clock changes.
fn near_a_change() -> impl Strategy<Value = (&'static str, i64)> {
    let changes = [
        ("Europe/Berlin", "2024-03-31T01:00:00Z"),
        ("Europe/Berlin", "2024-10-27T01:00:00Z"),
        ("America/New_York", "2024-03-10T07:00:00Z"),
        ("America/New_York", "2024-11-03T06:00:00Z"),
        ("Australia/Lord_Howe", "2024-10-05T15:30:00Z"),
        ("Australia/Lord_Howe", "2024-04-06T15:00:00Z"),
        ("Antarctica/Troll", "2024-03-31T01:00:00Z"),
        ("Antarctica/Troll", "2024-10-27T01:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ];
    (0..changes.len(), -DAY_US / 4..DAY_US / 4)
        .prop_map(move |(n, away)| (changes[n].0, us(changes[n].1) + away))
}

/// A time of day, on every day.
fn any_time_of_day() -> impl Strategy<Value = String> {
    let second = prop_oneof![Just(""), Just("0 "), Just("*/7 "), Just("5,59 ")];
    let minute = prop_oneof![Just("*"), Just("*/5"), Just("0"), Just("30"), Just("0,29,30,59")];
    let hour = prop_oneof![Just("*"), Just("*/3"), Just("0"), Just("1"), Just("2"), Just("0-4")];
    (second, minute, hour)
        .prop_map(|(second, minute, hour)| format!("{second}{minute} {hour} * * *"))
}

fn wall_clock(schedule: &Schedule, at: i64) -> NaiveDateTime {
    let at = DateTime::from_timestamp(at, 0).unwrap();
    at.with_timezone(&schedule.clock.zone).naive_local()
}

proptest! {
    #[test]
    fn firings_are_strictly_increasing_and_match_the_wall_clock(
        expression in prop_oneof![any_expression(), any_time_of_day()],
        (zone, start) in prop_oneof![(any_zone(), any_instant()), near_a_change()],
        dst in any_dst(),
    ) {
        let Ok(schedule) = Schedule::parse(&expression, zone, dst) else {
            return Ok(());
        };
        let mut before = start;
        for at in schedule.upcoming(start, 40) {
            prop_assert!(at > before, "{expression} in {zone}: {at} after {before}");
            prop_assert_eq!(at % US_PER_SECOND, 0);
            // From any instant since the previous firing, this one is next.
            prop_assert_eq!(schedule.next_after(before + (at - before) / 2), Some(at));
            prop_assert_eq!(schedule.next_after(at - 1), Some(at));
            let local = wall_clock(&schedule, at / US_PER_SECOND);
            let there = schedule.next_match(local, local.date()) == Some(local);
            // A firing that does not match replaces a time in the gap that ends there.
            let just_before = wall_clock(&schedule, at / US_PER_SECOND - 1);
            let ends_a_gap = local - just_before > TimeDelta::seconds(1);
            let moved = ends_a_gap && dst != Dst::Skip && !schedule.clock.is_elapsing;
            prop_assert!(there || moved, "{expression} in {zone}, {}: {local}", dst.as_str());
            before = at;
        }
    }

    #[test]
    fn what_is_made_up_for_was_due_and_is_over(
        expression in any_expression(),
        zone in any_zone(),
        due in any_instant(),
        gone_us in 0..3 * DAY_US,
    ) {
        let Ok(schedule) = Schedule::parse(&expression, zone, Dst::Both) else {
            return Ok(());
        };
        let Some(due) = schedule.next_after(due) else { return Ok(()) };
        let now = due + gone_us;
        let all = schedule.missed(due, now, Misfire::All, MISSED_MAX);
        prop_assert_eq!(all.fire.first(), Some(&due));
        prop_assert!(all.fire.is_sorted() && all.fire.iter().all(|at| *at <= now));
        let once = schedule.missed(due, now, Misfire::Once, MISSED_MAX);
        prop_assert!(once.next.is_none_or(|next| next > now));
        prop_assert_eq!(once.next, all.next);
        prop_assert!(all.fire.len() <= MISSED_MAX);
        if all.fire.len() < MISSED_MAX {
            prop_assert_eq!(once.fire.last(), all.fire.last());
        }
        let skip = schedule.missed(due, now, Misfire::Skip, MISSED_MAX);
        prop_assert!(skip.fire.iter().all(|at| now - at <= LATE_US_MAX));
    }

    #[test]
    fn the_library_accepts_what_the_grammar_accepts(
        of_the_dialect in of_the_dialect(),
        text in "([0-9*/,LWlw#+?-]|mon|SUN|jan|DEC|january|@|daily|[0-9]| ){0,24}",
        fields in "([*]|[0-9]{1,2}|mon|L|15W)([,/#-]?[0-9A-Z]{0,2})( [*]){4}",
    ) {
        prop_assert!(grammar::normalise(&of_the_dialect).is_ok(), "{of_the_dialect:?}");
        for text in [of_the_dialect, text, fields] {
            let Ok(normal) = grammar::normalise(&text) else { continue };
            let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed);
            let parsed = parser.build().parse(&normal);
            prop_assert!(parsed.is_ok(), "{text:?} as {normal:?}: {parsed:?}");
            // The normal form is its own normal form, so that it is not parsed differently again.
            prop_assert_eq!(grammar::normalise(&normal), Ok(normal));
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text in ".{0,40}", fields in "[0-9*/,LW#+?A-Z -]{0,40}") {
        let _ = Schedule::parse(&text, "Europe/Berlin", Dst::Once);
        let _ = Schedule::parse(&fields, "Europe/Berlin", Dst::Both);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compares with a search of every second of half a day.
    #[test]
    fn around_a_change_nothing_is_left_out(
        expression in any_time_of_day(), (zone, start) in near_a_change(), dst in any_dst(),
    ) {
        let schedule = schedule(&expression, zone, dst);
        let start = start.div_euclid(US_PER_SECOND);
        let end = start + 43_200;
        let local = |at: i64| wall_clock(&schedule, at);
        let matches = |local: NaiveDateTime| {
            schedule.matches_day(local.date())
                && schedule.hours.contains(&local.hour())
                && schedule.minutes.contains(&local.minute())
                && schedule.seconds.contains(&local.second())
        };
        let by_the_clock = schedule.clock.is_elapsing;
        let mut expected = Vec::new();
        // The wall clock's latest time so far: a time that is not later has occurred before.
        let mut reached = (start - 86_400..=start).map(local).max().unwrap();
        for at in start + 1..=end {
            let now = local(at);
            let repeated = now <= reached;
            let mut fires = matches(now) && (by_the_clock || dst == Dst::Both || !repeated);
            let mut skipped = reached + TimeDelta::seconds(1);
            while skipped < now && !by_the_clock && dst != Dst::Skip {
                fires = fires || matches(skipped);
                skipped += TimeDelta::seconds(1);
            }
            if fires {
                expected.push(at * US_PER_SECOND);
            }
            reached = reached.max(now);
        }
        let mut came = schedule.upcoming(start * US_PER_SECOND, expected.len() + 1);
        came.retain(|at| *at <= end * US_PER_SECOND);
        prop_assert_eq!(came, expected, "{} in {}, {}", expression, zone, dst.as_str());
    }
}
