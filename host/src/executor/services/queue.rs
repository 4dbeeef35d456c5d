//! `queue::send`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::queue::Send;

use super::{check_delay, count_call};
use crate::events::effects::Sent;
use crate::executor::entries::{self, NAME_BYTES_MAX, check_name, check_value, scope, unavailable};
use crate::executor::room::take_for_event;
use crate::executor::sandbox::Sandbox;

/// Puts a message into a queue when the run commits. Whether another one with its dedupe key
/// waits is decided then: what waits now may have begun by then, and not see what this run
/// changes.
pub(in crate::executor) async fn send(sandbox: &mut Sandbox, send: Send) -> HostResult<String> {
    count_call(sandbox)?;
    check_name("a queue", &send.queue, NAME_BYTES_MAX)?;
    check_value(sandbox, "the payload", &send.payload)?;
    check_delay(send.delay_ms)?;
    let scope = scope(sandbox)?;
    let mut waiting = None;
    if let Some(key) = &send.dedupe {
        check_name("a dedupe key", key, NAME_BYTES_MAX)?;
        if let Some(id) = sandbox.effects.own_message(&send.queue, key) {
            return Ok(id.to_string());
        }
        let found =
            scope.platform.store.find_waiting_message(&scope.app_id, &send.queue, key).await;
        waiting = found.map_err(|error| unavailable(sandbox, &error))?;
    }
    let payload_bytes = send.payload.len();
    let id = crate::store::EventId::from(sandbox.clock.new_id());
    let sent = Sent::Queue {
        id: id.clone(),
        queue: send.queue,
        payload: send.payload,
        delay_ms: send.delay_ms,
        dedupe: send.dedupe,
    };
    take_for_event(sandbox, payload_bytes).await?;
    entries::send(sandbox, sent)?;
    Ok(waiting.unwrap_or(id).into())
}
