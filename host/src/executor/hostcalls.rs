//! The guest's one import, and the match over everything that it can ask.
//!
//! ```text
//! request ─▶ checked ─▶ paid for ─▶ served ─▶ reply paid for ─▶ in the guest's memory
//! ```
//!
//! Invariant: nothing that the guest says is believed. Every number, range and
//! encoding is checked, and a violation ends that execution, never the host.

use picloud_shared::calls::{self, Call, HostResult, LimitExceeded, Op};
use picloud_shared::{IMPORT_MODULE, IMPORT_NAME, Slice, codec};
use wasmtime::{Caller, Linker, Result, Trap, bail};

use super::charges::charge;
use super::memory::{Guest, bytes_of};
use super::sandbox::Sandbox;
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
    let range = request;
    let Some(bytes) = bytes_of(guest.memory.data(&*caller), range) else {
        bail!("the guest handed over a range outside of its memory");
    };
    let (used, allowed) = (bytes.len() as u64, caller.data().limits.host_call_bytes_max);
    if used > allowed {
        let limit = "host_call_bytes".to_owned();
        caller.data_mut().reached = Some(LimitExceeded { limit, used, allowed });
        bail!("host call too large");
    }
    pay(caller, charge(op).before(range.len as usize))?;
    let answer = serve(caller, &guest, op, range).await?;
    let (memory, sandbox) = guest.memory.data_and_store_mut(&mut *caller);
    if sandbox.reached.is_some() {
        sandbox.reached_at = sandbox.instruction(memory);
    }
    let owed = std::mem::take(&mut caller.data_mut().owed_fuel);
    pay(caller, charge(op).after(answer.len()).saturating_add(owed))?;
    hand_over(caller, &guest, &answer).await
}

/// Takes fuel from the run.
///
/// # Errors
/// The trap of a run that has no more.
fn pay(caller: &mut Caller<'_, Sandbox>, fuel: u64) -> Result<()> {
    match caller.get_fuel()?.checked_sub(fuel) {
        Some(left) => caller.set_fuel(left),
        None => {
            caller.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// Decodes, serves and encodes one call.
async fn serve(
    caller: &mut Caller<'_, Sandbox>,
    guest: &Guest,
    op: Op,
    range: Slice,
) -> Result<Vec<u8>> {
    /// One that is served at once, and one that may wait.
    macro_rules! at_once {
        ($call:ty, $service:path) => {{
            let call = take::<$call>(caller, guest, range)?;
            reply::<$call>(&$service(caller.data_mut(), call))
        }};
    }
    macro_rules! waiting {
        ($call:ty, $service:path) => {{
            let call = take::<$call>(caller, guest, range)?;
            caller.data_mut().waits_for_store = op != Op::HttpSend;
            let answer = $service(caller.data_mut(), call).await;
            caller.data_mut().waits_for_store = false;
            reply::<$call>(&answer)
        }};
    }
    Ok(match op {
        Op::LogWrite => at_once!(calls::log::Write, services::log::write),
        Op::TimeNow => at_once!(calls::time::Now, services::time::now),
        Op::RandomSeed => at_once!(calls::random::Seed, services::random::seed),
        Op::GuestPanicked => at_once!(calls::guest::Panicked, services::guest::panicked),
        Op::KvGet => waiting!(calls::kv::Get, services::kv::get),
        Op::KvSet => waiting!(calls::kv::Set, services::kv::set),
        Op::KvDelete => waiting!(calls::kv::Delete, services::kv::delete),
        Op::KvList => waiting!(calls::kv::List, services::kv::entries),
        Op::KvIncrement => waiting!(calls::kv::Increment, services::kv::increment),
        Op::QueueSend => waiting!(calls::queue::Send, services::queue::send),
        Op::PubsubPublish => waiting!(calls::pubsub::Publish, services::pubsub::publish),
        Op::ScriptsCall => {
            let call = take::<calls::scripts::Call>(caller, guest, range)?;
            let mut fuel_left = caller.get_fuel()?;
            let answer = services::scripts::call(caller.data_mut(), call, &mut fuel_left).await;
            caller.set_fuel(fuel_left)?;
            if fuel_left == 0 {
                bail!(Trap::OutOfFuel);
            }
            reply::<calls::scripts::Call>(&answer)
        }
        Op::ScriptsEnqueue => waiting!(calls::scripts::Enqueue, services::scripts::enqueue),
        Op::HttpSend => waiting!(calls::http::Send, services::http::send),
        Op::FilesPut => waiting!(calls::files::Put, services::files::put),
        Op::FilesGet => waiting!(calls::files::Get, services::files::get),
        Op::FilesStat => waiting!(calls::files::Stat, services::files::stat),
        Op::FilesDelete => waiting!(calls::files::Delete, services::files::delete),
        Op::FilesList => waiting!(calls::files::List, services::files::entries),
        Op::SecretsGet => waiting!(calls::secrets::Get, services::secrets::get),
    })
}

fn take<C: Call>(caller: &Caller<'_, Sandbox>, guest: &Guest, range: Slice) -> Result<C> {
    let Some(Ok(call)) = bytes_of(guest.memory.data(caller), range).map(codec::decode::<C>) else {
        bail!("the guest sent a malformed request for {:?}", C::OP);
    };
    Ok(call)
}

/// No bytes stand for `Ok(())`, so that the commonest call, a log line, needs no
/// buffer in the guest.
fn reply<C: Call>(answer: &HostResult<C::Reply>) -> Vec<u8> {
    let encoded = codec::encode(answer);
    if encoded == [0] { Vec::new() } else { encoded }
}

async fn hand_over(caller: &mut Caller<'_, Sandbox>, guest: &Guest, answer: &[u8]) -> Result<u64> {
    if answer.is_empty() {
        return Ok(Slice::EMPTY.pack());
    }
    let Ok(len) = u32::try_from(answer.len()) else {
        bail!("an answer of {} bytes has no place in a guest", answer.len());
    };
    let ptr = guest.alloc.call(&mut *caller, len).await?;
    guest.memory.write(&mut *caller, ptr as usize, answer)?;
    Ok(Slice { ptr, len }.pack())
}
