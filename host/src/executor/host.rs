//! Serves the calls of a guest.
//!
//! ```text
//! Live     the services: every run
//! Replay   the recorded replies of an earlier run: the same run again, without the outside (tests)
//! ```
//!
//! Everything that a run learns from outside comes through here, so a run is a function of its
//! image, its request and these replies.

pub(super) mod kind;
#[cfg(test)]
mod replay;

use picloud_shared::calls::{self, Call, HostResult, Op};
use picloud_shared::{Slice, codec};
use wasmtime::{Caller, Result, Trap, bail};

use super::memory::{Guest, bytes_of};
use super::sandbox::Sandbox;
use super::services;
use kind::RunHost;

/// Serves calls.
pub(super) trait Host {
    /// Serves one call, whose request is in the guest's memory. Returns the encoded reply.
    ///
    /// # Errors
    /// A trap: the guest broke the contract, or has no fuel left.
    fn serve(
        &self,
        caller: &mut Caller<'_, Sandbox>,
        guest: &Guest,
        op: Op,
        request: Slice,
    ) -> impl Future<Output = Result<Vec<u8>>> + Send;
}

impl Host for RunHost {
    async fn serve(
        &self,
        caller: &mut Caller<'_, Sandbox>,
        guest: &Guest,
        op: Op,
        request: Slice,
    ) -> Result<Vec<u8>> {
        match self {
            Self::Live => Live.serve(caller, guest, op, request).await,
            #[cfg(test)]
            Self::Recording(journal) => {
                replay::Recording(journal).serve(caller, guest, op, request).await
            }
            #[cfg(test)]
            Self::Replay(journal) => {
                replay::Replay(journal).serve(caller, guest, op, request).await
            }
        }
    }
}

/// The services.
pub(super) struct Live;

impl Host for Live {
    async fn serve(
        &self,
        caller: &mut Caller<'_, Sandbox>,
        guest: &Guest,
        op: Op,
        range: Slice,
    ) -> Result<Vec<u8>> {
        /// Serves a call at once, or a call that can wait.
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
}

fn take<C: Call>(caller: &Caller<'_, Sandbox>, guest: &Guest, range: Slice) -> Result<C> {
    let Some(Ok(call)) = bytes_of(guest.memory.data(caller), range).map(codec::decode::<C>) else {
        bail!("the guest sent a malformed request for {:?}", C::OP);
    };
    Ok(call)
}

/// Encodes a reply. `Ok(())` becomes no bytes, so that the most frequent call, a log line, needs no
/// buffer in the guest.
fn reply<C: Call>(answer: &HostResult<C::Reply>) -> Vec<u8> {
    let encoded = codec::encode(answer);
    if encoded == [0] { Vec::new() } else { encoded }
}
