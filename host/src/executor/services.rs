//! The services that the host provides to scripts: one file per service.

pub(super) mod files;
pub(super) mod guest;
pub(super) mod http;
pub(super) mod kv;
pub(super) mod log;
pub(super) mod pubsub;
pub(super) mod queue;
pub(super) mod random;
pub(super) mod scripts;
pub(super) mod secrets;
pub(super) mod time;

use picloud_shared::calls::HostResult;

use super::sandbox::Sandbox;

/// Counts a call against `host_calls`. Every service except the log does this.
fn count_call(sandbox: &mut Sandbox) -> HostResult<()> {
    let allowed = sandbox.limits.host_calls_max;
    Sandbox::spend(&mut sandbox.reached, "host_calls", &mut sandbox.spent.host_calls, 1, allowed)
}
