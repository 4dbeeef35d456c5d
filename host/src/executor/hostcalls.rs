//! The guest's only import: checks and charges each host call. [`super::host`] serves them.
//!
//! ```text
//! request ─▶ checked ─▶ charged ─▶ served ─▶ reply charged ─▶ copied into the guest's memory
//! ```
//!
//! Invariant: the host trusts nothing from the guest. It checks every number, range and encoding. A
//! violation ends that execution, never the host.

use picloud_shared::calls::Op;
use picloud_shared::limit::LimitExceeded;
use picloud_shared::{IMPORT_MODULE, IMPORT_NAME, Slice};
use wasmtime::{Caller, Linker, Result, Trap, bail};

use super::charges::charge;
use super::host::Host;
use super::memory::{Guest, bytes_of};
use super::sandbox::Sandbox;
use super::threads::{SHORT_BYTES_MAX, end_slice};

/// Links the guest's import.
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

/// Serves one call. An `Err` is a trap: the guest broke the contract, or continued after a limit
/// had ended the run.
async fn call(caller: &mut Caller<'_, Sandbox>, op: u32, request: Slice) -> Result<u64> {
    let Some(guest) = caller.data().guest.clone() else {
        bail!("a host call before the instance was ready");
    };
    let Some(op) = Op::from_number(op) else {
        bail!("the guest made the unknown host call {op}");
    };
    if caller.data().reached.is_some() {
        bail!("the guest continued after a limit had been reached");
    }
    let range = request;
    let Some(bytes) = bytes_of(guest.memory.data(&*caller), range) else {
        bail!("the guest passed a range outside its memory");
    };
    let (used, allowed) = (bytes.len() as u64, caller.data().limits.host_call_bytes_max);
    if used > allowed {
        let limit = "host_call_bytes".to_owned();
        caller.data_mut().reached = Some(LimitExceeded { limit, used, allowed });
        bail!("host call too large");
    }
    pay(caller, charge(op).before(range.len as usize))?;
    if range.len as usize > SHORT_BYTES_MAX {
        end_slice().await;
    }
    let host = caller.data().host.clone();
    let answer = host.serve(caller, &guest, op, range).await?;
    let (memory, sandbox) = guest.memory.data_and_store_mut(&mut *caller);
    if sandbox.reached.is_some() {
        sandbox.reached_at = sandbox.instruction(memory);
    }
    let owed = std::mem::take(&mut caller.data_mut().owed_fuel);
    pay(caller, charge(op).after(answer.len()).saturating_add(owed))?;
    if answer.len() > SHORT_BYTES_MAX {
        end_slice().await;
    }
    hand_over(caller, &guest, &answer).await
}

/// Charges fuel to the run.
///
/// # Errors
/// A trap if the run has no fuel left.
fn pay(caller: &mut Caller<'_, Sandbox>, fuel: u64) -> Result<()> {
    match caller.get_fuel()?.checked_sub(fuel) {
        Some(left) => caller.set_fuel(left),
        None => {
            caller.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

async fn hand_over(caller: &mut Caller<'_, Sandbox>, guest: &Guest, answer: &[u8]) -> Result<u64> {
    if answer.is_empty() {
        return Ok(Slice::EMPTY.pack());
    }
    let Ok(len) = u32::try_from(answer.len()) else {
        bail!("a reply of {} bytes does not fit into the guest", answer.len());
    };
    let ptr = guest.alloc.call(&mut *caller, len).await?;
    guest.memory.write(&mut *caller, ptr as usize, answer)?;
    Ok(Slice { ptr, len }.pack())
}
