//! Typed host calls.

use picloud_shared::calls::{Call, HostError, HostResult};
use picloud_shared::codec;
use picloud_shared::limit::LimitExceeded;
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

use crate::import::exchange;

/// Calls the host.
///
/// # Errors
/// A failed call becomes a runtime error, which the script can catch. A reached limit ends the
/// script: Rhai never lets a script catch a termination, and [`crate::script`] reads the limit from
/// its token.
pub(crate) fn call<C: Call>(
    context: &NativeCallContext<'_>,
    request: &C,
) -> Result<C::Reply, Box<EvalAltResult>> {
    call_at(context.call_position(), request)
}

/// Calls the host from code without a call context.
///
/// # Errors
/// Same as [`call`].
pub(crate) fn call_at<C: Call>(
    position: Position,
    request: &C,
) -> Result<C::Reply, Box<EvalAltResult>> {
    let reply = exchange(C::OP, &codec::encode(request));
    // An empty reply means `Ok(())`.
    let decoded: Result<HostResult<C::Reply>, _> =
        codec::decode(if reply.is_empty() { &[0] } else { &reply });
    // Freed before the script continues with the decoded value.
    drop(reply);
    match decoded {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(HostError::Failed { message })) => {
            Err(EvalAltResult::ErrorRuntime(message.into(), position).into())
        }
        Ok(Err(HostError::Limit(limit))) => {
            Err(EvalAltResult::ErrorTerminated(Dynamic::from(ReachedLimit(limit)), position).into())
        }
        Err(error) => Err(EvalAltResult::ErrorRuntime(error.to_string().into(), position).into()),
    }
}

/// The token of a termination caused by a limit.
#[derive(Clone)]
pub(crate) struct ReachedLimit(pub(crate) LimitExceeded);
