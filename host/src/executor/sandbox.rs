//! The state of one run: what it may use, what it used, what it was told.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::future::BoxFuture;
use picloud_shared::calls::{HostError, HostResult, LimitExceeded};
use wasmtime::ResourceLimiter;

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

/// The data of a store: one execution's.
pub(super) struct Sandbox {
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) log: Vec<LogLine>,
    /// What was used of the limits of the whole run.
    pub(super) spent: Spent,
    /// What the run has done and seen.
    pub(super) effects: Effects,
    /// What the call that is being served costs besides its bytes.
    pub(super) owed_fuel: u64,
    /// The room that its writes take, as far as it was asked for.
    pub(super) room_taken: Storage,
    /// The runs that it called, in the order of their ends.
    pub(super) called: Vec<Called>,
    /// Where it runs; none where there is nothing but the sandbox.
    pub(super) scope: Option<Scope>,
    pub(super) memory_peak_bytes: u64,
    /// What the guest asked for when it was refused more memory.
    pub(super) memory_refused_bytes: Option<u64>,
    /// The first limit that was reached. Whatever the guest says afterwards, this
    /// is how the run ended.
    pub(super) reached: Option<LimitExceeded>,
    /// What a host call was refused with last that would be refused again.
    refused: Option<String>,
    /// Whether a host call waits for the database or for the contents of a file.
    pub(super) waits_for_store: bool,
    /// The instruction that was under way when [`Sandbox::reached`] was set.
    pub(super) reached_at: Option<u32>,
    /// Where the guest keeps the address of the instruction under way.
    pub(super) instruction_ptr: Option<u32>,
    /// What the guest said when it panicked.
    pub(super) panic: Option<String>,
    /// Set once the instance is made.
    pub(super) guest: Option<Guest>,
}

/// Runs the scripts that a run calls.
pub(super) trait CallScripts: Send + Sync {
    /// Runs a script as a part of the run in `sandbox`. `fuel_left` is the caller's, and is less
    /// afterwards by what the script took.
    ///
    /// # Errors
    /// When it cannot begin. A script that fails is no error.
    fn run<'r>(
        &'r self,
        sandbox: &'r mut Sandbox,
        script: Script,
        payload: &'r str,
        fuel_left: &'r mut u64,
    ) -> BoxFuture<'r, HostResult<Called>>;
}

/// What surrounds a run.
#[derive(Clone)]
pub(super) struct Scope {
    /// What it reads from and sends through.
    pub(super) platform: Platform,
    /// Runs the scripts that it calls.
    pub(super) scripts: Arc<dyn CallScripts>,
    pub(super) app_id: AppId,
    /// The app's name.
    pub(super) app: String,
    /// The script's name.
    pub(super) script: String,
    pub(super) execution_id: ExecutionId,
    /// The execution of the first attempt, by which others know the work.
    pub(super) first_execution_id: ExecutionId,
    /// How many requests went out, of all runs that are a part of one another.
    pub(super) requests: Arc<AtomicU64>,
    /// What is open to the app's requests.
    pub(super) private_hosts: Arc<PrivateHosts>,
    /// The secrets that have been read, by all runs that are a part of one another.
    pub(super) revealed: Revealed,
    /// How many runs called one another before this one.
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
            scope: None,
            memory_peak_bytes: 0,
            memory_refused_bytes: None,
            reached: None,
            refused: None,
            waits_for_store: false,
            reached_at: None,
            instruction_ptr: None,
            panic: None,
            guest: None,
        }
    }

    /// What masks the secrets that have been read until now.
    pub(super) fn masker(&self) -> Masker {
        self.scope.as_ref().map(|scope| scope.revealed.masker()).unwrap_or_default()
    }

    /// The error of a host call that would fail again in the same way, which is kept in mind
    /// for the end of the run.
    pub(super) fn refuse(&mut self, said: String) -> HostError {
        self.refused = Some(said.clone());
        HostError::Failed { message: said }
    }

    /// Whether a run that ends with this message ends because of what was refused.
    pub(super) fn was_refused_with(&self, message: &str) -> bool {
        self.refused.as_ref().is_some_and(|refused| message.contains(refused))
    }

    /// The address of the instruction that is under way in `memory`; `None` outside of a run.
    pub(super) fn instruction(&self, memory: &[u8]) -> Option<u32> {
        let start = self.instruction_ptr? as usize;
        let bytes = memory.get(start..start.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Adds `more` to what was used of a limit.
    ///
    /// # Errors
    /// When that is over what is allowed: the run ends with this limit.
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
        // The guest's table is as large as the module made it; part of what makes
        // linear memory the whole state of a compiled script.
        Ok(self.guest.is_none())
    }
}
