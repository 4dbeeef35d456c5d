//! `pubsub::publish`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::pubsub::Publish;

use super::count_call;
use crate::events::sent::Sent;
use crate::executor::entries::{context, send};
use crate::executor::room::take_for_event;
use crate::executor::sandbox::Sandbox;

/// Publishes a message when the run commits.
pub(in crate::executor) async fn publish(
    sandbox: &mut Sandbox,
    publish: Publish,
) -> HostResult<()> {
    count_call(sandbox)?;
    let payload_bytes = publish.payload.len();
    let bytes_max = sandbox.limits.value_bytes_max;
    let sent = Sent::to_topic(publish.topic, publish.payload, bytes_max)?;
    context(sandbox)?;
    take_for_event(sandbox, payload_bytes).await?;
    send(sandbox, sent)
}
