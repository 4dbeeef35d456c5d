//! The settings of an executor, and the errors of starting it.

use std::path::PathBuf;
use std::time::Duration;

use crate::private_hosts::PrivateHosts;

/// The settings of an executor.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder, whose `cache` has the compiled guest code.
    pub data: PathBuf,
    /// The maximum number of concurrent executions.
    pub slots: usize,
    /// The time that an execution waits for a slot.
    pub queue_timeout: Duration,
    /// The maximum number of executions that wait for a slot.
    pub queue_max: usize,
    /// The maximum memory of any script, in bytes.
    pub memory_bytes_ceiling: u64,
    /// The maximum memory for compiled scripts, in bytes.
    pub image_cache_bytes_max: u64,
    /// Hosts without a public address that all scripts can connect to.
    pub private_hosts: PrivateHosts,
}

/// The reason why an executor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An error of the data folder or of a thread.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// An error of wasmtime, or an invalid guest.
    #[error("the sandbox cannot be set up: {0:#}")]
    Wasm(wasmtime::Error),
    /// There is not enough address space for a single sandbox.
    #[error(
        "there is not enough address space for a sandbox, which reserves about 40 GiB of it but no \
         memory (even with PICLOUD_MAX_CONCURRENCY=1; see `ulimit -v`): {0:#}"
    )]
    NoRoom(wasmtime::Error),
}

impl From<wasmtime::Error> for StartError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}
