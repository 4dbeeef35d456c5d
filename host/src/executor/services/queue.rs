//! `queue::send`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::queue::Send;

use super::count_call;
use crate::events::sent::{Message, Sent};
use crate::executor::entries::{self, context, unavailable};
use crate::executor::room::take_for_event;
use crate::executor::sandbox::Sandbox;
use crate::store::EventId;

/// Puts a message into a queue when the run commits. The commit decides whether another message
/// with its dedupe key is pending. A message that is pending now may start before the commit and
/// miss this run's changes.
pub(in crate::executor) async fn send(sandbox: &mut Sandbox, send: Send) -> HostResult<String> {
    count_call(sandbox)?;
    let (queue, key) = (send.queue.clone(), send.dedupe.clone());
    let payload_bytes = send.payload.len();
    let id = EventId::from(sandbox.clock.new_id());
    let message = Message {
        id: id.clone(),
        queue: send.queue,
        payload: send.payload,
        delay_ms: send.delay_ms,
        dedupe: send.dedupe,
    };
    let sent = Sent::to_queue(message, sandbox.limits.value_bytes_max)?;
    let context = context(sandbox)?;
    let mut waiting = None;
    if let Some(key) = &key {
        if let Some(id) = sandbox.effects.own_message(&queue, key) {
            return Ok(id.to_string());
        }
        let found = context.platform.store.find_waiting_message(&context.app_id, &queue, key).await;
        waiting = found.map_err(|error| unavailable(sandbox, &error))?;
    }
    take_for_event(sandbox, payload_bytes).await?;
    entries::send(sandbox, sent)?;
    Ok(waiting.unwrap_or(id).into())
}
