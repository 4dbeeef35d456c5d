//! `random::*`: the seed.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::random::{Seed, SeedBytes};

use super::count_call;
use crate::executor::sandbox::Sandbox;

/// 256 bits of the system's randomness.
pub(in crate::executor) fn seed(sandbox: &mut Sandbox, _: Seed) -> HostResult<SeedBytes> {
    count_call(sandbox)?;
    Ok(SeedBytes(sandbox.clock.random()))
}
