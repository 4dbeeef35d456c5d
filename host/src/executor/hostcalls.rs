//! The guest's one import, and the match over everything that it can ask.
//!
//! Invariant: nothing that the guest says is believed. Every number, range and
//! encoding is checked, and a violation ends that execution, never the host.

use picloud_shared::calls::{Call, HostResult, LimitExceeded, Op};
use picloud_shared::{IMPORT_MODULE, IMPORT_NAME, Slice, codec};
use wasmtime::{Caller, Linker, Result, bail};

use super::sandbox::{Guest, Sandbox, Trace};
use super::services;

/// Gives guests their import.
pub(super) fn link(linker: &mut Linker<Sandbox>) -> Result<()> {
    linker.func_wrap_async(
        IMPORT_MODULE,
        IMPORT_NAME,
        |mut caller: Caller<'_, Sandbox>, (op, ptr, len): (u32, u32, u32)| {
            Box::new(async move { call(&mut caller, op, Slice { ptr, len }).await })
        },
    )?;
    Ok(())
}

/// Serves one call. An `Err` is a trap: the guest broke the contract, or went on
/// after it was told that a limit ended the run.
async fn call(caller: &mut Caller<'_, Sandbox>, op: u32, request: Slice) -> Result<u64> {
    let Some(guest) = caller.data().guest.clone() else {
        bail!("a host call before the instance was ready");
    };
    let Some(op) = Op::from_number(op) else {
        bail!("the guest made the unknown host call {op}");
    };
    if caller.data().reached.is_some() {
        bail!("the guest went on after a limit had been reached");
    }
    let answer = {
        let (memory, sandbox) = guest.memory.data_and_store_mut(&mut *caller);
        let Some(request) = bytes_of(memory, request) else {
            bail!("the guest handed over a range outside of its memory");
        };
        let most = sandbox.limits.host_call_bytes_max;
        if request.len() as u64 > most {
            let (limit, used) = ("host_call_bytes".to_owned(), request.len() as u64);
            sandbox.reached = Some(LimitExceeded { limit, used, allowed: most });
            bail!("host call too large");
        }
        match &mut sandbox.trace {
            // Log lines are not repeated; everything else is what it was.
            Trace::Replaying(_) if is_unrecorded(op) => Vec::new(),
            Trace::Replaying(answers) => match answers.next() {
                Some(answer) => answer,
                None => bail!("the repeated run asks for more than the first"),
            },
            Trace::Recording(..) | Trace::Overflown => {
                let answer = serve(sandbox, op, request)?;
                if !is_unrecorded(op) {
                    sandbox.trace.record(&answer);
                }
                answer
            }
        }
    };
    hand_over(caller, &guest, &answer).await
}

/// The calls whose answer is always the same.
fn is_unrecorded(op: Op) -> bool {
    matches!(op, Op::LogWrite | Op::GuestPanicked)
}

fn serve(sandbox: &mut Sandbox, op: Op, request: &[u8]) -> Result<Vec<u8>> {
    match op {
        Op::LogWrite => answer(request, |line| services::log::write(sandbox, line)),
        Op::TimeNow => answer(request, |now| services::time::now(sandbox, now)),
        Op::RandomSeed => answer(request, |seed| services::random::seed(sandbox, seed)),
        Op::GuestPanicked => answer(request, |panic| services::guest::panicked(sandbox, panic)),
    }
}

/// Decodes, serves and encodes one call. No bytes stand for `Ok(())`, so that the
/// commonest call, a log line, needs no buffer in the guest.
fn answer<C: Call>(
    request: &[u8],
    serve: impl FnOnce(C) -> HostResult<C::Reply>,
) -> Result<Vec<u8>> {
    let Ok(request) = codec::decode::<C>(request) else {
        bail!("the guest sent a malformed request for {:?}", C::OP);
    };
    let encoded = codec::encode(&serve(request));
    Ok(if encoded == [0] { Vec::new() } else { encoded })
}

async fn hand_over(caller: &mut Caller<'_, Sandbox>, guest: &Guest, answer: &[u8]) -> Result<u64> {
    if answer.is_empty() {
        return Ok(Slice::EMPTY.pack());
    }
    let Ok(len) = u32::try_from(answer.len()) else {
        bail!("an answer of {} bytes has no place in a guest", answer.len());
    };
    let ptr = guest.alloc.call_async(&mut *caller, len).await?;
    guest.memory.write(&mut *caller, ptr as usize, answer)?;
    Ok(Slice { ptr, len }.pack())
}

/// The bytes of a range, if all of it lies in memory.
pub(super) fn bytes_of(memory: &[u8], range: Slice) -> Option<&[u8]> {
    let start = range.ptr as usize;
    memory.get(start..start.checked_add(range.len as usize)?)
}
