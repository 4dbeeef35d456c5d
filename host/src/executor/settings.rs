//! How an executor is set up, and why it cannot be.

use std::path::PathBuf;
use std::time::Duration;

use crate::private_hosts::PrivateHosts;

/// How an executor is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder; compiled guest code is kept in its `cache`.
    pub data: PathBuf,
    /// How many executions run at once.
    pub slots: usize,
    /// How long an execution waits for a slot.
    pub queue_timeout: Duration,
    /// How many executions wait at once.
    pub queue_max: usize,
    /// The most memory any script is ever granted, in bytes.
    pub memory_bytes_ceiling: u64,
    /// How much memory compiled scripts may take, in bytes.
    pub image_cache_bytes_max: u64,
    /// Hosts that scripts reach although they have no public address.
    pub private_hosts: PrivateHosts,
}

/// Why an executor could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder or a thread.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Wasmtime, or a guest that is none.
    #[error("the sandbox cannot be set up: {0:#}")]
    Wasm(wasmtime::Error),
    /// Not even for one sandbox.
    #[error(
        "there is no address space for a sandbox, which reserves about 40 GiB of addresses and no \
         memory (PICLOUD_MAX_CONCURRENCY is as low as it can be; see `ulimit -v`): {0:#}"
    )]
    NoRoom(wasmtime::Error),
}

impl From<wasmtime::Error> for StartError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Wasm(error)
    }
}
