//! `pubsub::publish`.

use picloud_shared::calls::HostResult;
use picloud_shared::calls::pubsub::Publish;

use super::count_call;
use crate::events::effects::Sent;
use crate::executor::entries::{NAME_BYTES_MAX, check_name, check_value, scope, send};
use crate::executor::room::take_for_event;
use crate::executor::sandbox::Sandbox;

/// Publishes a message when the run commits.
pub(in crate::executor) async fn publish(
    sandbox: &mut Sandbox,
    publish: Publish,
) -> HostResult<()> {
    count_call(sandbox)?;
    check_name("a topic", &publish.topic, NAME_BYTES_MAX)?;
    check_value(sandbox, "the payload", &publish.payload)?;
    scope(sandbox)?;
    take_for_event(sandbox, publish.payload.len()).await?;
    send(sandbox, Sent::Topic { topic: publish.topic, payload: publish.payload })
}
