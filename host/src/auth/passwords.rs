//! Passwords: argon2id, with the first parameters that OWASP's Password Storage Cheat Sheet
//! recommends (19 MiB, 2 passes, 1 lane).
//!
//! Invariant: the number of concurrent hashes, and of callers that wait for one, is bounded: only
//! here can an unknown caller make the host use this much memory.
//! Invariant: a sign-in with an unknown name takes as long as one with a known name.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::error::{Error, Refusal};

/// A shorter password can be guessed.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// A longer password is no safer, and takes time to hash.
pub const PASSWORD_CHARS_MAX: usize = 256;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The number of passwords of unknown callers that are hashed at once: 38 MiB at most.
const AT_ONCE: usize = 2;
/// The number of passwords of known devices that are hashed at once: 19 MiB more.
const KNOWN_AT_ONCE: usize = 1;
/// Number of callers that wait in each lane; further ones are told to retry.
const WAITING_MAX: usize = 64;
/// The seconds after which a refused caller should retry.
const RETRY_AFTER_S: u32 = 2;

/// The queue that a caller waits in.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    /// Any caller.
    Anybody,
    /// Devices that have signed in before. They do not wait for unknown callers.
    Known,
}

/// The bounded queue of one lane.
struct Line {
    running: Semaphore,
    admitted: Semaphore,
}

impl Line {
    fn new(at_once: usize) -> Self {
        let admitted = Semaphore::new(at_once + WAITING_MAX);
        Self { running: Semaphore::new(at_once), admitted }
    }
}

/// Hashes passwords and checks them.
pub(super) struct Passwords {
    anybody: Line,
    known: Line,
    clock: Clock,
    /// The hash of a random password, for users that do not exist.
    decoy: String,
}

impl Passwords {
    pub(super) fn new(clock: &Clock) -> Result<Self, Error> {
        let decoy = hash(&hex::encode(clock.random::<16>()), &clock.random::<16>())?;
        Ok(Self {
            anybody: Line::new(AT_ONCE),
            known: Line::new(KNOWN_AT_ONCE),
            clock: clock.clone(),
            decoy,
        })
    }

    /// Hashes a new password, as a PHC string.
    ///
    /// # Errors
    /// `Invalid` if it is too short or too long. `Unavailable` if too many callers wait.
    pub(super) async fn hash(&self, password: &str) -> Result<String, Error> {
        check(password)?;
        let (password, salt) = (password.to_owned(), self.clock.random::<16>());
        self.work(Lane::Anybody, move || hash(&password, &salt)).await?
    }

    /// Whether the password matches the hash. Without a hash it never does, but the check takes as
    /// long.
    ///
    /// # Errors
    /// `Unavailable` if too many callers wait.
    pub(super) async fn is_right(
        &self,
        password: &str,
        expected: Option<&str>,
        lane: Lane,
    ) -> Result<bool, Error> {
        let known = expected.is_some();
        let expected = expected.unwrap_or(&self.decoy).to_owned();
        // A text that is too long for a password is not hashed in full.
        let password: String = password.chars().take(PASSWORD_CHARS_MAX + 1).collect();
        let matches = self.work(lane, move || {
            let expected = PasswordHash::new(&expected).map_err(Error::internal)?;
            Ok::<_, Error>(argon2()?.verify_password(password.as_bytes(), &expected).is_ok())
        });
        Ok(matches.await?? && known)
    }

    async fn work<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let line = match lane {
            Lane::Anybody => &self.anybody,
            Lane::Known => &self.known,
        };
        let _admitted = line.admitted.try_acquire().map_err(|_| Error::Unavailable {
            refusal: Refusal::new("sign_in_busy", "too many sign-ins are running at this moment"),
            retry_after_s: RETRY_AFTER_S,
        })?;
        let _running = line.running.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

/// Refuses a text that cannot be a password.
pub(super) fn check(password: &str) -> Result<(), Error> {
    let chars = password.chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        return Ok(());
    }
    let reason = format!("must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters");
    Err(Error::Invalid(Refusal::field("password", &reason)))
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Error::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str, salt: &[u8]) -> Result<String, Error> {
    let hash = argon2()?.hash_password_with_salt(password.as_bytes(), salt);
    Ok(hash.map_err(Error::internal)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::new(&Clock::system()).unwrap();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(passwords.hash("correct horse").await.unwrap(), hash, "it has salt");
        assert!(passwords.is_right("correct horse", Some(&hash), Lane::Anybody).await.unwrap());
        for wrong in ["correct hors", "Correct horse", "", "correct horse "] {
            assert!(!passwords.is_right(wrong, Some(&hash), Lane::Known).await.unwrap(), "{wrong}");
        }
        assert!(!passwords.is_right("correct horse", None, Lane::Anybody).await.unwrap());
    }

    #[test]
    fn a_password_has_ten_to_256_characters() {
        let of = |chars: usize| "é".repeat(chars);
        assert!(check(&of(9)).is_err() && check(&of(257)).is_err());
        assert!(check(&of(10)).is_ok() && check(&of(256)).is_ok());
    }

    #[tokio::test]
    async fn whoever_comes_when_too_many_wait_is_told_to_come_back() {
        let passwords = Passwords::new(&Clock::system()).unwrap();
        let all =
            passwords.anybody.admitted.try_acquire_many((AT_ONCE + WAITING_MAX) as u32).unwrap();
        let refused = passwords.is_right("correct horse", None, Lane::Anybody).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        // A device that has signed in before does not wait for them.
        assert!(!passwords.is_right("correct horse", None, Lane::Known).await.unwrap());
        drop(all);
        assert!(!passwords.is_right("correct horse", None, Lane::Anybody).await.unwrap());
    }
}
