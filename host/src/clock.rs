//! Time and randomness as parameters: the only file that reads either.
//!
//! Invariant: nothing else in the host reads the system's time of day or random bytes
//! (`clippy.toml` enforces this), so that a test can control both.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;
use zeroize::Zeroize as _;

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// The source of the host's time and randomness. Cheap to clone.
#[derive(Clone)]
pub struct Clock {
    now_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    fill: Arc<Fill>,
    /// The last reading of the database's clock. Only the system's clock follows it.
    followed: Option<Arc<RwLock<Option<Reading>>>>,
}

/// The instant of a clock reading, and the time read.
type Reading = (Instant, i64);

impl Clock {
    /// Returns the system's clock and random generator.
    ///
    /// # Panics
    /// If the operating system provides no random bytes: no key and no id could be trusted then.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the time")]
    pub fn system() -> Self {
        let system = Self::new(
            || match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
            },
            fill_random,
        );
        Self { followed: Some(Arc::default()), ..system }
    }

    /// Returns a clock with the given functions.
    pub fn new(
        now_us: impl Fn() -> i64 + Send + Sync + 'static,
        fill: impl Fn(&mut [u8]) + Send + Sync + 'static,
    ) -> Self {
        Self { now_us: Arc::new(now_us), fill: Arc::new(fill), followed: None }
    }

    /// Follows the database's clock, so that all nodes use the same time whatever their own clocks
    /// say. At `at` the database's clock showed `us`, in microseconds since 1970. Between two
    /// readings a monotonic clock measures the time. A clock with given functions follows nothing.
    pub fn follow(&self, at: Instant, us: i64) {
        if let Some(followed) = &self.followed {
            *followed.write().unwrap_or_else(PoisonError::into_inner) = Some((at, us));
        }
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        let reading = self
            .followed
            .as_ref()
            .and_then(|followed| *followed.read().unwrap_or_else(PoisonError::into_inner));
        match reading {
            Some((at, us)) => {
                us.saturating_add(i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX))
            }
            None => (self.now_us)(),
        }
    }

    /// Returns `N` random bytes, suitable for keys.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.fill)(&mut bytes);
        bytes
    }

    /// Returns a new id: a UUID of version 7, so that ids sort by their time of creation (RFC 9562,
    /// section 5.7).
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        let unix_ms = u64::try_from(self.now_us().div_euclid(1000)).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(unix_ms, &self.random()).into_uuid()
    }
}

/// The number of random bytes that a thread takes from the system at once. Every run has an id, and
/// a system call for each would be a measurable part of a short run.
const DRAWN_BYTES: usize = 512;

/// Random bytes of the system that no caller has yet. Each is given out once, and then erased.
struct Drawn {
    bytes: [u8; DRAWN_BYTES],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> =
        const { RefCell::new(Drawn { bytes: [0; DRAWN_BYTES], used: DRAWN_BYTES }) };
}

fn fill_random(bytes: &mut [u8]) {
    if bytes.len() > DRAWN_BYTES {
        return draw(bytes);
    }
    DRAWN.with_borrow_mut(|drawn| {
        if DRAWN_BYTES - drawn.used < bytes.len() {
            draw(&mut drawn.bytes);
            drawn.used = 0;
        }
        let taken = &mut drawn.bytes[drawn.used..][..bytes.len()];
        bytes.copy_from_slice(taken);
        taken.zeroize();
        drawn.used += bytes.len();
    });
}

#[expect(clippy::expect_used, reason = "a host without randomness must not go on")]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads them")]
fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random bytes");
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_clock_follows_another_one() {
        let clock = Clock::system();
        let own = clock.now_us();
        let hour = 3_600_000_000;
        clock.follow(Instant::now(), own + hour);
        let ahead = clock.now_us() - own;
        assert!((hour..hour + 60_000_000).contains(&ahead), "{ahead}");
        let fixed = Clock::new(|| 7, |bytes| bytes.fill(7));
        fixed.follow(Instant::now(), own);
        assert_eq!(fixed.now_us(), 7);
    }

    #[test]
    fn no_random_byte_is_given_out_twice() {
        let clock = Clock::system();
        let mut drawn = std::collections::HashSet::new();
        for _ in 0..DRAWN_BYTES {
            assert!(drawn.insert(clock.random::<24>()));
        }
        let large = clock.random::<{ 2 * DRAWN_BYTES }>();
        let mut pieces = large.chunks(24).collect::<std::collections::HashSet<_>>();
        assert_eq!(pieces.len(), large.len().div_ceil(24));
        pieces.clear();
        let own: [u8; 24] = std::thread::spawn(move || clock.random()).join().unwrap();
        assert!(drawn.insert(own), "each thread draws its own");
    }

    #[test]
    fn ids_sort_by_the_time_of_their_creation() {
        let at = |now_us| Clock::new(move || now_us, |bytes| bytes.fill(7)).new_id();
        assert!(at(1_000_000) < at(2_000_000));
    }
}
