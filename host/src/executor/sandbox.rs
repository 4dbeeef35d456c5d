//! The state of one run: its limits, what it has used, and its effects.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::future::BoxFuture;
use picloud_shared::calls::{HostError, HostResult};
use picloud_shared::limit::LimitExceeded;
use wasmtime::ResourceLimiter;

use super::host::kind::RunHost;
use super::memory::Guest;
use super::outcome::{Called, LogLine};
use super::platform::Platform;
use super::spent::Spent;
use crate::clock::Clock;
use crate::events::effects::Effects;
use crate::limits::Limits;
use crate::private_hosts::PrivateHosts;
use crate::secrets::{Masker, Revealed};
use crate::store::{AppId, ExecutionId, Script, Storage};

/// The data of a wasmtime store: the state of one execution.
pub(super) struct Sandbox {
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) log: Vec<LogLine>,
    /// The used part of the whole run's limits.
    pub(super) spent: Spent,
    /// The changes and reads of the run.
    pub(super) effects: Effects,
    /// The cost of the current call besides its bytes.
    pub(super) owed_fuel: u64,
    /// The storage that its writes have reserved.
    pub(super) room_taken: Storage,
    /// The runs that it called, in the order in which they ended.
    pub(super) called: Vec<Called>,
    /// The services and identity of the run; `None` if it has only the sandbox.
    pub(super) context: Option<Arc<RunContext>>,
    pub(super) memory_peak_bytes: u64,
    /// The memory that the guest asked for when it was refused more.
    pub(super) memory_refused_bytes: Option<u64>,
    /// The first limit that was reached. It determines the result, whatever the guest reports
    /// later.
    pub(super) reached: Option<LimitExceeded>,
    /// The message of the last host call that was refused and would be refused again.
    refused: Option<String>,
    /// Whether a host call is waiting for the database or for the contents of a file.
    pub(super) waits_for_store: bool,
    /// The current instruction when [`Sandbox::reached`] was set.
    pub(super) reached_at: Option<u32>,
    /// The place where the guest stores the address of the current instruction.
    pub(super) instruction_ptr: Option<u32>,
    /// The message of the guest's panic.
    pub(super) panic: Option<String>,
    /// Set once the instance is created.
    pub(super) guest: Option<Guest>,
    /// Serves its calls.
    pub(super) host: RunHost,
}

/// Runs the scripts that a run calls.
pub(super) trait CallScripts: Send + Sync {
    /// Runs a script as part of the run in `sandbox`. `fuel_left` is the caller's fuel, and is
    /// reduced by the fuel that the script uses.
    ///
    /// # Errors
    /// Fails if the script cannot start. A script that fails is not an error.
    fn run<'r>(
        &'r self,
        sandbox: &'r mut Sandbox,
        script: Script,
        payload: &'r str,
        fuel_left: &'r mut u64,
    ) -> BoxFuture<'r, HostResult<Called>>;
}

/// The services and identity of a run.
#[derive(Clone)]
pub(super) struct RunContext {
    /// The services that it uses.
    pub(super) platform: Arc<Platform>,
    /// Runs the scripts that it calls.
    pub(super) scripts: Arc<dyn CallScripts>,
    pub(super) app_id: AppId,
    /// The app's name.
    pub(super) app: String,
    /// The script's name.
    pub(super) script: String,
    pub(super) execution_id: ExecutionId,
    /// The execution of the first attempt, which identifies the work to other servers.
    pub(super) first_execution_id: ExecutionId,
    /// The number of requests sent, by the run and all runs it called.
    pub(super) requests: Arc<AtomicU64>,
    /// The private hosts open to the app's requests.
    pub(super) private_hosts: Arc<PrivateHosts>,
    /// The secrets that the run and all runs it called have read.
    pub(super) revealed: Revealed,
    /// The number of nested script calls above this run.
    pub(super) depth: u32,
}

impl Sandbox {
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        Self {
            limits,
            clock,
            log: Vec::new(),
            spent: Spent::default(),
            effects: Effects::default(),
            owed_fuel: 0,
            room_taken: Storage::default(),
            called: Vec::new(),
            context: None,
            memory_peak_bytes: 0,
            memory_refused_bytes: None,
            reached: None,
            refused: None,
            waits_for_store: false,
            reached_at: None,
            instruction_ptr: None,
            panic: None,
            guest: None,
            host: RunHost::default(),
        }
    }

    /// Returns the masker of the secrets that have been read so far.
    pub(super) fn masker(&self) -> Masker {
        self.context.as_ref().map(|context| context.revealed.masker()).unwrap_or_default()
    }

    /// Returns the error of a host call that would fail again in the same way, and records it for
    /// the end of the run.
    pub(super) fn refuse(&mut self, said: String) -> HostError {
        self.refused = Some(said.clone());
        HostError::Failed { message: said }
    }

    /// Whether a run that ends with this message ends because of a refused host call.
    pub(super) fn was_refused_with(&self, message: &str) -> bool {
        self.refused.as_ref().is_some_and(|refused| message.contains(refused))
    }

    /// Returns the address of the current instruction in `memory`; `None` outside of a run.
    pub(super) fn instruction(&self, memory: &[u8]) -> Option<u32> {
        let start = self.instruction_ptr? as usize;
        let bytes = memory.get(start..start.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Adds `more` to the used amount of a limit.
    ///
    /// # Errors
    /// Fails if the sum exceeds the allowed amount. The run then ends with this limit.
    pub(super) fn spend(
        reached: &mut Option<LimitExceeded>,
        limit: &str,
        used: &mut u64,
        more: u64,
        allowed: u64,
    ) -> Result<(), HostError> {
        *used = used.saturating_add(more);
        if *used <= allowed {
            return Ok(());
        }
        let limit = LimitExceeded { limit: limit.to_owned(), used: *used, allowed };
        reached.get_or_insert_with(|| limit.clone());
        Err(HostError::Limit(limit))
    }
}

impl ResourceLimiter for Sandbox {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let desired = desired as u64;
        let granted = desired <= self.limits.memory_bytes_max
            && maximum.is_none_or(|maximum| desired <= maximum as u64);
        if granted {
            self.memory_peak_bytes = self.memory_peak_bytes.max(desired);
        } else {
            self.memory_refused_bytes = Some(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The guest's table has the size that the module gave it. This is part of the reason why
        // linear memory is the whole state of a compiled script.
        Ok(self.guest.is_none())
    }
}
