//! Missed firings.

use super::*;

#[test]
fn a_schedule_that_is_not_due_waits() {
    let noon = schedule("0 12 * * *", "UTC", Dst::Once);
    let due = us("2024-02-28T12:00:00Z");
    for misfire in Misfire::ALL {
        let missed = noon.missed(due, due - 1, *misfire, MISSED_MAX);
        assert_eq!(missed, Missed { fire: vec![], next: Some(due) });
    }
}

#[test]
fn on_time_is_up_to_a_minute_late() {
    let noon = schedule("0 12 * * *", "UTC", Dst::Once);
    let due = us("2024-02-28T12:00:00Z");
    let next = Some(due + DAY_US);
    for late_us in [0, 1, LATE_US_MAX] {
        for misfire in Misfire::ALL {
            let missed = noon.missed(due, due + late_us, *misfire, MISSED_MAX);
            assert_eq!(missed, Missed { fire: vec![due], next }, "{late_us} {misfire:?}");
        }
    }
    let now = due + LATE_US_MAX + 1;
    assert_eq!(noon.missed(due, now, Misfire::Skip, 9), Missed { fire: vec![], next });
    assert_eq!(noon.missed(due, now, Misfire::Once, 9), Missed { fire: vec![due], next });
    assert_eq!(noon.missed(due, now, Misfire::All, 9), Missed { fire: vec![due], next });
}

#[test]
fn a_day_without_a_clock_is_made_up_for_as_asked() {
    let hourly = schedule("0 * * * *", "Europe/Berlin", Dst::Once);
    let due = us("2024-02-28T12:00:00Z");
    let now = due + DAY_US + HOUR_US / 2;
    let next = Some(due + 25 * HOUR_US);
    let all: Vec<i64> = (0..25).map(|n| due + n * HOUR_US).collect();
    let fire = |misfire, now, max| hourly.missed(due, now, misfire, max);
    assert_eq!(fire(Misfire::Skip, now, 1000), Missed { fire: vec![], next });
    assert_eq!(fire(Misfire::Once, now, 1000), Missed { fire: vec![due + DAY_US], next });
    assert_eq!(fire(Misfire::All, now, 1000), Missed { fire: all.clone(), next });
    assert_eq!(fire(Misfire::All, now, 10), Missed { fire: all[..10].to_vec(), next });
    // The scheduler runs again exactly on the hour.
    let on_the_hour = Missed { fire: vec![due + DAY_US], next };
    assert_eq!(fire(Misfire::Once, due + DAY_US, 1000), on_the_hour);
    // The scheduler runs again just after the hour: the firing of this hour is on time.
    let just_after = due + DAY_US + US_PER_SECOND;
    assert_eq!(fire(Misfire::Skip, just_after, 1000), Missed { fire: vec![due + DAY_US], next });
}

#[test]
fn a_year_without_a_clock_takes_no_walk_over_every_second() {
    let every_second = schedule("* * * * * *", "Europe/Berlin", Dst::Both);
    let due = us("2024-02-28T12:00:00Z");
    let now = due + 365 * DAY_US + 1;
    let next = Some(now - 1 + US_PER_SECOND);
    let once = every_second.missed(due, now, Misfire::Once, MISSED_MAX);
    assert_eq!(once, Missed { fire: vec![now - 1], next });
    let all = every_second.missed(due, now, Misfire::All, MISSED_MAX);
    assert_eq!((all.fire.len(), all.next), (MISSED_MAX, next));
    assert_eq!(all.fire[MISSED_MAX - 1], due + (MISSED_MAX as i64 - 1) * US_PER_SECOND);
}
