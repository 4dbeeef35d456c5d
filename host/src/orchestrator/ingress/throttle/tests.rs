use std::sync::atomic::{AtomicI64, Ordering};

use uuid::Uuid;

use super::*;
use crate::definitions::{RouteRules, Target};
use crate::limits::Budget;
use crate::store::{Definitions, Delivery, IngressPolicy, RoutePolicy};

const SECOND_US: i64 = 1_000_000;

fn throttle(defaults: IngressSettings) -> (Throttle, Arc<AtomicI64>) {
    let now_us = Arc::new(AtomicI64::new(1_700_000_000 * SECOND_US));
    let shown = Arc::clone(&now_us);
    let clock = Clock::new(move || shown.load(Ordering::Relaxed), |bytes| bytes.fill(7));
    (Throttle::new(clock, defaults), now_us)
}

fn found(route: RoutePolicy, app: IngressPolicy) -> Match {
    let target = Target {
        app_id: Uuid::from_u128(1).into(),
        app: "shop".to_owned(),
        script_id: Uuid::from_u128(2).into(),
        script: "hello".to_owned(),
        version: 1,
        source_sha256: String::new(),
        budget: Budget::default(),
        private_hosts: Arc::default(),
    };
    Match {
        target: Arc::new(target),
        params: Vec::new(),
        delivery: Delivery::Sync,
        route_id: None,
        route: Some(Arc::new(RouteRules { id: Uuid::from_u128(3).into(), policy: route })),
        app: Some(Arc::new(app)),
    }
}

fn rate(requests: u32, per_s: u32, by: RateBy) -> Option<RateLimit> {
    Some(RateLimit { requests, per_s, by })
}

fn of_route(rate_limit: Option<RateLimit>) -> Match {
    let policy = RoutePolicy { rate_limit, ..RoutePolicy::default() };
    found(policy, IngressPolicy::default())
}

/// Returns `Ok`, or the scope that refused and the time to wait.
fn told(answer: Result<(), Error>) -> Result<(), (String, u32)> {
    answer.map_err(|error| match error {
        Error::RateLimited { refusal, retry_after_s } => {
            (refusal.details["scope"].as_str().unwrap().to_owned(), retry_after_s)
        }
        other => panic!("{other}"),
    })
}

#[test]
fn so_many_are_let_through_at_once_and_then_one_after_another() {
    let (throttle, now_us) = throttle(IngressSettings::default());
    let found = of_route(rate(3, 60, RateBy::All));
    let count = || told(throttle.count(&found, RateBy::All, None));
    for _ in 0..3 {
        assert_eq!(count(), Ok(()));
    }
    assert_eq!(count(), Err(("route".to_owned(), 20)));
    now_us.fetch_add(19 * SECOND_US, Ordering::Relaxed);
    assert_eq!(count(), Err(("route".to_owned(), 1)));
    now_us.fetch_add(SECOND_US, Ordering::Relaxed);
    assert_eq!(count(), Ok(()));
    assert_eq!(count(), Err(("route".to_owned(), 20)));
    now_us.fetch_add(3600 * SECOND_US, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(count(), Ok(()));
    }
    assert!(count().is_err());
}

#[test]
fn a_clock_that_is_set_back_refuses_nobody_for_longer() {
    let (throttle, now_us) = throttle(IngressSettings::default());
    let found = of_route(rate(1, 10, RateBy::All));
    let count = || told(throttle.count(&found, RateBy::All, None));
    assert_eq!(count(), Ok(()));
    now_us.fetch_sub(86_400 * SECOND_US, Ordering::Relaxed);
    assert_eq!(count(), Err(("route".to_owned(), 10)));
    now_us.fetch_add(10 * SECOND_US, Ordering::Relaxed);
    assert_eq!(count(), Ok(()));
}

#[test]
fn callers_are_counted_apart_and_a_network_of_ipv6_together() {
    let (throttle, _) = throttle(IngressSettings::default());
    let found = of_route(rate(1, 60, RateBy::Address));
    let count = |address: &str| {
        told(throttle.count(&found, RateBy::Address, Some(address.parse().unwrap()))).is_ok()
    };
    assert!(count("192.0.2.1") && count("192.0.2.2"));
    assert!(!count("192.0.2.1") && !count("::ffff:192.0.2.2"));
    assert!(count("2001:db8:1:2::1") && count("2001:db8:1:3::1"));
    assert!(!count("2001:db8:1:2:ffff::9"));
    // Requests that were admitted are not counted by such a limit.
    assert!(throttle.count(&found, RateBy::All, None).is_ok());
}

#[test]
fn what_is_kept_of_callers_is_bounded() {
    let (throttle, _) = throttle(IngressSettings::default());
    let found = of_route(rate(1, 60, RateBy::Address));
    for number in 0..=ADDRESSES_MAX as u32 {
        let address = IpAddr::V4(number.into());
        assert!(throttle.count(&found, RateBy::Address, Some(address)).is_ok());
    }
    let counters = throttle.counters.lock().unwrap();
    let rate = counters.values().next().unwrap().rate.as_ref().unwrap();
    assert_eq!(rate.limiter.lock().unwrap().len(), 1);
}

#[test]
fn an_app_without_limits_has_those_of_the_settings() {
    let settings =
        IngressSettings { rate_limit: rate(1, 5, RateBy::All), concurrency_max: Some(1) };
    let (throttle, _) = throttle(settings);
    let own = |rate_limit| {
        let app = IngressPolicy { rate_limit, ..IngressPolicy::default() };
        found(RoutePolicy::default(), app)
    };
    let count = |found: &Match| told(throttle.count(found, RateBy::All, None));
    assert_eq!(count(&own(None)), Ok(()));
    assert_eq!(count(&own(None)), Err(("app".to_owned(), 5)));
    // Another limit starts a new count.
    let wider = own(rate(2, 5, RateBy::All));
    assert_eq!((count(&wider), count(&wider)), (Ok(()), Ok(())));
    assert_eq!(count(&wider), Err(("app".to_owned(), 3)));
    let pass = throttle.enter(&wider).unwrap();
    assert_eq!(told(throttle.enter(&wider).map(drop)), Err(("app".to_owned(), 1)));
    drop(pass);
    assert!(throttle.enter(&wider).is_ok());
}

#[test]
fn a_permit_is_held_until_the_pass_is_dropped() {
    let (throttle, _) = throttle(IngressSettings::default());
    let policy = RoutePolicy { concurrency_max: Some(2), ..RoutePolicy::default() };
    let app = IngressPolicy { concurrency_max: Some(3), ..IngressPolicy::default() };
    let here = found(policy, app.clone());
    let elsewhere = found(RoutePolicy::default(), app);
    let (first, second) = (throttle.enter(&here).unwrap(), throttle.enter(&here).unwrap());
    assert_eq!(told(throttle.enter(&here).map(drop)), Err(("route".to_owned(), 1)));
    let third = throttle.enter(&elsewhere).unwrap();
    assert_eq!(told(throttle.enter(&elsewhere).map(drop)), Err(("app".to_owned(), 1)));
    drop(first);
    // A request that the app refuses takes no permit of the route.
    let fourth = throttle.enter(&here).unwrap();
    assert!(throttle.enter(&here).is_err());
    drop((second, third, fourth));
    assert!(throttle.enter(&here).is_ok());
}

#[test]
fn nothing_is_kept_of_what_asks_for_nothing_or_is_gone() {
    let (throttle, _) = throttle(IngressSettings::default());
    let kept = || throttle.counters.lock().unwrap().len();
    let nothing = of_route(None);
    throttle.count(&nothing, RateBy::All, None).unwrap();
    throttle.enter(&nothing).unwrap();
    assert_eq!(kept(), 0);
    throttle.count(&of_route(rate(1, 1, RateBy::All)), RateBy::All, None).unwrap();
    assert_eq!(kept(), 1);
    throttle.forget_all_but(&Table::of(Definitions::default()));
    assert_eq!(kept(), 0);
}
