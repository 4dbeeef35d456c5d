//! Rate limits and concurrency limits of routes and apps.
//!
//! ```text
//! rate         GCRA: a burst of `requests`, then one every `per_s / requests` s (ITU-T I.371)
//! concurrency  a permit for the whole run, even if its caller disconnects
//! ```
//!
//! Each node counts on its own: a cluster of three admits up to three times as much. Counters
//! belong to a route or an app. Only a change of the limit itself resets them.
//!
//! Invariant: the memory is bounded. Each limit counts at most [`ADDRESSES_MAX`] addresses. If more
//! send requests within their windows, all counts restart.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::definitions::{Match, Table};
use crate::error::{Error, Refusal};
use crate::serving::HeldBody;
use crate::store::{AppId, RateBy, RateLimit, RouteId};

/// The maximum number of addresses that each limit counts separately.
const ADDRESSES_MAX: usize = 65_536;
/// The `Retry-After` of a request that is refused because too many run.
const RUNS_RETRY_AFTER_S: u32 = 1;

/// The limits of apps that set none of their own.
#[derive(Clone, Debug, Default)]
pub struct IngressSettings {
    /// The rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The maximum number of runs at once.
    pub concurrency_max: Option<u32>,
}

/// The permits of a run, which are released when it is dropped.
pub(in crate::orchestrator) struct Pass {
    _permits: Vec<OwnedSemaphorePermit>,
    /// The memory of the body, held until the run ends even if its caller disconnects.
    _body: Option<HeldBody>,
}

impl Pass {
    /// Creates a pass for a run without limits.
    pub(in crate::orchestrator) fn free() -> Self {
        Self { _permits: Vec::new(), _body: None }
    }

    /// Counts the body's bytes until the run has ended.
    pub(in crate::orchestrator) fn holding(self, body: Option<&HeldBody>) -> Self {
        Self { _body: body.cloned(), ..self }
    }
}

/// The counters of all routes and apps.
pub(in crate::orchestrator) struct Throttle {
    clock: Steady,
    defaults: IngressSettings,
    counters: Mutex<HashMap<Counted, Arc<Counter>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    App(AppId),
    Route(RouteId),
}

impl Counted {
    fn name(&self) -> &'static str {
        match self {
            Self::App(_) => "app",
            Self::Route(_) => "route",
        }
    }
}

/// The limits of a route or an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Limits {
    rate: Option<RateLimit>,
    runs: Option<u32>,
}

struct Counter {
    limits: Limits,
    rate: Option<Rate>,
    runs: Option<Arc<Semaphore>>,
}

impl Throttle {
    pub(in crate::orchestrator) fn new(clock: Clock, defaults: IngressSettings) -> Self {
        let clock = Steady(Arc::new(Mutex::new(Elapsed { last_us: clock.now_us(), ns: 0 })), clock);
        Self { clock, defaults, counters: Mutex::default() }
    }

    /// Runs `admission` between the two counts of a request: by address before it, in total after
    /// it. Then takes the permits that a run needs.
    ///
    /// # Errors
    /// `RateLimited`, for a rate with the time to wait; the errors of `admission`.
    pub(super) async fn around<A, D>(
        &self,
        found: &Match,
        address: Option<IpAddr>,
        admission: impl Future<Output = Result<Result<A, D>, Error>>,
    ) -> Result<Result<(A, Pass), D>, Error> {
        self.count(found, RateBy::Address, address)?;
        let admitted = match admission.await? {
            Ok(admitted) => admitted,
            Err(denied) => return Ok(Err(denied)),
        };
        self.count(found, RateBy::All, None)?;
        Ok(Ok((admitted, self.enter(found)?)))
    }

    /// Counts a request: before authentication by address, after it in total.
    ///
    /// # Errors
    /// `RateLimited`, with the time to wait.
    fn count(&self, found: &Match, by: RateBy, address: Option<IpAddr>) -> Result<(), Error> {
        for (scope, limits) in self.limits_of(found) {
            let Some(limit) = limits.rate.clone().filter(|limit| limit.by == by) else { continue };
            let key = address.filter(|_| by == RateBy::Address).map(network);
            let counter = self.counter(&scope, limits);
            let Some(rate) = &counter.rate else { continue };
            if let Err(wait) = rate.check(key, &self.clock) {
                return Err(too_often(&scope, &limit, wait));
            }
        }
        Ok(())
    }

    /// Takes the permits that a run needs.
    ///
    /// # Errors
    /// `RateLimited` if too many requests run.
    fn enter(&self, found: &Match) -> Result<Pass, Error> {
        let mut permits = Vec::new();
        for (scope, limits) in self.limits_of(found) {
            let Some(most) = limits.runs else { continue };
            let counter = self.counter(&scope, limits);
            let Some(runs) = &counter.runs else { continue };
            let permit = Arc::clone(runs).try_acquire_owned();
            permits.push(permit.map_err(|_| too_many_at_once(&scope, most))?);
        }
        Ok(Pass { _permits: permits, _body: None })
    }

    /// Removes the counters of deleted routes and apps.
    pub(in crate::orchestrator) fn forget_all_but(&self, table: &Table) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|scope, _| match scope {
            Counted::App(id) => table.has_app(id),
            Counted::Route(id) => table.has_asking_route(id),
        });
    }

    /// Returns the limits, the route's first: a request that it refuses does not count for the app.
    fn limits_of(&self, found: &Match) -> impl Iterator<Item = (Counted, Limits)> {
        let route = found.route.as_ref().map(|route| {
            let (rate, runs) = (route.policy.rate_limit.clone(), route.policy.concurrency_max);
            (Counted::Route(route.id.clone()), Limits { rate, runs })
        });
        let own = found.app.as_deref();
        let rate = own.and_then(|app| app.rate_limit.clone());
        let runs = own.and_then(|app| app.concurrency_max);
        let app = Limits {
            rate: rate.or_else(|| self.defaults.rate_limit.clone()),
            runs: runs.or(self.defaults.concurrency_max),
        };
        let is_limited = |limits: &Limits| *limits != Limits::default();
        let app = is_limited(&app).then(|| (Counted::App(found.target.app_id.clone()), app));
        route.filter(|(_, limits)| is_limited(limits)).into_iter().chain(app)
    }

    fn counter(&self, scope: &Counted, limits: Limits) -> Arc<Counter> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        match counters.get(scope) {
            Some(counter) if counter.limits == limits => Arc::clone(counter),
            _ => {
                let counter = Arc::new(Counter {
                    rate: limits.rate.as_ref().map(|limit| Rate::new(limit, &self.clock)),
                    runs: limits.runs.map(|most| Arc::new(Semaphore::new(most as usize))),
                    limits,
                });
                counters.insert(scope.clone(), Arc::clone(&counter));
                counter
            }
        }
    }
}

fn too_often(scope: &Counted, limit: &RateLimit, wait: Duration) -> Error {
    let retry_after_s = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    let message = format!(
        "this {} allows {} requests in {} s; try again in {retry_after_s} s",
        scope.name(),
        limit.requests,
        limit.per_s
    );
    let refusal = Refusal::new("rate_limited", message)
        .with("scope", scope.name())
        .with("limit", limit.requests)
        .with("per_s", limit.per_s)
        .with("retry_after_s", retry_after_s);
    Error::RateLimited { refusal, retry_after_s }
}

fn too_many_at_once(scope: &Counted, most: u32) -> Error {
    let message = format!("this {} allows {most} requests at once", scope.name());
    let refusal = Refusal::new("too_many_concurrent_requests", message)
        .with("scope", scope.name())
        .with("limit", most);
    Error::RateLimited { refusal, retry_after_s: RUNS_RETRY_AFTER_S }
}

/// Returns the network that counts as one caller. A site has a /64 of IPv6 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

type Limiter =
    RateLimiter<Option<IpAddr>, HashMapStateStore<Option<IpAddr>>, Steady, NoOpMiddleware<Nanos>>;

struct Rate {
    quota: Quota,
    limiter: Mutex<Limiter>,
}

impl Rate {
    fn new(limit: &RateLimit, clock: &Steady) -> Self {
        let requests = NonZeroU32::new(limit.requests).unwrap_or(NonZeroU32::MIN);
        let period = Duration::from_secs(limit.per_s.max(1).into()) / requests.get();
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)));
        // `with_period` refuses only zero.
        let quota = quota.unwrap_or(Quota::per_second(requests)).allow_burst(requests);
        let limiter = Mutex::new(RateLimiter::hashmap_with_clock(quota, clock.clone()));
        Self { quota, limiter }
    }

    /// Counts a request. Returns the time to wait if it is refused.
    fn check(&self, key: Option<IpAddr>, clock: &Steady) -> Result<(), Duration> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.len() >= ADDRESSES_MAX {
            limiter.retain_recent();
            // Half, so that the scan of all addresses stays rare.
            if limiter.len() > ADDRESSES_MAX / 2 {
                *limiter = RateLimiter::hashmap_with_clock(self.quota, clock.clone());
            }
        }
        limiter.check_key(&key).map_err(|until| until.wait_time_from(clock.now()))
    }
}

/// A clock that never goes back, even if the system's clock is set back. Otherwise a limit would
/// refuse requests for an hour after the clock is set back by an hour.
#[derive(Clone)]
struct Steady(Arc<Mutex<Elapsed>>, Clock);

struct Elapsed {
    last_us: i64,
    ns: u64,
}

impl governor::clock::Clock for Steady {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let mut elapsed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now_us = self.1.now_us();
        let passed_us = u64::try_from(now_us.saturating_sub(elapsed.last_us)).unwrap_or(0);
        elapsed.last_us = now_us;
        elapsed.ns = elapsed.ns.saturating_add(passed_us.saturating_mul(1000));
        elapsed.ns.into()
    }
}

#[cfg(test)]
mod tests;
