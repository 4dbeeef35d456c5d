//! `http::*`: requests to public addresses, and to private hosts that are open to the app.

use std::sync::atomic::Ordering;

use picloud_shared::calls::HostResult;
use picloud_shared::calls::http::{Answer, Send};

use super::count_call;
use crate::executor::entries::{context, failed};
use crate::executor::outbound::{Sender, Unanswered};
use crate::executor::sandbox::Sandbox;

/// The header by which a server recognises a repeated request
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Sends a request and waits for its response.
pub(in crate::executor) async fn send(sandbox: &mut Sandbox, mut send: Send) -> HostResult<Answer> {
    count_call(sandbox)?;
    let allowed = sandbox.limits.outbound_calls_max;
    Sandbox::spend(
        &mut sandbox.reached,
        "outbound_calls",
        &mut sandbox.spent.outbound_calls,
        1,
        allowed,
    )?;
    let context = context(sandbox)?;
    // Even if the call fails: the request may have arrived.
    sandbox.effects.called_outside = true;
    let number = context.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if send.idempotency_key {
        let key = format!("{}-{number}", context.first_execution_id);
        send.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
        send.headers.push((IDEMPOTENCY_KEY.to_owned(), key));
    }
    let sender = Sender {
        app_id: &context.app_id,
        open: &context.private_hosts,
        secrets: &context.revealed,
    };
    match context.platform.outbound.send(send, &sender).await {
        Ok(answer) => Ok(answer),
        Err(Unanswered::Refused(said)) => Err(sandbox.refuse(said)),
        Err(Unanswered::Failed(said)) => Err(failed(said)),
    }
}
