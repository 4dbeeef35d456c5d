//! What the host does for a script: one file per service.

pub(super) mod guest;
pub(super) mod log;
pub(super) mod random;
pub(super) mod time;

use picloud_shared::calls::HostResult;

use super::sandbox::Sandbox;

/// Counts a call against `host_calls`; every service but the log does.
fn count_call(sandbox: &mut Sandbox) -> HostResult<()> {
    let allowed = sandbox.limits.host_calls_max;
    Sandbox::spend(&mut sandbox.reached, "host_calls", &mut sandbox.host_calls, 1, allowed)
}
