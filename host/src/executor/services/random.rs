//! `random::*`: the seed of random numbers.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::random::{Seed, SeedBytes};

use super::count_call;
use crate::executor::sandbox::Sandbox;

/// Returns 256 random bits from the operating system.
pub(in crate::executor) fn seed(sandbox: &mut Sandbox, _: Seed) -> HostResult<SeedBytes> {
    count_call(sandbox)?;
    Ok(SeedBytes(sandbox.clock.random()))
}
