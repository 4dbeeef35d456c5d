//! What the host does for a script: one file per service.

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

use super::entries::{DELAY_MS_MAX, failed};
use super::sandbox::Sandbox;

/// Counts a call against `host_calls`; every service but the log does.
fn count_call(sandbox: &mut Sandbox) -> HostResult<()> {
    let allowed = sandbox.limits.host_calls_max;
    Sandbox::spend(&mut sandbox.reached, "host_calls", &mut sandbox.spent.host_calls, 1, allowed)
}

fn check_delay(delay_ms: i64) -> HostResult<()> {
    if (0..=DELAY_MS_MAX).contains(&delay_ms) {
        Ok(())
    } else {
        Err(failed(format!("a delay is 0 to {DELAY_MS_MAX} ms, not {delay_ms}")))
    }
}
