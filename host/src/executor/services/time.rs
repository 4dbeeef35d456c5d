//! `time::now`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::time::{Instant, Now};

use super::count_call;
use crate::executor::sandbox::Sandbox;

/// Returns the time of the host's clock.
pub(in crate::executor) fn now(sandbox: &mut Sandbox, _: Now) -> HostResult<Instant> {
    count_call(sandbox)?;
    Ok(Instant { unix_us: sandbox.clock.now_us() })
}
