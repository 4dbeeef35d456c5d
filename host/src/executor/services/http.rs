//! `http::*`: requests to public addresses.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::http::{Answer, Send};

use super::count_call;
use crate::executor::entries::{failed, scope};
use crate::executor::sandbox::Sandbox;

/// Sends a request and waits for its answer.
pub(in crate::executor) async fn send(sandbox: &mut Sandbox, send: Send) -> HostResult<Answer> {
    count_call(sandbox)?;
    let allowed = sandbox.limits.outbound_calls_max;
    Sandbox::spend(
        &mut sandbox.reached,
        "outbound_calls",
        &mut sandbox.outbound_calls,
        1,
        allowed,
    )?;
    let scope = scope(sandbox)?;
    // Also if it fails: what has arrived over there nobody knows.
    sandbox.effects.called_outside = true;
    scope.platform.outbound.send(send).await.map_err(failed)
}
