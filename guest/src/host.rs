//! Typed host calls.

use picloud_shared::calls::{Call, HostError, HostResult, LimitExceeded};
use picloud_shared::codec;
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

#[cfg(target_arch = "wasm32")]
use crate::abi::exchange;

/// Outside of wasm there is no host: every call fails, as a script would see it.
#[cfg(not(target_arch = "wasm32"))]
fn exchange(_: picloud_shared::calls::Op, _: &[u8]) -> Vec<u8> {
    codec::encode(&HostResult::<()>::Err(HostError::Failed {
        message: "there is no host outside of the sandbox".to_owned(),
    }))
}

/// Asks the host.
///
/// # Errors
/// A failed call becomes a runtime error that the script can catch. A reached
/// limit ends the script: Rhai never lets a termination be caught, and
/// [`crate::script`] finds the limit in its token.
pub(crate) fn call<C: Call>(
    context: &NativeCallContext<'_>,
    request: &C,
) -> Result<C::Reply, Box<EvalAltResult>> {
    call_at(context.call_position(), request)
}

/// [`call`] from a place that has no call context.
///
/// # Errors
/// As [`call`].
pub(crate) fn call_at<C: Call>(
    position: Position,
    request: &C,
) -> Result<C::Reply, Box<EvalAltResult>> {
    let reply = exchange(C::OP, &codec::encode(request));
    // No bytes stand for `Ok(())`.
    let decoded: Result<HostResult<C::Reply>, _> =
        codec::decode(if reply.is_empty() { &[0] } else { &reply });
    // Before the script goes on with what was decoded from it.
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

/// The token of a termination that was caused by a limit.
#[derive(Clone)]
pub(crate) struct ReachedLimit(pub(crate) LimitExceeded);
