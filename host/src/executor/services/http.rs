//! `http::*`: requests to public addresses, and to what is open to the app.

use std::sync::atomic::Ordering;

use picloud_shared::calls::HostResult;
use picloud_shared::calls::http::{Answer, Send};

use super::count_call;
use crate::executor::entries::{failed, scope};
use crate::executor::outbound::{Sender, Unanswered};
use crate::executor::sandbox::Sandbox;

/// By what whoever is asked recognises a request that comes again
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Sends a request and waits for its answer.
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
    let scope = scope(sandbox)?;
    // Also if it fails: what has arrived over there nobody knows.
    sandbox.effects.called_outside = true;
    let number = scope.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if send.idempotency_key {
        let key = format!("{}-{number}", scope.first_execution_id);
        send.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
        send.headers.push((IDEMPOTENCY_KEY.to_owned(), key));
    }
    let sender =
        Sender { app_id: &scope.app_id, open: &scope.private_hosts, secrets: &scope.revealed };
    match scope.platform.outbound.send(send, &sender).await {
        Ok(answer) => Ok(answer),
        Err(Unanswered::Refused(said)) => Err(sandbox.refuse(said)),
        Err(Unanswered::Failed(said)) => Err(failed(said)),
    }
}
